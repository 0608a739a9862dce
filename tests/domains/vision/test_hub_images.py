"""Sets of the hub streamed into shards: contents, parts, interruptions, wrong names; sets are made here, nothing is fetched."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from contextssl.commands.data import act
from domains.vision import hub_images
from domains.vision.hub_images import HubImages, pack_hub
from domains.vision.procedural.packages import MissingPackageError
from domains.vision.view_store import ViewStore

datasets = pytest.importorskip("datasets")

SIDE, PER_SHARD = 8, 4
CLASSES = ["zebra", "ant", "moth"]
NUM_ROWS = {"train": 23, "validation": 7}
FEATURES = datasets.Features(
    {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=CLASSES), "note": datasets.Value("string")}
)


def picture(split: str, number: int) -> Image.Image:
    rng = np.random.default_rng([len(split), number])
    height, width = 8 + number % 3, 8 + number % 4
    return Image.fromarray(rng.integers(256, size=(height, width, 3), dtype=np.uint8))


def png(image: Image.Image) -> dict[str, Any]:
    content = io.BytesIO()
    image.save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


def rows(split: str) -> datasets.Dataset:
    numbers = range(NUM_ROWS[split])
    columns = {
        "picture": [png(picture(split, n)) for n in numbers],
        "kind": [n % 3 for n in numbers],
        "note": ["x"] * len(numbers),
    }
    return datasets.Dataset.from_dict(columns, features=FEATURES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As sets lie in the hub: Parquet files, three of the training images and one of the others."""
    root = tmp_path_factory.mktemp("hub") / "insects"
    root.mkdir()
    for split, num_files in (("train", 3), ("validation", 1)):
        for number in range(num_files):
            rows(split).shard(num_files, number).to_parquet(root / f"{split}-{number:05}-of-{num_files:05}.parquet")
    return root


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


pack_small = partial(pack_hub, splits={"train": "train", "test": "validation"}, size=SIDE, items_per_shard=PER_SHARD)


