"""Stores in shards: the same rows as one file, few maps at a time, interruptions shard by shard, damage by name."""

from __future__ import annotations

import json
import mmap
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from published_folder import VIEWS, write_folder

from contextssl import distributed
from domains.vision import sharded_packing
from domains.vision.image_folder import pack_folder
from domains.vision.packing import BadItemError, PackItem, pack
from domains.vision.sharded_packing import pack_shards
from domains.vision.sharded_views import pages_of
from domains.vision.three_d_ie_bench import ThreeDIEBench
from domains.vision.view_store import ViewStore

ITEMS = [
    PackItem(f"{category}/{number:02}", category, "test" if number % 4 == 0 else "train", 2 + (3 * number + kind) % 4)
    for kind, category in enumerate(("chair", "boat", "lamp"))
    for number in range(8)
]
PER_SHARD = 5
SHAPE = {"image_shape": (3, 4, 4), "latent_dim": 7, "settings": {"root": "drawn", "size": 4, "split": "drawn"}}


def draw(item: PackItem) -> tuple[np.ndarray, np.ndarray]:
    """Views and latents that only this item has."""
    rng = np.random.default_rng(ITEMS.index(item))
    views = rng.integers(256, size=(item.num_views, 3, 4, 4), dtype=np.uint8)
    return views, rng.random((item.num_views, 7), dtype=np.float32)


class Counted:
    """Reads as `draw`, notes whom, and stops after some, as an interruption does."""

    def __init__(self, most: int = 10**6, broken: tuple[str, ...] = ()) -> None:
        self.most, self.broken, self.names = most, broken, list[str]()

    def __call__(self, item: PackItem) -> tuple[np.ndarray, np.ndarray]:
        if len(self.names) == self.most:
            raise KeyboardInterrupt
        if item.name in self.broken:
            raise BadItemError("is broken")
        self.names.append(item.name)
        return draw(item)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> ViewStore:
    path = tmp_path_factory.mktemp("one") / "pack"
    pack(path, ITEMS, draw, **SHAPE)
    return ViewStore.open(path)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> ViewStore:
    path = tmp_path_factory.mktemp("sharded") / "pack"
    pack_shards(path, ITEMS, draw, items_per_shard=PER_SHARD, **SHAPE)
    return ViewStore.open(path)


def test_the_shards_read_as_one_file(one: ViewStore, sharded: ViewStore) -> None:
    assert sharded.items == one.items and len(sharded) == len(one) == len(ITEMS)
    assert (sharded.categories, sharded.image_shape) == (one.categories, one.image_shape)
    for name in ("first_row", "num_views", "label", "latents"):
        assert torch.equal(getattr(sharded, name), getattr(one, name))
    for split in ("train", "test", "nowhere"):
        assert torch.equal(sharded.split(split), one.split(split))
    assert sharded.shard_ends.tolist() == [5, 10, 15, 20, 24] and one.shard_ends.tolist() == [24]
    assert len(list(sharded.path.glob("shard-*/manifest.json"))) == 5
    sharded.verify()


@settings(max_examples=30, deadline=None)
@given(data=st.data(), max_open=st.integers(1, 4))
def test_any_rows_in_any_order_with_few_files_mapped(
    one: ViewStore, sharded: ViewStore, data: st.DataObject, max_open: int
) -> None:
    store = ViewStore.open(sharded.path, max_open)
    for rows in data.draw(st.lists(st.lists(st.integers(0, len(one.latents) - 1), max_size=9), max_size=4)):
        wanted = torch.tensor(rows, dtype=torch.long)
        assert torch.equal(store.views(wanted), one.views(wanted))
        assert num_mapped(store) <= max_open


