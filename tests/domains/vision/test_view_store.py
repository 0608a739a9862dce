"""Packing and reading: contents against PIL, interruptions, bad objects, full disks, damaged files."""

from __future__ import annotations

import errno
import json
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from published_folder import VIEWS, write_folder

from domains.vision import packing
from domains.vision.image_folder import LATENTS, ObjectReader, pack_folder
from domains.vision.packing import BadItemError, PackItem, pack
from domains.vision.view_store import ViewStore

SIDE = 16
COUNTS = [count for counts in VIEWS.values() for count in counts]
pack_small = partial(pack_folder, size=SIDE)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    write_folder(root)
    return root


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(original, tmp_path / "folder"))


@pytest.fixture(scope="module")
def store(original: Path, tmp_path_factory: pytest.TempPathFactory) -> ViewStore:
    return pack_small(original, tmp_path_factory.mktemp("packs") / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class StoppingReader:
    """Reads a few objects and then stops, as an interruption does."""

    def __init__(self, most: int) -> None:
        self.most, self.names = most, list[str]()

    def __call__(self, reader: ObjectReader, item: PackItem) -> object:
        if len(self.names) == self.most:
            raise KeyboardInterrupt
        self.names.append(item.name)
        return READ(reader, item)


READ = ObjectReader.__call__


def read_by(monkeypatch: pytest.MonkeyPatch, most: int) -> StoppingReader:
    stopping = StoppingReader(most)
    monkeypatch.setattr(ObjectReader, "__call__", lambda self, item: stopping(self, item))
    return stopping


def test_every_view_is_the_resized_image_with_its_latent(original: Path, store: ViewStore) -> None:
    assert sorted(item.name for item in store.items) == sorted(str(p.relative_to(original)) for p in original.glob("*/*"))
    for index, item in enumerate(store.items):
        rows = store.rows(torch.tensor([index]))
        for view, row in enumerate(rows.tolist()):
            with Image.open(original / item.name / f"image_{view}.jpg") as image:
                expected = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
            found = store.views(torch.tensor([row]))[0]
            np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), expected)
            latent = np.load(original / item.name / f"latent_{view}.npy").astype(np.float32)
            np.testing.assert_array_equal(store.latents[row].numpy(), latent)
        assert len(rows) == item.num_views == len(list((original / item.name).glob("*.jpg")))
    assert store.image_shape == (3, SIDE, SIDE) and store.categories == tuple(VIEWS)
    assert [store.categories[label] for label in store.label.tolist()] == [item.name[:8] for item in store.items]


def test_rows_of_items_in_any_order(store: ViewStore) -> None:
    wanted = [7, 2, 9]
    expected = [store.items[i].first_row + view for i in wanted for view in range(store.items[i].num_views)]
    assert store.rows(torch.tensor(wanted)).tolist() == expected
    assert store.rows(torch.arange(len(store))).tolist() == list(range(sum(COUNTS)))


def test_copies_and_other_processes_map_the_same_files(store: ViewStore) -> None:
    packed = pickle.dumps(store)
    rows = torch.tensor([5, 1])
    assert len(packed) < 1000 and torch.equal(pickle.loads(packed).views(rows), store.views(rows))
    store.views(rows).zero_()
    store.verify()


