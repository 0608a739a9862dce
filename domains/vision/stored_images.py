"""Images of a `ViewStore`, such as one streamed from the hub, with augmentations as actions.

N rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from contextssl.adapter import Split
from contextssl.seeding import generator
from contextssl.training import choose_device
from domains.vision.augmented_images import Augmentation, AugmentedImages
from domains.vision.encoders import Pixels, resnet
from domains.vision.epochs import BlockSequences, EpochSequences
from domains.vision.hub_images import locate
from domains.vision.image_folder import TEST, TRAIN
from domains.vision.view_store import MAX_OPEN, ViewStore

NUM_SAMPLED = 1024  # training images that the statistics of the pixels are measured on
SPLIT_SEED = 0  # the same validation images for all runs


class StoredImages(AugmentedImages):
    """Augmented views of stored images, which are read when a sequence asks for them; a pair is two views of one image.

    Only the first view of an item is used. The store's test split is the test split; validation images are a share of the
    training images, always the same ones.

    Args:
        transform: what makes the views.
        root: folder of the store.
        name: of a set of the hub, in the user cache, when there is no root.
        encoder: from the statistics of the pixels to a fresh encoder.
        validation_share: share of the training images that is set aside.
        num_labelled: at most so many images of each split, drawn with the seed, are shown to probes.
        views_per_image: views of each of them in `labelled`.
        seed: of the labelled images and views.
        augment_on: the device where images are augmented; draws do not depend on it.
        window: training reads so many shards at a time (`BlockSequences`); any of them when None.
        trajectories: whether every sequence shows one image (for seq-JEPA).

    Raises:
        FileNotFoundError: when there is no store.
        ValueError: for an argument out of range, a store without images for a split, or a transform whose parameters do not
            fit its groups.
    """

    def __init__(
        self,
        transform: Augmentation,
        root: str | Path | None = None,
        name: str | None = None,
        encoder: Callable[[Pixels], nn.Module] = resnet,
        validation_share: float = 0.1,
        num_labelled: int = 10_000,
        views_per_image: int = 4,
        seed: int = 0,
        augment_on: str = "auto",
        window: int | None = None,
        trajectories: bool = False,
    ) -> None:
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1 shard, found {window}")
        if not 0 < validation_share < 1:
            raise ValueError(f"validation_share must be above 0 and below 1, found {validation_share}")
        # Two windows: a sequence may begin in one and end in the next.
        self.store = ViewStore.open(locate(None if root is None else Path(root), name), 2 * window if window else MAX_OPEN)
        self._window, self._device = window, choose_device(augment_on)
        images = _splits(self.store, validation_share)
        super().__init__(
            transform, images, self.store.label, len(self.store.categories), encoder=encoder, pixels=self._measured_pixels(images),
            num_labelled=num_labelled, views_per_image=views_per_image, seed=seed, trajectories=trajectories,
        )  # fmt: skip
        self.manifest |= {
            "name": self.store.path.name,
            "source": self.store.manifest["made"],
            "sha256": self.store.manifest["sha256"],
            "image_shape": list(self.store.image_shape),
            "validation_share": validation_share,
            "split_seed": SPLIT_SEED,
        }

    def train_sequences(self, length: int, seed: int) -> EpochSequences:
        """Sequences that show every training image once an epoch, from a window of shards at a time if there is one."""
        whole = super().train_sequences(length, seed)
        if self._window is None:
            return whole
        return BlockSequences(whole.pool, whole.draw, whole.length, seed, self.store.shard_ends, self._window)

    def _originals(self, images: Tensor) -> Tensor:
        return self.store.views(self.store.first_row[images]).to(self._device)

    def _shown(self, split: Split) -> Tensor:
        """Random images of a split, in ascending order: shards follow the order of the source, which may be by class."""
        pool = self.images[split]
        chosen = torch.randperm(len(pool), generator=generator(self._seed, f"shown/{split}"))[: self._num_labelled]
        return pool[chosen.sort().values]

    def _measured_pixels(self, images: dict[Split, Tensor]) -> Pixels:
        pool = images[Split.TRAIN]
        chosen = torch.randint(len(pool), (NUM_SAMPLED,), generator=generator(SPLIT_SEED, "pixels")).unique()
        channels = self._originals(pool[chosen]).transpose(0, 1).flatten(1).float() / 255
        return Pixels(mean=tuple(channels.mean(1).tolist()), std=tuple(channels.std(1).clamp_min(1e-3).tolist()))


def _splits(store: ViewStore, validation_share: float) -> dict[Split, Tensor]:
    """The images of each split, in ascending order."""
    train = store.split(TRAIN)
    chosen = torch.zeros(len(train), dtype=torch.bool)
    order = torch.randperm(len(train), generator=generator(SPLIT_SEED, "validation"))
    chosen[order[: max(1, round(validation_share * len(train)))]] = True
    found = {Split.TRAIN: train[~chosen], Split.VALIDATION: train[chosen], Split.TEST: store.split(TEST)}
    if empty := [str(split) for split, images in found.items() if not len(images)]:
        raise ValueError(f"{store.path}: no images for {' and '.join(empty)}; pack a train and a test split (splits.test=...)")
    return found