@given(offset=st.integers(0, 9000), row_bytes=st.integers(1, 60_000), row=st.integers(0, 10_000))
def test_the_pages_of_a_row_hold_it_and_begin_where_a_page_does(offset: int, row_bytes: int, row: int) -> None:
    ((begin, length),) = pages_of(offset, row_bytes, [row])
    first = offset + row * row_bytes
    assert begin % mmap.PAGESIZE == 0 and 0 <= first - begin < mmap.PAGESIZE and begin + length == first + row_bytes


def num_mapped(store: ViewStore) -> int:
    return store._views.mapped.cache_info().currsize  # type: ignore[union-attr]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 5), length=st.integers(1, 40), window=st.sampled_from([None, 1, 2, 5]))
def test_training_pairs_are_those_of_one_file(
    one: ViewStore, sharded: ViewStore, seed: int, length: int, window: int | None
) -> None:
    """A window of all shards, or none, draws them; a smaller one draws those of one file with the same borders."""
    whole, parts = ThreeDIEBench(one.path), ThreeDIEBench(sharded.path, window=window)
    expected = whole.train_sequences(length, seed)
    if window in (1, 2):
        whole.store.shard_ends, whole._window = sharded.shard_ends, window
        expected = whole.train_sequences(length, seed)
    found = parts.train_sequences(length, seed)
    for index in (0, 1, 7, 2):
        for name in ("state", "action", "next_state", "latent"):
            assert torch.equal(getattr(found[index], name), getattr(expected[index], name))
    assert window is None or num_mapped(parts.store) <= 2 * window


