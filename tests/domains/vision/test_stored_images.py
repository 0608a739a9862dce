"""A store of images as a domain: pairs are two views of one stored image, in shards or in one file, and the adapter conforms."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_cifar import ShiftAndDim

from contextssl.adapter import Split
from contextssl.testing import check_adapter
from domains.vision.encoders import SmallConvNet
from domains.vision.packing import PackItem, pack
from domains.vision.sharded_packing import pack_shards
from domains.vision.stored_images import StoredImages

ITEMS = [PackItem(f"{n:03}", "abc"[n // 24], "test" if n % 6 == 0 else "train", 1) for n in range(72)]
IMAGES = np.random.default_rng(0).integers(256, size=(72, 1, 3, 32, 32), dtype=np.uint8)
WRITTEN: dict[str, Any] = {"image_shape": (3, 32, 32), "latent_dim": 0, "settings": {}}
domain = partial(StoredImages, ShiftAndDim(), encoder=partial(SmallConvNet, widths=(4,), out_dim=8), augment_on="cpu")


def read(item: PackItem) -> tuple[np.ndarray, np.ndarray]:
    return IMAGES[int(item.name)], np.empty((1, 0), np.float32)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("one") / "store"
    pack(path, ITEMS, read, **WRITTEN)
    return path


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards") / "store"
    pack_shards(path, ITEMS, read, items_per_shard=9, **WRITTEN)
    return path


@pytest.mark.parametrize("window", [None, 2])
def test_it_conforms(shards: Path, window: int | None) -> None:
    check_adapter(domain(shards, window=window))


def test_pairs_are_two_views_of_one_training_image(shards: Path) -> None:
    adapter = domain(shards, window=2)
    training = set(adapter.images[Split.TRAIN].tolist())
    batch = adapter.train_sequences(12, seed=3)[1]
    shown = []
    for t in range(12):
        for state, parameters in zip((batch.state[0, t], batch.next_state[0, t]), batch.latent[0, t], strict=True):
            undone = np.roll(state.numpy() / float(parameters[1]), -int(parameters[0]), axis=-1)
            shown.append(int(np.abs(IMAGES[:, 0] / 255 - undone).mean((1, 2, 3)).argmin()))
    assert shown[::2] == shown[1::2] and len(set(shown)) == 12 and set(shown) <= training


def test_shards_show_what_one_file_shows(one: Path, shards: Path) -> None:
    for window in (None, 8):
        whole, parts = domain(one), domain(shards, window=window)
        assert whole._pixels == parts._pixels
        for index in (0, 9):
            first, second = (adapter.train_sequences(5, 1)[index] for adapter in (whole, parts))
            assert torch.equal(first.state, second.state) and torch.equal(first.latent, second.latent)
        for split in Split:
            assert torch.equal(whole.labelled(split).inputs, parts.labelled(split).inputs)
            assert torch.equal(whole.held_out(3, 2, 0, split).state, parts.held_out(3, 2, 0, split).state)


def test_splits_and_what_probes_see(shards: Path) -> None:
    adapter = domain(shards, validation_share=0.25, num_labelled=7, views_per_image=3)
    assert {split: len(images) for split, images in adapter.images.items()} == {"train": 45, "validation": 15, "test": 12}
    assert adapter.images[Split.TEST].tolist() == list(range(0, 72, 6))
    shown = adapter.untransformed(Split.TRAIN)
    assert len(shown) == 7 and len(adapter.labelled(Split.TRAIN)) == 21
    assert torch.equal(shown.inputs, torch.from_numpy(IMAGES[shown.item.numpy(), 0]))
    assert shown.target("class").values.tolist() == [number // 24 for number in shown.item.tolist()]
    assert len(shown.target("class").values.unique()) > 1  # not only the first class, whose images come first
    fractions = torch.from_numpy(IMAGES[:, 0]).float() / 255
    assert adapter._pixels.mean == pytest.approx(fractions.mean((0, 2, 3)).tolist(), abs=0.01)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"window": 0}, "window must be at least 1 shard, found 0"), ({"validation_share": 1}, "validation_share must be above 0"),
    ({"num_labelled": 0}, "num_labelled must be at least 1"), ({"root": None}, "which data set. give name="),
])  # fmt: skip
def test_values_out_of_range(shards: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        domain(**{"root": shards, **wrong})


def test_a_store_without_test_images(tmp_path: Path) -> None:
    pack(tmp_path / "store", ITEMS[1:6], read, **WRITTEN)
    with pytest.raises(ValueError, match="no images for test; pack a train and a test split"):
        domain(tmp_path / "store")
    with pytest.raises(FileNotFoundError, match="holds no packed views"):
        domain(tmp_path / "nowhere")
