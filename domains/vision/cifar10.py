"""CIFAR-10 with augmentations as actions: two augmented views of one image, and the change of the augmentations' parameters.

Krizhevsky 2009; pairs as in Gupta et al. 2024, Table 3 (protocol 5.2). CIFAR-100 by the same class.

N rows, T transitions, A action width, L latent width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group
from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.adapters import relative_action, trajectory
from contextssl.adapters.items import as_float, group_target
from contextssl.batch import Transitions, stack
from contextssl.seeding import generator
from contextssl.training import choose_device
from domains.vision.cifar_files import collection_named
from domains.vision.cifar_store import load
from domains.vision.encoders import Pixels, small_image_resnet
from domains.vision.epochs import EpochSequences

NUM_MEASURED = 4096  # training pairs that the scales of actions and latents are measured on
NUM_AT_ONCE = 4096  # images that are augmented at once for probes
SPLIT_SEED = 0  # the same splits for all runs


class Augmentation(Protocol):
    """What makes a view of an image: any of `domains.vision.transforms`."""

    @property
    def groups(self) -> Sequence[Group]:
        """What its parameters are, in their order."""
        ...

    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[N, L] parameters, one row an image."""
        ...

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """Views of images [N, 3, H, W], fractions of 255."""
        ...


class Cifar10(DomainAdapter):
    """Augmented views of images; a pair is two views of one image.

    The groups are those of the augmentation, and nothing else varies between two views of an image. The latent of a view is
    its parameters, the action the difference of them (protocol 5.2). States are float32 fractions of 255, [3, 32, 32];
    labelled inputs are rounded to uint8, a quarter of the memory. Encoders take both and normalise by themselves. Targets:
    `class`, and the parameters of each group.

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
        for name, count in (("views_per_image", views_per_image), ("num_labelled", num_labelled)):
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, found {count}")
        collection = collection_named(dataset)
        whole, source = load(None if root is None else Path(root), collection)
        self._pixels, self._encoder, self._transform = collection.pixels, encoder, transform
        self._num_labelled, self._views_per_image, self._seed = num_labelled, views_per_image, seed
        self.trajectories = trajectories
        self._images = torch.from_numpy(whole.images).to(choose_device(augment_on))
        self._labels, self._num_classes = torch.from_numpy(whole.labels).long(), collection.num_classes
        self.images = fixed_splits(self._labels, whole.num_train, num_images)
        self.actions = self._measured(ActionSpace(transform.groups))
        self.manifest = {
            "name": collection.name,
            "source": str(source),
            "sha256": whole.sha256,
            "images": {str(split): len(images) for split, images in self.images.items()},
            "classes": list(whole.classes),
            "split_seed": SPLIT_SEED,
            "num_labelled": num_labelled,
            "views_per_image": views_per_image,
            "seed": seed,
            "groups": {group.name: group.units for group in self.actions.groups},
        }

    def build_encoder(self) -> nn.Module:
        """A fresh encoder of images [N, 3, 32, 32]."""
        return self._encoder(self._pixels)

    def train_sequences(self, length: int, seed: int) -> EpochSequences:
        """Sequences that show every training image once an epoch, in an order of its own."""
        draw, num_images = self._drawer(length)
        return EpochSequences(self.images[Split.TRAIN], draw, num_images, seed)

    def held_out(self, length: int, count: int, seed: int, split: Split = Split.TRAIN) -> Transitions:
        """`count` sequences of pairs; images are drawn with replacement (protocol 6.0)."""
        pool, (draw_sequence, num_images) = self.images[Split(split)], self._drawer(length)

        def draw(index: int) -> Transitions:
            draws = generator(seed, f"held-out/{Split(split)}/{index}")
            return draw_sequence(pool[torch.randint(len(pool), (num_images,), generator=draws)], draws)

        return stack([draw(index) for index in range(count)])

    def labelled(self, split: Split) -> LabelledData:
        """Augmented views of the split's images, image by image, the same at every call."""
        item = self.images[Split(split)][: self._num_labelled].repeat_interleave(self._views_per_image)
        latent = self._transform.draw(len(item), generator(self._seed, f"labelled/{Split(split)}"))
        pieces = zip(item.split(NUM_AT_ONCE), latent.split(NUM_AT_ONCE), strict=True)
        inputs = torch.cat([_as_bytes(self._views(images, parameters)).cpu() for images, parameters in pieces])
        groups = [group_target(group, latent[:, self.actions.latent_slice(group.name)]) for group in self.actions.groups]
        return LabelledData(inputs, item, latent, (self._classes(item), *groups))

    def untransformed(self, split: Split) -> LabelledData:
        """The split's images as they are, with their classes; their latents are zeros, no parameters were drawn."""
        item = self.images[Split(split)][: self._num_labelled]
        inputs = self._images[item.to(self._images.device)].cpu()
        return LabelledData(inputs, item, torch.zeros(len(item), self.actions.latent_dim), (self._classes(item),))

    def pairs(self, images: Tensor, draws: torch.Generator) -> Transitions:
        """One sequence: two views of each image [T], the parameters of all x drawn before those of all y."""
        latent = self._transform.draw(2 * len(images), draws)
        x, y = self._views(images.repeat(2), latent).unflatten(0, (2, -1))
        t_x, t_y = latent.unflatten(0, (2, -1))
        action = relative_action(self.actions, t_x, t_y)
        return Transitions(x[None], action[None], y[None], torch.stack([t_x, t_y], dim=1)[None])

    def trajectory(self, image: Tensor, draws: torch.Generator, length: int) -> Transitions:
        """One sequence: `length` + 1 views of the image [1], one after the other."""
        latent = self._transform.draw(length + 1, draws)
        return trajectory(self._views(image.expand(length + 1), latent), latent, partial(relative_action, self.actions))

    def _drawer(self, length: int) -> tuple[Callable[[Tensor, torch.Generator], Transitions], int]:
        """What makes a sequence, and of how many images."""
        return (partial(self.trajectory, length=length), 1) if self.trajectories else (self.pairs, length)

    def _views(self, images: Tensor, parameters: Tensor) -> Tensor:
        """[N, 3, 32, 32] views of images [N] with these parameters [N, L], on the device of the images."""
        device = self._images.device
        return self._transform.apply(as_float(self._images[images.to(device)]), parameters.to(device))

    def _classes(self, images: Tensor) -> ProbeTarget:
        return ProbeTarget("class", self._labels[images], self._num_classes)

    def _measured(self, actions: ActionSpace) -> ActionSpace:
        """The action space with the scales of pairs of views; they do not depend on the images."""
        latent = self._transform.draw(2 * NUM_MEASURED, generator(self._seed, "scales"))
        if latent.shape != (2 * NUM_MEASURED, actions.latent_dim):
            raise ValueError(
                f"transform: the groups {list(actions.names)} need {actions.latent_dim} parameters an image, found {list(latent.shape[1:])}"
            )
        t_x, t_y = latent.unflatten(0, (2, -1))
        return actions.measured(relative_action(actions, t_x, t_y), latent)


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


def _as_bytes(images: Tensor) -> Tensor:
    """Fractions of 255, rounded to uint8."""
    return (images * 255).round().clamp(0, 255).byte()
