"""What every transform owes: parameters drawn apart from the images, and a pure function that applies them.

N images, C channels, H and W their height and width, P parameters of an image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from contextssl.actions import Group

# On a CPU a batch is done in parts of about this many numbers: as fast as at once, and whole data sets fit in memory.
PART = 2**20


class Transform(ABC):
    """One augmentation with P parameters for each image. A subclass gives its group, `draw` and `_apply`.

    Args:
        group: name, width P and units of the parameters.
    """

    def __init__(self, group: Group) -> None:
        self.group = group

    @property
    def name(self) -> str:
        """The name of the group."""
        return self.group.name

    @abstractmethod
    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[num_rows, P] float32 parameters, on the generator's device and from its stream only."""

    @abstractmethod
    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """The transformed images; shapes are checked, both have one device and one type, float32 or wider."""

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """The images [N, C, H, W] as row n of the parameters [N, P] says, in 0..1 and of the same type; nothing is changed in place.

        Raises:
            ValueError: for images that are not float [N, C, H, W], and for parameters that are not [N, P].
        """
        check(images, parameters, [self.group])
        return in_parts(self._apply, images, parameters)

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The images transformed with parameters drawn for them, and these parameters, on the images' device."""
        parameters = self.draw(len(images), generator).to(images.device)
        return self.apply(images, parameters), parameters


class Compose:
    """Transforms one after the other; their parameters side by side in the same order.

    Args:
        transforms: with different names.
        names: of those to use, in the order in which they are applied; None uses all.

    Raises:
        ValueError: for no transforms, two of one name, or a name there is not.
    """

    def __init__(self, transforms: Sequence[Transform], names: Sequence[str] | None = None) -> None:
        known = {transform.name: transform for transform in transforms}
        chosen = list(known) if names is None else list(names)
        if unknown := [name for name in chosen if name not in known]:
            raise ValueError(f"unknown transforms {unknown}: there are {list(known)}")
        if not chosen or len(known) < len(transforms) or len(set(chosen)) < len(chosen):
            found = [transform.name for transform in transforms] if names is None else chosen
            raise ValueError(f"Compose needs at least one transform and distinct names, found {found}")
        self.transforms = tuple(known[name] for name in chosen)

    @property
    def groups(self) -> list[Group]:
        """One group for each transform, for an ActionSpace."""
        return [transform.group for transform in self.transforms]

    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[num_rows, P] parameters of all transforms."""
        return torch.cat([transform.draw(num_rows, generator) for transform in self.transforms], dim=1)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """The images after all transforms with the given parameters [N, P]; as `Transform.apply`."""
        check(images, parameters, self.groups)
        return in_parts(self._apply, images, parameters)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        widths = [group.latent_dim for group in self.groups]
        for transform, own in zip(self.transforms, parameters.split(widths, dim=1), strict=True):
            images = transform.apply(images, own)
        return images

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As `Transform.__call__`."""
        parameters = self.draw(len(images), generator).to(images.device)
        return self.apply(images, parameters), parameters


def in_parts(function: Callable[[Tensor, Tensor], Tensor], images: Tensor, parameters: Tensor) -> Tensor:
    """`function` of images and parameters of one device and one type (at least float32), in the images' own type."""
    dtype = torch.promote_types(images.dtype, torch.float32)
    parameters = parameters.to(images.device, dtype)
    rows = max(1, len(images)) if images.is_cuda else max(1, PART // max(1, images[:1].numel()))
    parts = [
        function(some.to(dtype), own).to(images.dtype)
        for some, own in zip(images.split(rows), parameters.split(rows), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def check(images: Tensor, parameters: Tensor, groups: Sequence[Group]) -> None:
    """Raise ValueError unless the images are float [N, C, H, W] and the parameters [N, P] of these groups."""
    names = "+".join(group.name for group in groups)
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"{names}: expected float images [N, C, H, W] in 0..1, found {images.dtype} {list(images.shape)}; divide bytes by 255"
        )
    expected = [len(images), sum(group.latent_dim for group in groups)]
    if list(parameters.shape) != expected or not parameters.is_floating_point():
        raise ValueError(f"{names}: expected float parameters {expected}, found {parameters.dtype} {list(parameters.shape)}")


def interval(name: str, value: float | Sequence[float], least: float, most: float) -> tuple[float, float]:
    """(low, high) of a range given as two numbers, or as one number that is always taken.

    Raises:
        ValueError: for a range that is empty or reversed or reaches outside least..most.
    """
    if isinstance(value, int | float):
        low = high = float(value)
    elif len(value) == 2 and float(value[0]) < float(value[1]):
        low, high = float(value[0]), float(value[1])
    else:
        raise ValueError(
            f"{name}: the range {list(value)} is empty or reversed; give two increasing numbers, or one number for a fixed value"
        )
    if not least <= low <= high <= most:
        raise ValueError(f"{name}: expected numbers in {least:g}..{most:g}, found {low:g}..{high:g}")
    return low, high


def uniform(limits: tuple[float, float], num_rows: int, num_columns: int, generator: torch.Generator) -> Tensor:
    """[num_rows, num_columns] uniform numbers between the limits."""
    low, high = limits
    return low + (high - low) * torch.rand(num_rows, num_columns, generator=generator, device=generator.device)


def applied(probability: float, num_rows: int, generator: torch.Generator) -> Tensor:
    """[num_rows, 1]: 1 with this probability, else 0."""
    return (torch.rand(num_rows, 1, generator=generator, device=generator.device) < probability).float()


def checked_probability(name: str, probability: float) -> float:
    """The probability; ValueError outside 0..1."""
    if not 0 <= probability <= 1:
        raise ValueError(f"{name}: expected a probability in 0..1, found {probability}")
    return float(probability)
