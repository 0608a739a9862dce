"""The folder of a rendered set: layout, splits, going on after an interruption, what can go wrong."""

from __future__ import annotations

import errno
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("embreex", reason="embreex is not installed: pip install contextssl[render]")
from contextssl.commands import data  # noqa: E402
from domains.vision.procedural import folder  # noqa: E402
from domains.vision.procedural.categories import CATEGORIES, make_object  # noqa: E402
from domains.vision.procedural.contact_sheet import CELL, LABEL_HEIGHT, contact_sheet  # noqa: E402
from domains.vision.procedural.generate import generate, info, verify  # noqa: E402
from domains.vision.procedural.plan import Views, plan_objects  # noqa: E402
from domains.vision.procedural.renderer import ObjectRenderer  # noqa: E402

VIEWS = Views(views=2, size=16, samples=1, quality=100, seed=5)
FIRST, SECOND = list(CATEGORIES)[:2]


def make(root: Path, views: Views = VIEWS, unseen_categories: int = 0, categories: int = 2) -> Path:
    return generate(root, objects=3, categories=categories, unseen_categories=unseen_categories, views=views, processes=1)


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("procedural") / "set")


def test_the_layout_is_the_published_one(whole: Path) -> None:
    for category in (FIRST, SECOND):
        for number in range(3):
            found = whole / category / f"{number:04d}"
            assert sorted(path.name for path in found.iterdir()) == ["image_0.jpg", "image_1.jpg", "latent_0.npy", "latent_1.npy"]
    latents = np.load(whole / FIRST / "0001" / "latent_1.npy")
    assert latents.shape == (7,) and latents.dtype == np.float64
    expected = ObjectRenderer(make_object(FIRST, 1, seed=5), 16, samples=1).render(latents)
    with Image.open(whole / FIRST / "0001" / "image_1.jpg") as image:
        assert image.size == (16, 16) and image.mode == "RGB"
        assert np.abs(np.asarray(image).astype(int) - expected).mean() < 1.5
    lists = {name: np.load(whole / f"{name}.npy") for name in ("train_images", "train_labels", "val_images", "val_labels")}
    assert lists["train_labels"].dtype == np.int64 and len(lists["train_images"]) == 4 and len(lists["val_images"]) == 2
    objects = {f"/{category}/{number:04d}/" for category in (FIRST, SECOND) for number in range(3)}
    assert {*lists["train_images"], *lists["val_images"]} == objects
    for part in ("train", "val"):
        assert [sorted((FIRST, SECOND))[label] for label in lists[f"{part}_labels"]] == [
            path.split("/")[1] for path in lists[f"{part}_images"]
        ]