def test_an_epoch_reads_each_shard_in_one_go(sharded: ViewStore) -> None:
    domain = ThreeDIEBench(sharded.path, window=1)
    sequences, mapped = domain.train_sequences(2, 0), domain.store._views.mapped  # type: ignore[union-attr]
    mapped.cache_clear()
    for index in range(len(sequences)):
        sequences[index]
    assert mapped.cache_info().misses == len(sharded.shard_ends) and mapped.cache_info().currsize <= 2


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_each_process_reads_the_views_of_its_own_sequences_only(
    sharded: ViewStore, monkeypatch: pytest.MonkeyPatch, num_ranks: int
) -> None:
    """The sequences of all ranks are those of one process, whatever their number, and no rank reads another's rows."""
    sequences = ThreeDIEBench(sharded.path, window=2).train_sequences(2, 0)
    read, views = list[int](), ViewStore.views
    monkeypatch.setattr(ViewStore, "views", lambda self, rows: (read.extend(rows.tolist()), views(self, rows))[1])
    monkeypatch.setattr(distributed, "num_processes", lambda: num_ranks)
    found, read_by = [], []
    for rank in range(num_ranks):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        read.clear()
        found += [sequences[index].latent for index in distributed.own(range(6))]
        read_by.append(sorted(read))
    assert {len(rows) for rows in read_by} == {2 * 2 * 6 // num_ranks}  # both views of the two pairs of each sequence
    read.clear()
    for index in range(6):
        assert torch.equal(sequences[index].latent, found[index])
    assert sorted(read) == sorted(row for rows in read_by for row in rows)


@pytest.mark.parametrize("most", [0, 3, 5, 12, 23])
def test_an_interrupted_build_goes_on_with_the_missing_shards(sharded: ViewStore, tmp_path: Path, most: int) -> None:
    out, first, second = tmp_path / "pack", Counted(most), Counted()
    with pytest.raises(KeyboardInterrupt):
        pack_shards(out, ITEMS, first, items_per_shard=PER_SHARD, **SHAPE)
    with pytest.raises(FileNotFoundError, match="was interrupted; run the same prepare command again"):
        ViewStore.open(out)
    whole = {path.parent: path.stat().st_mtime_ns for path in out.glob("shard-*/manifest.json")}
    assert len(whole) == most // PER_SHARD
    pack_shards(out, ITEMS, second, items_per_shard=PER_SHARD, **SHAPE)
    assert sorted(first.names + second.names) == [item.name for item in sorted(ITEMS, key=lambda item: item.name)]
    assert all((path / "manifest.json").stat().st_mtime_ns == time for path, time in whole.items())
    assert contents(out) == contents(sharded.path)


def test_a_half_written_shard_is_never_taken_for_whole(sharded: ViewStore, tmp_path: Path) -> None:
    """Views of the right size without a manifest are packed again; so is the manifest of all."""
    out = Path(shutil.copytree(sharded.path, tmp_path / "pack"))
    for path in (out / "manifest.json", out / "shard-00002" / "manifest.json", out / "shard-00002" / "items.json"):
        path.unlink()
    identity = json.loads((sharded.path / "manifest.json").read_text())["made"]
    (out / "unfinished.jsonl").write_text(json.dumps(identity) + "\n")
    (out / "shard-00002" / "views.npy").write_bytes(b"half")
    again = Counted()
    pack_shards(out, ITEMS, again, items_per_shard=PER_SHARD, **SHAPE)
    assert again.names == [item.name for item in ITEMS[10:15]] and contents(out) == contents(sharded.path)


@pytest.mark.slow
def test_several_processes_pack_the_same_shards(sharded: ViewStore, tmp_path: Path) -> None:
    pack_shards(tmp_path / "pack", ITEMS, draw, items_per_shard=PER_SHARD, processes=2, **SHAPE)
    assert contents(tmp_path / "pack") == contents(sharded.path)


def test_a_finished_store_is_left_alone_and_others_do_not_mix(sharded: ViewStore, tmp_path: Path) -> None:
    again, times = Counted(), {path: path.stat().st_mtime_ns for path in sharded.path.rglob("*")}
    pack_shards(sharded.path, ITEMS, again, items_per_shard=PER_SHARD, **SHAPE)
    assert not again.names and {path: path.stat().st_mtime_ns for path in sharded.path.rglob("*")} == times
    for change in ({"items_per_shard": 6}, {"items_per_shard": PER_SHARD, "settings": {"size": 5}}):
        with pytest.raises(FileExistsError, match="another pack"):
            pack_shards(sharded.path, ITEMS, draw, **{**SHAPE, **change})
    with pytest.raises(KeyboardInterrupt):
        pack_shards(tmp_path / "pack", ITEMS, Counted(7), items_per_shard=PER_SHARD, **SHAPE)
    with pytest.raises(FileExistsError, match="unfinished pack of other"):
        pack_shards(tmp_path / "pack", ITEMS, draw, items_per_shard=6, **SHAPE)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="not a pack"):
        pack_shards(tmp_path / "letters", ITEMS, draw, items_per_shard=PER_SHARD, **SHAPE)
    with pytest.raises(ValueError, match="items_per_shard must be at least 1, found 0"):
        pack_shards(tmp_path / "other", ITEMS, draw, items_per_shard=0, **SHAPE)
    with pytest.raises(ValueError, match="max_open must be at least 1"):
        ViewStore.open(sharded.path, 0)


def test_bad_items_are_named_and_may_be_skipped_even_a_whole_shard(one: ViewStore, tmp_path: Path) -> None:
    bad = (ITEMS[1].name, *(item.name for item in ITEMS[20:]))
    out, reader = tmp_path / "pack", Counted(broken=bad)
    with pytest.raises(
        ValueError, match=r"shards that are not whole: 2, all others are; shard-00000: .*boat|chair/01: is broken"
    ):
        pack_shards(out, ITEMS, reader, items_per_shard=PER_SHARD, **SHAPE)
    pack_shards(out, ITEMS, reader, items_per_shard=PER_SHARD, skip_bad=True, **SHAPE)
    assert sorted(reader.names) == sorted(item.name for item in ITEMS if item.name not in bad)
    store = ViewStore.open(out)
    store.verify()
    assert set(store.manifest["skipped"]) == set(bad) and store.shard_ends.tolist() == [4, 9, 14, 19, 19]
    kept = torch.tensor([place for place, item in enumerate(ITEMS) if item.name not in bad])
    assert torch.equal(store.views(store.rows(torch.arange(len(store)))), one.views(one.rows(kept)))
    with pytest.raises(ValueError, match="not one item could be packed"):
        pack_shards(tmp_path / "none", ITEMS[20:], Counted(broken=bad), items_per_shard=2, skip_bad=True, **SHAPE)


