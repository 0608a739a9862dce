"""Images with augmentations as actions: two augmented views of one image, and the change of the augmentations' parameters.

Pairs as in Gupta et al. 2024, Table 3 (protocol 5.2). Subclasses say where the images come from.

N rows, T transitions, A action width, L latent width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group
from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.adapters import relative_action, trajectory
from contextssl.adapters.items import as_float, group_target
from contextssl.batch import Transitions, stack
from contextssl.seeding import generator
from domains.vision.encoders import Pixels
from domains.vision.epochs import EpochSequences

NUM_MEASURED = 4096  # training pairs that the scales of actions and latents are measured on
NUM_AT_ONCE = 4096  # images that are augmented at once for probes


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


class AugmentedImages(DomainAdapter):
    """Augmented views of images; a pair is two views of one image.

    The groups are those of the augmentation, and nothing else varies between two views of an image. The latent of a view is
    its parameters, the action the difference of them (protocol 5.2). States are float32 fractions of 255, [3, H, W];
    labelled inputs are rounded to uint8, a quarter of the memory. Encoders take both and normalise by themselves. Targets:
    `class`, and the parameters of each group.

    Args:
        transform: what makes the views.
        images: the images of each split, by their numbers in the whole set.
        labels: int64 of all images.
        num_classes: of the labels.
        encoder: from the statistics of the pixels to a fresh encoder.
        pixels: those statistics.
        num_labelled: at most so many images of each split are shown to probes; all when None.
        views_per_image: views of each of them in `labelled`.
        seed: of the labelled views.
        trajectories: whether every sequence shows one image: T transitions are T + 1 views of it (for seq-JEPA).

    Raises:
        ValueError: for an argument out of range, or a transform whose parameters do not fit its groups.
    """

    def __init__(
        self, transform: Augmentation, images: Mapping[Split, Tensor], labels: Tensor, num_classes: int, *,
        encoder: Callable[[Pixels], nn.Module], pixels: Pixels, num_labelled: int | None, views_per_image: int, seed: int,
        trajectories: bool,
    ) -> None:  # fmt: skip
        for name, count in (("views_per_image", views_per_image), ("num_labelled", num_labelled)):
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, found {count}")
        self.images, self._labels, self._num_classes = images, labels, num_classes
        self._pixels, self._encoder, self._transform = pixels, encoder, transform
        self._num_labelled, self._views_per_image, self._seed = num_labelled, views_per_image, seed
        self.trajectories = trajectories
        self.actions = self._measured(ActionSpace(transform.groups))
        self.manifest = {
            "images": {str(split): len(numbers) for split, numbers in images.items()},
            "num_labelled": num_labelled,
            "views_per_image": views_per_image,
            "seed": seed,
            "groups": {group.name: group.units for group in self.actions.groups},
        }

    @abstractmethod
    def _originals(self, images: Tensor) -> Tensor:
        """uint8 [N, 3, H, W] of images [N], on the device that augments them."""

    def build_encoder(self) -> nn.Module:
        """A fresh encoder of images [N, 3, H, W]."""
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
        item = self._shown(Split(split)).repeat_interleave(self._views_per_image)
        latent = self._transform.draw(len(item), generator(self._seed, f"labelled/{Split(split)}"))
        pieces = zip(item.split(NUM_AT_ONCE), latent.split(NUM_AT_ONCE), strict=True)
        inputs = torch.cat([_as_bytes(self._views(images, parameters)).cpu() for images, parameters in pieces])
        groups = [group_target(group, latent[:, self.actions.latent_slice(group.name)]) for group in self.actions.groups]
        return LabelledData(inputs, item, latent, (self._classes(item), *groups))

    def untransformed(self, split: Split) -> LabelledData:
        """The split's images as they are, with their classes; their latents are zeros, no parameters were drawn."""
        item = self._shown(Split(split))
        inputs = self._originals(item).cpu()
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
        """[N, 3, H, W] views of images [N] with these parameters [N, L], on the device that augments them."""
        originals = self._originals(images)
        return self._transform.apply(as_float(originals), parameters.to(originals.device))

    def _shown(self, split: Split) -> Tensor:
        """The images of a split that probes see."""
        return self.images[split][: self._num_labelled]

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


def _as_bytes(images: Tensor) -> Tensor:
    """Fractions of 255, rounded to uint8."""
    return (images * 255).round().clamp(0, 255).byte()
