"""CIFAR-10 with augmentations as actions; CIFAR-100 by the same class.

Krizhevsky 2009; pairs as in Gupta et al. 2024, Table 3 (protocol 5.2).

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
from domains.vision.cifar_files import collection_named
from domains.vision.cifar_store import load
from domains.vision.encoders import Pixels, small_image_resnet

SPLIT_SEED = 0  # the same splits for all runs


class Cifar10(AugmentedImages):
    """Augmented views of images of 32 by 32 pixels; a pair is two views of one image.

    All images stay in memory as bytes, on the device that augments them. The published test images are the test split; a
    tenth of the training images is set aside for validation, equally many of each class, always the same ones. Smaller subsets are
    parts of larger ones.

    Args:
        transform: what makes the views.
        root: the prepared set or the original files (`cifar_store.locate`); None looks for them.
        dataset: cifar10 or cifar100.
        encoder: from the statistics of the pixels to a fresh encoder.
        num_images: so many of the training images, a tenth of them for validation; all when None.
        num_labelled: at most so many images of each split are shown to probes; all when None.
        views_per_image: views of each of them in `labelled`.
        seed: of the labelled views.
        augment_on: the device where images are kept and augmented; draws do not depend on it.
        trajectories: whether every sequence shows one image: T transitions are T + 1 views of it (for seq-JEPA).

    Raises:
        FileNotFoundError: when there are no images.
        ValueError: for damaged files, an argument out of range, or a transform whose parameters do not fit its groups.
    """

    def __init__(
        self,
        transform: Augmentation,
        root: str | Path | None = None,
        dataset: str = "cifar10",
        encoder: Callable[[Pixels], nn.Module] = small_image_resnet,
        num_images: int | None = None,
        num_labelled: int | None = None,
        views_per_image: int = 4,
        seed: int = 0,
        augment_on: str = "auto",
        trajectories: bool = False,
    ) -> None:
        collection = collection_named(dataset)
        whole, source = load(None if root is None else Path(root), collection)
        self._images = torch.from_numpy(whole.images).to(choose_device(augment_on))
        labels = torch.from_numpy(whole.labels).long()
        super().__init__(
            transform, fixed_splits(labels, whole.num_train, num_images), labels, collection.num_classes, encoder=encoder,
            pixels=collection.pixels, num_labelled=num_labelled, views_per_image=views_per_image, seed=seed, trajectories=trajectories,
        )  # fmt: skip
        self.manifest |= {
            "name": collection.name,
            "source": str(source),
            "sha256": whole.sha256,
            "classes": list(whole.classes),
            "split_seed": SPLIT_SEED,
        }

    def _originals(self, images: Tensor) -> Tensor:
        """uint8 [N, 3, 32, 32]."""
        return self._images[images.to(self._images.device)]


def fixed_splits(labels: Tensor, num_train: int, num_images: int | None = None) -> dict[Split, Tensor]:
    """The images of each split, by their numbers in the whole set; every beginning of each split is balanced over classes.

    Args:
        labels: int64 [N] of all images, the training images first.
        num_train: how many of them are training images.
        num_images: as in `Cifar10`.

    Raises:
        ValueError: for more images than there are, or fewer than a split needs.
    """
    chosen = num_train if num_images is None else num_images
    if not 10 <= chosen <= num_train:
        raise ValueError(f"num_images must be between 10 and {num_train:,}, the training images that there are, found {chosen:,}")
    train, test = (balanced_order(part, SPLIT_SEED) for part in (labels[:num_train], labels[num_train:]))
    num_validation = num_train // 10
    return {
        Split.TRAIN: train[num_validation:][: chosen - chosen // 10],
        Split.VALIDATION: train[:num_validation][: chosen // 10],
        Split.TEST: test + num_train,
    }


def balanced_order(labels: Tensor, seed: int) -> Tensor:
    """A random order [N] in which the classes take turns: every beginning of it has as many of each class as can be."""
    shuffled = torch.randperm(len(labels), generator=generator(seed, "splits"))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = labels.bincount()
    turn = torch.arange(len(labels)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return by_class[turn.argsort(stable=True)]