@pytest.mark.parametrize("most", [0, 1, 6, 12])
def test_an_interrupted_pack_goes_on_and_equals_an_uninterrupted_one(
    original: Path, store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    out = tmp_path / "pack"
    first = read_by(monkeypatch, most)
    with pytest.raises(KeyboardInterrupt):
        pack_small(original, out)
    with pytest.raises(FileNotFoundError, match="was interrupted; run the same prepare command again"):
        ViewStore.open(out)
    second = read_by(monkeypatch, 10**6)
    pack_small(original, out)
    assert not set(first.names) & set(second.names) and len(first.names + second.names) == len(COUNTS)
    assert contents(out) == contents(store.path)


def test_a_line_cut_off_in_the_journal_and_half_written_rows_are_made_again(
    original: Path, store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pack"
    read_by(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        pack_small(original, out)
    journal = out / "unfinished.jsonl"
    journal.write_text(journal.read_text()[:-20])
    with (out / "views.npy").open("r+b") as file:
        file.seek(-300, 2)
        file.write(b"x" * 300)
    again = read_by(monkeypatch, 10**6)
    pack_small(original, out)
    assert len(again.names) == len(COUNTS) - 4
    assert contents(out) == contents(store.path)


def test_packing_again_reads_nothing(original: Path, store: ViewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = read_by(monkeypatch, 0)
    assert len(pack_small(original, store.path)) == len(COUNTS) and not reader.names


def test_other_settings_do_not_mix(original: Path, store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileExistsError, match="another pack"):
        pack_folder(original, store.path, size=8)
    read_by(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        pack_small(original, tmp_path / "pack")
    with pytest.raises(FileExistsError, match="unfinished pack of other images or settings"):
        pack_folder(original, tmp_path / "pack", size=8)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="not a pack"):
        pack_small(original, tmp_path / "letters")
    assert contents(tmp_path / "letters") == {"a.txt": b"keep me"}


@pytest.mark.slow
def test_several_processes_write_the_same_store(original: Path, store: ViewStore, tmp_path: Path) -> None:
    pack_small(original, tmp_path / "pack", processes=2)
    assert contents(tmp_path / "pack") == contents(store.path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def resave(path: Path) -> None:
    Image.new("RGB", (40, 30)).save(path)


def set_latent(column: int, value: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        latent = np.load(path)
        latent[column] = value
        np.save(path, latent)

    return change


BAD = {
    "truncated image": ("image_2.jpg", truncate, r"image_2.jpg cannot be read \(image file is truncated"),
    "no image at all": ("image_2.jpg", lambda path: path.write_text("hello"), r"image_2.jpg cannot be read \(cannot identify"),
    "wrong size": ("image_2.jpg", resave, r"image_2.jpg has 40x30 pixels where the others have 40x40"),
    "missing image": ("image_2.jpg", Path.unlink, r"image_2.jpg is missing"),
    "missing latent": ("latent_1.npy", Path.unlink, r"latent_1.npy is missing"),
    "truncated latent": ("latent_1.npy", truncate, r"latent_1.npy cannot be read"),
    "empty latent": ("latent_1.npy", lambda path: path.write_bytes(b""), r"latent_1.npy cannot be read"),
    "wide latent": ("latent_1.npy", lambda path: np.save(path, np.zeros(9)), r"latent_1.npy holds float64 \[9\] where 7 numbers"),
    "pickled latent": (
        "latent_1.npy",
        lambda path: np.save(path, np.array([{}] * 7), allow_pickle=True),
        r"latent_1.npy cannot be read",
    ),
    "angle": ("latent_1.npy", set_latent(1, 1.7), r"latent_1.npy has euler_y 1.7 outside -1.571..1.571"),
    "hue": ("latent_1.npy", set_latent(6, -0.2), r"light_hue -0.2 outside 0..1"),
    "light": ("latent_1.npy", set_latent(4, 0.9), r"light_theta 0.9 outside 0..0.7854"),
    "nan": ("latent_1.npy", set_latent(3, float("nan")), r"floor_hue nan outside"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_objects_are_named_and_may_be_skipped(folder: Path, tmp_path: Path, name: str) -> None:
    file, spoil, message = BAD[name]
    bad = ["02691156/object1", "04256520/object2"]
    for each in bad:
        spoil(folder / each / file)
    out = tmp_path / "pack"
    with pytest.raises(ValueError, match=r"2 of 13 objects cannot be packed: .*skip_bad=true") as error:
        pack_small(folder, out)
    for each in bad:
        assert f"{each}: " in str(error.value)
    error.match(message)
    with pytest.raises(FileNotFoundError, match="interrupted"):
        ViewStore.open(out)
    store = pack_small(folder, out, skip_bad=True)
    assert len(store) == 11 and not {item.name for item in store.items} & set(bad)
    assert set(store.manifest["skipped"]) == set(bad) and not (out / packing.PROBLEMS).exists()
    store.verify()
    rows = store.rows(torch.arange(len(store)))
    assert store.views(rows).flatten(1).amax(1).min() > 0  # no row of a skipped object is reachable


def test_a_repaired_object_is_packed_by_the_next_call(original: Path, folder: Path, tmp_path: Path) -> None:
    file = Path("03001627/object0/image_1.jpg")
    truncate(folder / file)
    with pytest.raises(ValueError, match="1 of 13 objects"):
        pack_small(folder, tmp_path / "repaired")
    shutil.copy(original / file, folder / file)
    pack_small(folder, tmp_path / "repaired")
    pack_small(folder, tmp_path / "never broken")
    assert contents(tmp_path / "repaired") == contents(tmp_path / "never broken")


def test_objects_with_fewer_than_two_views(folder: Path, tmp_path: Path) -> None:
    (folder / "02691156" / "hollow").mkdir()
    for view in (1, 2, 3):
        (folder / "02691156" / "object3" / f"image_{view}.jpg").unlink()
        (folder / "02691156" / "object3" / f"latent_{view}.npy").unlink()
    with pytest.raises(ValueError, match=r"hollow: 0 views where at least 2 are needed; 02691156/object3: 1 view where"):
        pack_small(folder, tmp_path / "pack")


def test_many_bad_objects_are_listed_in_a_file(tmp_path: Path) -> None:
    items = [PackItem(f"synset/{number:02}", "synset", "train", 2) for number in range(30)]

    def read(item: PackItem) -> tuple[np.ndarray, np.ndarray]:
        raise BadItemError("is broken")

    call = partial(pack, tmp_path / "pack", items, read, image_shape=(3, 2, 2), latent_dim=1, settings={})
    with pytest.raises(ValueError, match=r"synset/19: is broken; and 10 more, all listed in .*problems.txt"):
        call()
    assert len((tmp_path / "pack" / "problems.txt").read_text().splitlines()) == 30
    with pytest.raises(ValueError, match="none of the 30 items can be packed"):
        call(skip_bad=True)


def test_folders_that_are_no_such_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a folder; root is the folder that holds"):
        pack_small(tmp_path / "nowhere", tmp_path / "pack")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no objects: expected SYNSET/OBJECT"):
        pack_small(tmp_path / "empty", tmp_path / "pack")
    with pytest.raises(ValueError, match="size: expected at least 1 pixel"):
        pack_folder(folder, tmp_path / "pack", size=0)
    for path in folder.glob("*/*/*.jpg"):
        resave(path)
    with pytest.raises(ValueError, match="have 40x30 pixels; square ones are needed"):
        pack_small(folder, tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


def test_a_disk_too_small_is_noticed_before_anything_is_read(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    reader = read_by(monkeypatch, 0)
    with pytest.raises(OSError, match=r"the views need 0.00 GB and 0.00 GB are free; free some space") as error:
        pack_small(original, tmp_path / "pack")
    assert error.value.errno == errno.ENOSPC and not reader.names and not list((tmp_path / "pack").glob("*"))


def test_a_disk_that_fills_up_keeps_what_is_packed(
    original: Path, store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, count = packing._write_item, iter(range(100))

    def full(*arguments: object) -> object:
        if next(count) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(packing, "_write_item", full)
    with pytest.raises(OSError, match="the disk is full after 4 of 13 items; free some space and run the same command again"):
        pack_small(original, tmp_path / "pack")
    monkeypatch.setattr(packing, "_write_item", write)
    again = read_by(monkeypatch, 100)
    pack_small(original, tmp_path / "pack")
    assert len(again.names) == 9 and contents(tmp_path / "pack") == contents(store.path)


def change_byte(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(("name", "place", "message"), [
    ("views.npy", -1, "is damaged: .*/object"), ("latents.npy", -1, r"is damaged: latents.npy, .*/object"),
])  # fmt: skip
def test_verify_names_what_changed(store: ViewStore, tmp_path: Path, name: str, place: int, message: str) -> None:
    copy = Path(shutil.copytree(store.path, tmp_path / "copy"))
    change_byte(copy / name, place)
    with pytest.raises(ValueError, match=message) as error:
        ViewStore.open(copy).verify()
    assert store.items[-1].name in str(error.value) and store.items[0].name not in str(error.value)


def shorten(path: Path) -> None:
    array = np.load(path)
    np.save(path, array[:-1])


@pytest.mark.parametrize(("name", "spoil", "message"), [
    ("manifest.json", Path.unlink, "holds no packed views"),
    ("manifest.json", lambda path: path.write_text("{"), "is not a whole view store"),
    ("manifest.json", lambda path: path.write_text('{"format": "other"}'), "format 'other' instead of"),
    ("items.json", Path.unlink, "is not a whole view store"),
    ("items.json", lambda path: path.write_text("[]"), "do not belong together"),
    ("views.npy", truncate, "is not a whole view store"),
    ("views.npy", shorten, r"views.npy: expected uint8 \[52, 3, 16, 16\], found uint8 \[51, 3, 16, 16\]"),
    ("latents.npy", lambda path: np.save(path, np.load(path).astype(float)), "expected float32 .* found float64"),
])  # fmt: skip
def test_open_refuses_what_is_not_whole(
    store: ViewStore, tmp_path: Path, name: str, spoil: Callable[[Path], object], message: str
) -> None:
    copy = Path(shutil.copytree(store.path, tmp_path / "copy"))
    spoil(copy / name)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ViewStore.open(copy)


def test_the_manifest_says_how_the_store_was_made(store: ViewStore) -> None:
    manifest = json.loads((store.path / "manifest.json").read_text())
    settings = manifest["made"]["settings"]
    assert (settings["size"], settings["source_size"], settings["latents"]) == (SIDE, [40, 40], list(LATENTS))
    assert (manifest["num_items"], manifest["num_views"], manifest["skipped"]) == (13, sum(COUNTS), {})