def source(folder: Path, **columns: Any) -> HubImages:
    return HubImages(str(folder), **{"image": "picture", "label": "kind", **columns})


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ViewStore:
    return pack_small(source(folder), tmp_path_factory.mktemp("packs") / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_image_is_there_in_its_split_with_its_class(packed: ViewStore) -> None:
    for split, of_set in (("train", "train"), ("test", "validation")):
        items = packed.split(split)
        assert len(items) == NUM_ROWS[of_set] and packed.num_views[items].unique().tolist() == [1]
        for number, (item, view) in enumerate(zip(items.tolist(), packed.views(packed.rows(items)), strict=True)):
            expected = ImageOps.fit(picture(of_set, number), (SIDE, SIDE), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(view.permute(1, 2, 0).numpy(), np.asarray(expected))
            assert packed.categories[packed.label[item]] == CLASSES[number % 3]
    assert packed.latents.shape == (30, 0)
    packed.verify()


def test_shards_hold_at_most_so_many_and_each_part_has_its_own(packed: ViewStore) -> None:
    sizes = {shard["name"]: shard["num_items"] for shard in packed.manifest["shards"]}
    of_parts = [
        [size for name, size in sizes.items() if name.startswith(part)]
        for part in ("train-00000", "train-00001", "train-00002", "test-00000")
    ]
    assert of_parts == [[4, 4], [4, 4], [4, 3], [4, 3]] and sum(map(sum, of_parts)) == len(packed)


class CountedRows:
    """Streams of a folder that note how often they are opened and stop after some rows, as a lost connection does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int = 10**6) -> None:
        self.most, self.decoded = most, 0
        decode = hub_images.RowReader.__call__

        def counted(reader: hub_images.RowReader, item: Any) -> Any:
            if self.decoded == self.most:
                raise KeyboardInterrupt
            self.decoded += 1
            return decode(reader, item)

        monkeypatch.setattr(hub_images.RowReader, "__call__", counted)


@pytest.mark.parametrize("most", [0, 2, 9, 13, 29])
def test_an_interrupted_stream_goes_on_with_the_missing_shards(
    folder: Path, packed: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    out = tmp_path / "pack"
    with monkeypatch.context() as patch:
        CountedRows(patch, most)
        with pytest.raises(KeyboardInterrupt):
            pack_small(source(folder), out)
    with pytest.raises(FileNotFoundError, match="was interrupted"):
        ViewStore.open(out)
    num_whole = sum(json.loads(path.read_text())["num_items"] for path in out.glob("*/manifest.json"))
    again = CountedRows(monkeypatch)
    pack_small(source(folder), out)
    journalled = most - num_whole  # an interruption keeps the rows before it, a killed process loses some of them
    assert again.decoded == 30 - num_whole - journalled and contents(out) == contents(packed.path)


def test_whole_parts_are_not_opened_again(
    folder: Path, packed: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pack"
    with monkeypatch.context() as patch:
        CountedRows(patch, 17)  # within the third part
        with pytest.raises(KeyboardInterrupt):
            pack_small(source(folder), out)
    for number in (0, 1):
        assert (out / f"train-{number:05}.json").is_file()
    read, shard = [], datasets.IterableDataset.shard
    monkeypatch.setattr(datasets.IterableDataset, "shard", lambda self, total, index: (read.append((total, index)), shard(self, total, index))[1])  # fmt: skip
    pack_small(source(folder), out)
    assert read == [(3, 2), (1, 0)] and contents(out) == contents(packed.path)


def test_no_more_than_one_shard_is_held(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a shard is written, the stream has given its rows and those of the shards before it, none further on."""
    given, seen = [0], list[int]()
    chunks, write = hub_images._chunks, hub_images.write_shard

    def counted(rows: datasets.IterableDataset, length: int) -> Iterator[Any]:
        def one_by_one() -> Iterator[Any]:
            for row in rows:
                given[0] += 1
                yield row

        return chunks(one_by_one(), length)

    monkeypatch.setattr(hub_images, "_chunks", counted)
    monkeypatch.setattr(hub_images, "write_shard", lambda *arguments: (seen.append(given[0]), write(*arguments))[1])
    pack_small(source(folder), tmp_path / "pack")
    assert seen == [4, 8, 12, 16, 20, 23, 27, 30]


def test_streams_in_memory_with_and_without_features(packed: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `IterableDataset` of a table, and one of a generator that does not say what it yields."""
    tables = {split: rows(split) for split in NUM_ROWS}
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, config, split, **_: tables[split].to_iterable_dataset(num_shards=2)
    )
    store = pack_small(HubImages("mine", "picture", "kind"), tmp_path / "table")
    order = torch.arange(30)
    assert torch.equal(store.views(order), packed.views(order))

    def unknown(split: str) -> Iterator[dict[str, Any]]:
        for number in range(NUM_ROWS[split]):
            yield {"picture": picture(split, number), "kind": CLASSES[number % 3]}

    def generated(name: str, config: str | None, split: str, **_: Any) -> datasets.IterableDataset:
        return datasets.IterableDataset.from_generator(unknown, gen_kwargs={"split": split})

    monkeypatch.setattr(datasets, "load_dataset", generated)
    store = pack_small(HubImages("mine", "picture", "kind"), tmp_path / "generated")
    assert torch.equal(store.views(order), packed.views(order)) and torch.equal(store.label, packed.label)
    unlabelled = pack_small(HubImages("mine", "picture", None), tmp_path / "unlabelled")
    assert unlabelled.label.unique().tolist() == [0]


@pytest.mark.slow
def test_several_processes_pack_the_same_shards(folder: Path, packed: ViewStore, tmp_path: Path) -> None:
    pack_small(source(folder), tmp_path / "pack", processes=2)
    assert contents(tmp_path / "pack") == contents(packed.path)


@pytest.mark.parametrize(("columns", "splits", "message"), [
    ({"image": "img"}, {"train": "train"}, "has no column 'img' but picture, kind, note; give image="),
    ({"label": "class"}, {"train": "train"}, "has no column 'class' but picture, kind, note"),
    ({"image": "note"}, {"train": "train"}, "column 'note' has no images; picture has, give image="),
    ({}, {"train": "train", "test": "test"}, r"split 'test', cannot be opened \(Bad split: test. Available.*check name, config and splits"),
    ({"config": "large"}, {"train": "train"}, r"cannot be opened \(BuilderConfig 'large' not found"),
])  # fmt: skip
def test_wrong_words_are_one_sentence_and_leave_nothing(
    folder: Path, tmp_path: Path, columns: dict[str, str], splits: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pack_hub(source(folder, **columns), tmp_path / "pack", splits)
    with pytest.raises(ValueError, match="nowhere, split 'train', cannot be opened"):
        pack_hub(HubImages(str(tmp_path / "nowhere")), tmp_path / "pack", {"train": "train"})
    with pytest.raises(ValueError, match=r"nobody/nothing, split 'train', cannot be opened \(Couldn't reach"):
        pack_hub(HubImages("nobody/nothing"), tmp_path / "pack", {"train": "train"})
    with pytest.raises(ValueError, match="items_per_shard must be at least 1"):
        pack_small(source(folder), tmp_path / "pack", items_per_shard=0)
    with pytest.raises(ValueError, match="size: expected at least 1 pixel"):
        pack_small(source(folder), tmp_path / "pack", size=0)
    assert not (tmp_path / "pack").exists()


def test_without_the_package(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_images, "datasets", None)
    with pytest.raises(MissingPackageError, match="pip install datasets"):
        pack_small(source(folder), tmp_path / "pack")


def test_rows_that_are_no_images_are_named_and_may_be_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"picture": [png(picture("train", n)) for n in range(6)], "kind": [0] * 6, "note": [""] * 6}
    table["picture"][5] = {"bytes": b"no image", "path": None}
    broken = datasets.Dataset.from_dict(table, features=FEATURES)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: broken.to_iterable_dataset())
    pack = partial(
        pack_hub,
        HubImages("mine", "picture", "kind"),
        tmp_path / "pack",
        {"train": "train"},
        size=SIDE,
        items_per_shard=PER_SHARD,
    )
    with pytest.raises(ValueError, match="shards that are not whole: 1, .*train-00000/00000005: cannot be read"):
        pack()
    assert len(pack(skip_bad=True)) == 5


def test_the_command_prepares_verifies_and_describes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTSSL_CACHE", str(tmp_path / "user"))
    words = [
        f"name={folder}",
        "image=picture",
        "label=kind",
        "splits.test=validation",
        "size=8",
        "items_per_shard=4",
        "processes=1",
    ]
    said = act("prepare", "hub-images", words)
    assert "8x8 pixels, 8 shards" in said[0] and said[1] == "train 23 images (train); test 7 images (validation); 3 classes"
    assert act("info", "hub-images", [f"name={folder}"]) == said
    assert "30 images in 8 shards are as they were packed" in act("verify", "hub-images", [f"name={folder}"])[0]
    with pytest.raises(ValueError, match="which data set. give name="):
        act("prepare", "hub-images")