def test_the_manifest_says_how_the_set_was_made_and_whether_it_is_whole(whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["complete"] and manifest["made"]["views"]["seed"] == 5 and len(manifest["made"]["objects"]) == 6
    assert manifest["latents"]["floor_hue"] == [0, 1] and "embreex" in manifest["versions"]
    assert "12 pictures of 16 pixels" in info(whole)[0] and "complete" in info(whole)[0]
    assert "all 12 pictures" in verify(whole)[0]


def test_an_interrupted_set_goes_on_to_the_same_bytes(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, done = tmp_path / "set", []
    original = folder.render_object

    def interrupted(*arguments: object) -> None:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(original(*arguments))  # type: ignore[arg-type, func-returns-value]

    with monkeypatch.context() as patched:
        patched.setattr(folder, "render_object", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(root)
    assert not json.loads((root / "manifest.json").read_text())["complete"] and not (root / "train_images.npy").exists()
    with pytest.raises(ValueError, match="unfinished"):
        verify(root)
    kept, damaged, lost = (root / FIRST / name for name in ("0000", "0001", "0002"))
    (damaged / "image_1.jpg").write_bytes(b"")
    (lost / "latent_0.npy").unlink()
    leftover = root / FIRST / ".0002.unfinished"
    leftover.mkdir()
    (leftover / "image_0.jpg").write_bytes(b"half")
    before = (kept / "image_0.jpg").stat().st_mtime_ns
    make(root)
    assert contents(root) == contents(whole)
    assert (kept / "image_0.jpg").stat().st_mtime_ns == before


def test_an_object_appears_only_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    save = np.save

    def failing(path: Path, array: np.ndarray) -> None:
        seen.append((tmp_path / "set" / FIRST / "0000").exists())
        if len(seen) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(path, array)

    monkeypatch.setattr(folder.np, "save", failing)
    with pytest.raises(OSError, match="No space left on device.*free some space and run the same command again"):
        make(tmp_path / "set")
    assert seen == [False, False] and not list((tmp_path / "set" / FIRST).iterdir())


def test_two_processes_make_the_same_set_as_one(whole: Path, tmp_path: Path) -> None:
    generate(tmp_path / "set", objects=3, categories=2, views=VIEWS, processes=2)
    one, two = contents(whole), contents(tmp_path / "set")
    assert one.keys() == two.keys()
    assert all(one[name] == two[name] for name in one if name.endswith(".npy"))
    for name in one:
        if name.endswith(".jpg"):
            pictures = [np.asarray(Image.open(root / name).convert("RGB")).astype(int) for root in (whole, tmp_path / "set")]
            assert np.abs(pictures[0] - pictures[1]).max() <= 2


def test_objects_do_not_depend_on_how_many_others_there_are(whole: Path, tmp_path: Path) -> None:
    generate(tmp_path / "set", objects=1, categories=1, views=replace(VIEWS, views=3), processes=1)
    small, large = contents(tmp_path / "set"), contents(whole)
    assert small[f"{FIRST}/0000/image_0.jpg"] == large[f"{FIRST}/0000/image_0.jpg"]
    assert small[f"{FIRST}/0000/image_2.jpg"] != small[f"{FIRST}/0000/image_1.jpg"]


def test_unseen_categories_and_poses_have_lists_of_their_own(tmp_path: Path) -> None:
    views = replace(VIEWS, rotation=(0.2, 0.2, 1), unseen_rotation=(1, 1, 1))
    root = make(tmp_path / "set", views, unseen_categories=1)
    lists = {name: set(np.load(root / f"{name}_images.npy")) for name in ("train", "val", "unseen_category", "unseen_rotation")}
    assert lists["unseen_category"] == {f"/{SECOND}/{number:04d}/" for number in range(3)}
    assert lists["unseen_rotation"] == {path.rstrip("/") + "-turned/" for path in lists["val"]}
    assert all(path.startswith(f"/{FIRST}/") for name in ("train", "val") for path in lists[name])
    assert len(set.union(*lists.values())) == sum(map(len, lists.values())) == 7
    limit = 0.2 * np.pi / 2
    for name, paths in lists.items():
        for path in paths:
            angles = np.abs([np.load(root / path[1:] / f"latent_{view}.npy")[:2] for view in range(2)])
            assert ((angles > limit).any(axis=1) if name == "unseen_rotation" else (angles <= limit).all(axis=1)).all()
    assert set(np.load(root / "unseen_category_labels.npy")) == {sorted((FIRST, SECOND)).index(SECOND)}


def test_a_fifth_of_each_category_is_for_validation() -> None:
    planned = plan_objects({"a": [str(number) for number in range(10)], "b": ["0", "1"], "c": ["0"]}, seed=0)
    counts = {category: [one.split for one in planned if one.category == category].count("val") for category in "abc"}
    assert counts == {"a": 2, "b": 1, "c": 0}
    chosen = [{one.mesh for one in plan_objects({"a": list("0123456789")}, seed) if one.split == "val"} for seed in range(8)]
    assert len(set(map(frozenset, chosen))) > 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"views": 1}, "views=1: give 2"),
        ({"size": 4}, "size=4: give 8"),
        ({"samples": 0}, "samples=0"),
        ({"quality": 101}, "quality=101"),
        ({"rotation": (1, 1)}, "three shares"),
        ({"rotation": (1, 1, 1.5)}, "from 0 to 1"),
        ({"unseen_rotation": (1, 1, 1)}, "no pose is unseen"),
        ({"rotation": (1, 0.1, 1), "unseen_rotation": (0.5, 1, 1)}, "no pose is unseen"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Views(**settings)  # type: ignore[arg-type]


def test_wrong_numbers_of_categories_objects_and_processes_are_named(tmp_path: Path) -> None:
    for words, said in (
        ({"categories": 99}, "categories=99: give 1 to"),
        ({"objects": 0}, "objects=0"),
        ({"categories": 2, "unseen_categories": 2}, "unseen_categories=2: give 0 to 1"),
        ({"processes": 0}, "processes=0"),
    ):
        with pytest.raises(ValueError, match=said):
            generate(tmp_path / "set", **words)  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()


def test_a_folder_with_anything_else_is_left_alone(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="made with other settings"):
        make(whole, replace(VIEWS, seed=6))
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no rendered set"):
        make(tmp_path)
    assert contents(tmp_path) == {"letter.txt": b"mine"}
    with pytest.raises(FileNotFoundError, match="no manifest.json"):
        info(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest.json cannot be read"):
        info(tmp_path)


def test_verify_names_what_is_damaged(tmp_path: Path) -> None:
    root = make(tmp_path / "set")
    truncated = root / FIRST / "0000" / "image_0.jpg"
    truncated.write_bytes(truncated.read_bytes()[:200])
    np.save(root / FIRST / "0001" / "latent_0.npy", np.full(7, 9.0))
    (root / SECOND / "0002" / "latent_1.npy").unlink()
    np.save(root / "train_labels.npy", np.zeros(4, np.int64))
    with pytest.raises(ValueError, match="is damaged") as caught:
        verify(root)
    for name in (f"{FIRST}/0000", f"{FIRST}/0001", f"{SECOND}/0002", "train_labels.npy"):
        assert name in str(caught.value)
    assert f"{FIRST}/0002" not in str(caught.value)


def test_without_embree_the_extra_is_named_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embreex.rtcore_scene", None)
    with pytest.raises(ImportError, match=r"pip install contextssl\[render\]"):
        make(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_the_command_passes_its_settings_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "objects=2",
        "views=2",
        "size=8",
        "categories=1",
        "samples=1",
        "processes=1",
        "rotation=[0.15,0.15,1]",
        "vary_light=false",
    ]
    assert data.main(["prepare", "iebench-procedural", f"root={tmp_path / 'set'}", *words]) == 0
    said = capsys.readouterr().out
    assert "4 pictures of 8 pixels" in said and "x +-13.5, y +-13.5, z +-90 degrees, lamp still" in said
    assert data.main(["verify", "iebench-procedural", f"root={tmp_path / 'set'}"]) == 0


def test_a_contact_sheet_shows_objects_of_every_category(whole: Path) -> None:
    sheet = np.asarray(contact_sheet(whole, per_category=4, blocks=1)).astype(int)
    assert sheet.shape == (2 * (CELL + LABEL_HEIGHT), 4 * CELL + 6, 3)
    for row, category in enumerate((FIRST, SECOND)):
        for column, picture in enumerate(("0000/image_0", "0001/image_0", "0002/image_0", "0000/image_1")):
            shown = sheet[row * (CELL + LABEL_HEIGHT) + LABEL_HEIGHT :, column * CELL :][:CELL, :CELL]
            with Image.open(whole / category / f"{picture}.jpg") as image:
                expected = np.asarray(image.resize((CELL, CELL), Image.Resampling.LANCZOS))
            np.testing.assert_array_equal(shown, expected)
    assert (whole / "contact_sheet.jpg").is_file()
