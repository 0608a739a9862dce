"""The adapter: relative rotations against scipy, pair sampling against slow code, splits, published lists, commands."""

from __future__ import annotations

import io
import lzma
import math
import os
import pickle
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from published_folder import VIEWS, draw_latent
from scipy.spatial.transform import Rotation

from contextssl.adapter import Split
from contextssl.batch import Transitions
from contextssl.commands import data
from contextssl.testing import check_adapter
from domains.vision.encoders import SmallConvNet
from domains.vision.image_folder import object_splits, pack_folder, read_split_list
from domains.vision.three_d_ie_bench import ThreeDIEBench, info, locate, prepare, quaternion, verify

NAMES = [f"{synset}/object{index}" for synset, counts in VIEWS.items() for index in range(len(counts))]
bench = partial(ThreeDIEBench, encoder=partial(SmallConvNet, widths=(4,), out_dim=8))


@pytest.fixture(scope="module")
def packed(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_folder(original, tmp_path_factory.mktemp("packs") / "iebench", size=12).path


@pytest.fixture(scope="module")
def adapter(packed: Path) -> ThreeDIEBench:
    return bench(packed)


def same(a: Transitions, b: Transitions) -> bool:
    return all(torch.equal(getattr(a, part), getattr(b, part)) for part in ("state", "action", "next_state", "latent"))


def angles(count: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([draw_latent(rng)[:3] for _ in range(count)]))


def test_quaternions_are_scipys_with_their_sign() -> None:
    drawn = angles(2000)
    expected = Rotation.from_euler("xyz", drawn.numpy()).as_quat()
    np.testing.assert_allclose(quaternion(drawn).numpy(), expected, atol=1e-12)


def test_the_rotation_is_about_fixed_axes() -> None:
    quarter = math.pi / 2
    turned = Rotation.from_quat(quaternion(torch.tensor([quarter, 0.0, quarter])).numpy())
    np.testing.assert_allclose(turned.apply([0, 1, 0]), [0, 0, 1], atol=1e-6)  # x turns y to z, then z leaves it
    np.testing.assert_allclose(turned.apply([1, 0, 0]), [0, 1, 0], atol=1e-6)


@pytest.mark.parametrize("light", [False, True])
def test_pairs_are_two_views_of_one_object_and_the_action_leads_from_one_to_the_other(
    packed: Path, original: Path, light: bool
) -> None:
    adapter = bench(packed, light=light)
    batch = adapter.train_sequences(20, seed=3)[0]
    by_image = {}
    for row in range(len(adapter.store.latents)):
        by_image[adapter.store.views(torch.tensor([row]))[0].numpy().tobytes()] = row
    owner = {row: index for index in range(len(adapter.store)) for row in adapter.store.rows(torch.tensor([index])).tolist()}
    training = set(adapter.objects[Split.TRAIN].tolist())
    for t in range(20):
        rows = [by_image[(image[0, t] * 255).round().byte().numpy().tobytes()] for image in (batch.state, batch.next_state)]
        assert rows[0] != rows[1] and owner[rows[0]] == owner[rows[1]] and owner[rows[0]] in training
        item = adapter.store.items[owner[rows[0]]]
        x, y = (np.load(original / item.name / f"latent_{row - item.first_row}.npy") for row in rows)
        turn_x, turn_y = Rotation.from_euler("xyz", x[:3]), Rotation.from_euler("xyz", y[:3])
        expected = [*(turn_x.inv() * turn_y).as_quat(), y[3] - x[3], y[6] - x[6], *((y[4:6] - x[4:6]) if light else ())]
        np.testing.assert_allclose(batch.action[0, t].numpy(), expected, atol=1e-5)
        for view, raw, turn in ((0, x, turn_x), (1, y, turn_y)):
            own = [*turn.as_quat(), raw[3], raw[6], *(raw[4:6] if light else ())]
            np.testing.assert_allclose(batch.latent[0, t, view].numpy(), own, atol=1e-5)
    assert adapter.actions.names == (("rotation", "color", "light") if light else ("rotation", "color"))


def test_the_sign_of_relative_quaternions_is_left_alone(adapter: ThreeDIEBench) -> None:
    from contextssl.adapters import relative_action

    first, second = angles(40_000).view(2, -1, 3).float()
    latent = [torch.cat([quaternion(a), torch.zeros(len(a), 2)], dim=1) for a in (first, second)]
    action = relative_action(adapter.actions, *latent)
    assert (action[:, 3] < 0).float().mean().item() == pytest.approx(0.044, abs=0.006)


def test_an_epoch_visits_each_training_object_once(adapter: ThreeDIEBench) -> None:
    pool = adapter.objects[Split.TRAIN]
    seen = []
    pairs = adapter.pairs
    try:
        adapter.pairs = lambda objects, draws: seen.extend(objects.tolist()) or pairs(objects, draws)  # type: ignore[method-assign]
        sequences = adapter.train_sequences(3, seed=1)
        for index in range(len(pool)):
            sequences[index]
    finally:
        del adapter.pairs  # type: ignore[method-assign]
    epochs = [seen[start : start + len(pool)] for start in range(0, 3 * len(pool), len(pool))]
    assert all(sorted(epoch) == pool.tolist() for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert len(sequences) == len(pool) // 3


def test_ordered_pairs_of_views_are_equally_likely(adapter: ThreeDIEBench) -> None:
    draws = torch.Generator().manual_seed(0)
    for item in (5, 6):  # objects with 4 and with 3 views
        count = int(adapter.store.num_views[item])
        rows = adapter._draw_pairs(torch.full((6000,), item), draws) - adapter.store.first_row[item]
        found = Counter(map(tuple, rows.tolist()))
        assert set(found) == {(x, y) for x in range(count) for y in range(count) if x != y}
        assert max(found.values()) < 1.25 * 6000 / len(found) and min(found.values()) > 0.75 * 6000 / len(found)


def test_items_depend_on_seed_and_index_only(adapter: ThreeDIEBench, packed: Path) -> None:
    wanted = adapter.train_sequences(5, seed=1)[7]
    other = pickle.loads(pickle.dumps(adapter))
    for source in (adapter, other, bench(packed)):
        sequences = source.train_sequences(5, seed=1)
        sequences[9], sequences[0]
        assert same(sequences[7], wanted)
    assert not same(adapter.train_sequences(5, seed=2)[7], wanted)
    with pytest.raises(ValueError, match="sequence index"):
        adapter.train_sequences(5, seed=1)[-1]
    contexts = adapter.held_out(5, 3, seed=1)
    assert torch.equal(contexts.state[:2], adapter.held_out(5, 2, seed=1).state)


@pytest.mark.parametrize("light", [False, True])
def test_it_conforms(packed: Path, light: bool) -> None:
    check_adapter(bench(packed, light=light))


def test_held_out_sequences_stay_in_their_split(adapter: ThreeDIEBench) -> None:
    # Labelled inputs are bytes and states are floats, so the kit's own check cannot compare them.
    rows = {split: {row.numpy().tobytes() for row in adapter.labelled(split).inputs} for split in Split}
    for split in Split:
        batch = adapter.held_out(8, 4, seed=0, split=split)
        for image in torch.cat([batch.state, batch.next_state]).flatten(0, 1):
            assert (image * 255).round().byte().numpy().tobytes() in rows[split]


def test_labelled_rows_are_all_views_with_their_targets(adapter: ThreeDIEBench) -> None:
    assert sum(len(adapter.labelled(split)) for split in Split) == sum(map(sum, VIEWS.values()))
    for split in Split:
        labelled = adapter.labelled(split)
        assert labelled.inputs.dtype is torch.uint8
        for item in labelled.item.unique().tolist():
            mine = labelled.item == item
            rows = adapter.store.rows(torch.tensor([item]))
            assert torch.equal(labelled.inputs[mine], adapter.store.views(rows))
            raw = adapter.store.latents[rows]
            assert torch.equal(labelled.target("color").values[mine], raw[:, [3, 6]])
            torch.testing.assert_close(labelled.target("rotation").values[mine], quaternion(raw[:, :3]))
            synset = adapter.store.items[item].name[:8]
            assert set(labelled.target("category").values[mine].tolist()) == {sorted(VIEWS).index(synset)}
        assert {t.name: t.group for t in labelled.targets} == {"category": None, "rotation": "rotation", "color": "color"}


def test_fewer_views_for_probes(packed: Path) -> None:
    whole, few = bench(packed), bench(packed, views_per_object=2)
    for split in Split:
        all_views, labelled = whole.labelled(split), few.labelled(split)
        assert set(Counter(labelled.item.tolist()).values()) == {2}
        assert set(labelled.item.tolist()) == set(all_views.item.tolist())
        known = {(i, x.numpy().tobytes()) for i, x in zip(all_views.item.tolist(), all_views.inputs, strict=True)}
        found = {(i, x.numpy().tobytes()) for i, x in zip(labelled.item.tolist(), labelled.inputs, strict=True)}
        assert found <= known and len(found) == len(labelled)
    assert len(bench(packed, views_per_object=4).labelled(Split.TRAIN)) >= len(whole.labelled(Split.TRAIN)) - 1


def test_splits_keep_objects_whole_and_hold_every_category_once(packed: Path) -> None:
    objects = {name: bench(packed).objects[name] for name in Split}
    assert sorted(torch.cat([*objects.values()]).tolist()) == list(range(len(NAMES)))
    store = bench(packed).store
    for split in (Split.VALIDATION, Split.TEST):
        assert store.label[objects[split]].tolist() == [0, 1, 2]  # small categories give one object each
    others = [bench(packed, seed=seed).objects[Split.VALIDATION].tolist() for seed in range(6)]
    assert len({tuple(other) for other in others}) > 1
    assert all(torch.equal(bench(packed, seed=seed).objects[Split.TEST], objects[Split.TEST]) for seed in (1, 2))


def test_the_seeded_split_depends_on_the_objects_and_not_on_their_order() -> None:
    names = [f"{synset}/{index}" for synset in "ab" for index in range(20)]
    parts, missing, source = object_splits(names, Path("nowhere"), None)
    again, _, _ = object_splits(names[::-1], Path("nowhere"), None)
    assert parts == again and not missing and source == "seeded by object"
    assert Counter((name[0], part) for name, part in parts.items()) == {
        ("a", "train"): 16, ("a", "test"): 4, ("b", "train"): 16, ("b", "test"): 4,
    }  # fmt: skip


def write_lists(folder: Path, compressed: bool = False, **lists: list[str] | list[int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, entries in lists.items():
        content = io.BytesIO()
        np.save(content, np.array(entries))
        path = folder / f"{name}.npy{'.xz' * compressed}"
        path.write_bytes(lzma.compress(content.getvalue()) if compressed else content.getvalue())
    return folder


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", ["/{}/", "{}", "/{}", "{}/"])
def test_published_lists(tmp_path: Path, compressed: bool, form: str) -> None:
    test = [form.format(name) for name in NAMES[::4]]
    lists = write_lists(tmp_path, compressed, val_images=test)
    parts, missing, source = object_splits(NAMES, Path("nowhere"), lists)
    assert {name for name, part in parts.items() if part == "test"} == set(NAMES[::4])
    assert set(parts) == set(NAMES) and not missing and "all other objects" in source
    write_lists(tmp_path, compressed, train_images=[form.format(name) for name in NAMES[1::4]])
    parts, _, source = object_splits(NAMES, tmp_path, None)
    assert {name for name, part in parts.items() if part == "train"} == set(NAMES[1::4])
    assert set(parts) == set(NAMES[::4] + NAMES[1::4]) and source == "published lists"


@pytest.mark.parametrize(("lists", "message"), [
    ({}, "holds no val_images.npy"),
    ({"val_images": NAMES[:2], "train_images": NAMES[1:]}, "share 1 objects: 02691156/object1"),
    ({"val_images": [NAMES[0], NAMES[0]]}, "names objects twice: 02691156/object0"),
    ({"val_images": ["object0"]}, "entries that are not SYNSET/OBJECT: object0"),
    ({"val_images": NAMES[::6], "val_labels": [0, 1]}, "does not number the synsets"),
    ({"val_images": NAMES[::6], "val_labels": [0, 0, 2]}, "does not number the synsets"),
])  # fmt: skip
def test_bad_lists(tmp_path: Path, lists: dict[str, list[str]], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        object_splits(NAMES, Path("nowhere"), write_lists(tmp_path / "lists", **lists))


def test_a_list_that_is_no_array(tmp_path: Path) -> None:
    (tmp_path / "val_images.npy.xz").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"val_images.npy.xz cannot be read as an array"):
        read_split_list(tmp_path, "val")


def test_lists_that_name_missing_objects(original: Path, tmp_path: Path) -> None:
    lists = write_lists(tmp_path / "lists", val_images=[*NAMES[::4], "/02691156/lost/", "/03001627/gone/"])
    with pytest.raises(ValueError, match=r"name 2 objects that are not in .*: 02691156/lost, 03001627/gone; complete the folder"):
        pack_folder(original, tmp_path / "pack", size=8, splits=lists)
    store = pack_folder(original, tmp_path / "pack", size=8, splits=lists, skip_bad=True)
    assert [store.items[index].name for index in store.split("test").tolist()] == NAMES[::4]
    assert set(store.manifest["skipped"]) == {"02691156/lost", "03001627/gone"}


@pytest.mark.data
def test_the_published_lists() -> None:
    splits = Path(os.environ["CONTEXTSSL_DATA"]) / "3diebench-splits"
    test = read_split_list(splits, "val")
    assert test is not None and len(test) == 10_552
    every = np.load(io.BytesIO(lzma.decompress((splits / "all_objects.npy.xz").read_bytes())))
    names = ["/".join(pair) for pair in every.tolist()]
    parts, missing, _ = object_splits(names, splits, None)
    assert not missing and len(parts) == len(names) == 52_491
    assert Counter(parts.values()) == {"test": 10_552, "train": 41_939}
    labels = np.load(io.BytesIO(lzma.decompress((splits / "val_labels.npy.xz").read_bytes())))
    synsets = sorted({name.partition("/")[0] for name in names})
    assert len(synsets) == 55 and set(labels.tolist()) == set(range(55))
    assert labels.tolist() == [synsets.index(name.partition("/")[0]) for name in test]  # what `category` is, too


def test_the_command(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("CONTEXTSSL_DATA", raising=False)
    monkeypatch.setenv("CONTEXTSSL_CACHE", str(tmp_path / "cache"))
    assert data.main(["prepare", "iebench", f"root={original}", "size=8", "processes=1"]) == 0
    assert f"{tmp_path / 'cache' / 'iebench'}: 8x8 pixels, from {original}" in capsys.readouterr().out
    assert data.main(["verify", "iebench"]) == 0
    assert "52 views of 13 objects are as they were packed" in capsys.readouterr().out
    assert bench().store.image_shape == (3, 8, 8) and locate() == tmp_path / "cache" / "iebench"
    assert data.main(["prepare", "iebench", f"root={original}", "size=8", "processes=1", f"out={tmp_path / 'other'}"]) == 0
    assert verify(tmp_path / "other") and info(tmp_path / "other")[1].startswith("split (seeded by object): train 10 objects")


def test_what_a_store_cannot_be(packed: Path, original: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not fetched from here"):
        prepare(None)
    with pytest.raises(FileNotFoundError, match="holds no packed views"):
        bench(tmp_path)
    with pytest.raises(ValueError, match="validation_share must be"):
        bench(packed, validation_share=1.0)
    with pytest.raises(ValueError, match="views_per_object must be"):
        bench(packed, views_per_object=0)
    lists = write_lists(tmp_path / "lists", val_images=[NAMES[0]], train_images=[NAMES[5], NAMES[9]])
    pack_folder(original, tmp_path / "pack", size=8, splits=lists)
    with pytest.raises(ValueError, match="no objects for validation; pack at least three objects"):
        bench(tmp_path / "pack")


def test_the_manifest_describes_the_data(adapter: ThreeDIEBench) -> None:
    assert adapter.manifest["objects"] == {"train": 7, "validation": 3, "test": 3}
    assert sum(adapter.manifest["views"].values()) == sum(map(sum, VIEWS.values()))  # type: ignore[attr-defined]
    assert adapter.manifest["image_shape"] == [3, 12, 12] and "items.json" in adapter.manifest["sha256"]  # type: ignore[operator]