def test_a_disk_too_small_is_noticed_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[int]()
    monkeypatch.setattr(sharded_packing, "check_space", lambda _, needed: asked.append(needed))
    pack_shards(tmp_path / "pack", ITEMS, draw, items_per_shard=PER_SHARD, **SHAPE)
    assert asked == [sum(item.num_views for item in ITEMS) * 48]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(("name", "message"), [
    ("shard-00003/views.npy", r"is damaged: shard-00003 \(.*lamp/03"), ("shard-00001/latents.npy", r"is damaged: shard-00001 \("),
    ("shard-00004/manifest.json", "is damaged: shard-00004/manifest.json"), ("index.npy", "is damaged: index.npy"),
    ("latents.npy", "is damaged: latents.npy"),
])  # fmt: skip
def test_verify_names_the_damaged_shard(sharded: ViewStore, tmp_path: Path, name: str, message: str) -> None:
    copy = Path(shutil.copytree(sharded.path, tmp_path / "copy"))
    flip(copy / name)
    with pytest.raises(ValueError, match=message):
        ViewStore.open(copy).verify()


def cut(path: Path) -> None:
    np.save(path, np.load(path)[..., :-1])


@pytest.mark.parametrize(("name", "spoil", "message"), [
    ("shard-00003/manifest.json", Path.unlink, "1 of 5 shards are not there, such as shard-00003"),
    ("index.npy", Path.unlink, "is not a whole view store"), ("index.npy", cut, "have the shapes .*the shards need"),
    ("latents.npy", cut, "have the shapes .*the shards need"),
])  # fmt: skip
def test_open_refuses_what_is_not_whole(
    sharded: ViewStore, tmp_path: Path, name: str, spoil: Callable[[Path], object], message: str
) -> None:
    copy = Path(shutil.copytree(sharded.path, tmp_path / "copy"))
    spoil(copy / name)
    with pytest.raises(ValueError, match=message):
        ViewStore.open(copy)


def test_a_shard_of_another_size_is_noticed_when_it_is_read(sharded: ViewStore, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sharded.path, tmp_path / "copy"))
    np.save(copy / "shard-00001" / "views.npy", np.zeros((2, 3, 4, 4), np.uint8))
    store = ViewStore.open(copy)
    store.views(torch.tensor([0]))
    with pytest.raises(ValueError, match=r"shard-00001/views.npy: expected uint8 \[\d+, 3, 4, 4\], found uint8 \[2, 3, 4, 4\]"):
        store.views(store.first_row[[6]])


def test_a_folder_is_shuffled_into_its_shards(tmp_path: Path) -> None:
    """Every object is there with its own views, and the shards do not follow the categories, as the folder does."""
    write_folder(tmp_path / "folder")
    one = pack_folder(tmp_path / "folder", tmp_path / "one", size=16)
    many = pack_folder(tmp_path / "folder", tmp_path / "many", size=16, items_per_shard=4)
    place = {item.name: index for index, item in enumerate(many.items)}
    order = torch.tensor([place[item.name] for item in one.items])
    assert torch.equal(many.views(many.rows(order)), one.views(one.rows(torch.arange(len(one)))))
    assert sorted(order.tolist()) == list(range(sum(map(len, VIEWS.values())))) != order.tolist()
    assert len(set(many.label[:4].tolist())) > 1 and len(many.shard_ends) == 4
    domains = [ThreeDIEBench(store.path) for store in (one, many)]
    names = [{str(split): {domain.store.items[i].name for i in objects.tolist()} for split, objects in domain.objects.items()} for domain in domains]  # fmt: skip
    assert names[0] == names[1]
