"""Crop, flip and rotation.

N images, C channels, H and W their height and width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from contextssl.actions import Group, Kind
from domains.vision.transforms.base import Transform, applied, checked_probability, interval, uniform
from domains.vision.transforms.separable import KERNELS, resize_weights, separable

TRIES = 10  # boxes tried before the central one is taken, as in torchvision


class RandomResizedCrop(Transform):
    """A random box, resized to one size with antialiasing.

    Parameters [4]: centre row, centre column, height and width of the box, as fractions of the image's height and width. Boxes
    are drawn as torchvision draws them: area and log aspect ratio uniform, whole pixels, any place where they fit. `apply`
    takes any box, also between pixels; a pixel belongs to the box in which its centre lies.

    After a flip (`Compose([HorizontalFlip(), RandomResizedCrop(32)])`) boxes are those of the flipped image.

    Args:
        size: of the result, one side or (height, width).
        scale: range of the box's area as a share of the image.
        ratio: range of width over height, in pixels.
        interpolation: "bicubic" or "bilinear".
        source_size: of the images that boxes are drawn for; `size` when None.

    Raises:
        ValueError: for wrong ranges or sizes, and for an unknown interpolation.
    """

    def __init__(
        self, size: int | Sequence[int], scale: float | Sequence[float] = (0.2, 1.0),
        ratio: float | Sequence[float] = (3 / 4, 4 / 3), interpolation: str = "bicubic",
        source_size: int | Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        units = "centre row, centre column, height and width of the box, as fractions of the image's sides"
        super().__init__(Group("crop", 4, 4, Kind.REAL, units))
        self.size, self.source_size = _sides("size", size), _sides("source_size", size if source_size is None else source_size)
        self.scale, self.ratio = interval("scale", scale, 1e-6, 1), interval("ratio", ratio, 1e-3, 1e3)
        if interpolation not in KERNELS:
            raise ValueError(f"interpolation: expected one of {list(KERNELS)}, found {interpolation!r}")
        self.interpolation = interpolation

    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[num_rows, 4]."""
        sides = torch.tensor(self.source_size, dtype=torch.float32, device=generator.device)
        box = self._box_sizes(num_rows, generator)
        # A box that had to be the central one may not fill the image either; then its place is not drawn.
        place = uniform((0, 1), num_rows, 2, generator)
        corner = torch.minimum((place * (sides - box + 1)).floor(), sides - box)
        central = box[:, :1].isnan()
        box = torch.where(central, torch.tensor(self._central_box(), device=box.device), box)
        corner = torch.where(central, ((sides - box) / 2).floor(), corner)
        return torch.cat([(corner + box / 2) / sides, box / sides], dim=1)

    def _box_sizes(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[num_rows, 2] heights and widths in pixels of the first boxes that fit; nan where none of the tries did."""
        height, width = self.source_size
        area = height * width * uniform(self.scale, num_rows, TRIES, generator)
        ratio = uniform((math.log(self.ratio[0]), math.log(self.ratio[1])), num_rows, TRIES, generator).exp()
        tries = torch.stack([(area / ratio).sqrt().round(), (area * ratio).sqrt().round()], dim=2)
        fits = ((tries >= 1) & (tries <= torch.tensor(self.source_size, device=tries.device))).all(2)
        first = tries.gather(1, fits.int().argmax(1).view(-1, 1, 1).expand(-1, 1, 2))[:, 0]
        return first.where(fits.any(1, keepdim=True), torch.nan)

    def _central_box(self) -> tuple[float, float]:
        """Height and width of the largest box with an allowed ratio."""
        height, width = self.source_size
        low, high = self.ratio
        if width / height < low:
            return float(round(width / low)), float(width)
        return float(height), float(round(height * high) if width / height > high else width)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        (height, width), (row, column, tall, wide) = images.shape[2:], parameters.unbind(1)
        rows = resize_weights(height * row, height * tall, height, self.size[0], self.interpolation)
        columns = resize_weights(width * column, width * wide, width, self.size[1], self.interpolation)
        return separable(images, rows, columns).clamp_(0, 1)  # the bicubic kernel may leave the range


class HorizontalFlip(Transform):
    """Left and right exchanged.

    Parameters [1]: 1 where flipped, else 0.

    Args:
        probability: of being flipped.

    Raises:
        ValueError: for a wrong probability.
    """

    def __init__(self, probability: float = 0.5) -> None:
        super().__init__(Group("flip", 2, 1, Kind.SWITCH, "1 = flipped, 0 = not"))
        self.probability = checked_probability("flip", probability)

    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[num_rows, 1]."""
        return applied(self.probability, num_rows, generator)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        return torch.where(parameters.view(-1, 1, 1, 1) > 0.5, images.flip(-1), images)


class Rotation(Transform):
    """Rotation about the centre, bilinear; what lies outside the image is black.

    Parameters [1]: the angle in turns, counterclockwise. A range of a whole turn makes the group circular, a smaller one real.

    Args:
        turns: range of the angle, or one number.
        probability: of being rotated.

    Raises:
        ValueError: for a wrong range or probability.
    """

    def __init__(self, turns: float | Sequence[float] = (-1 / 12, 1 / 12), probability: float = 1.0) -> None:
        self.turns, self.probability = interval("turns", turns, -1, 1), checked_probability("rotation", probability)
        kind = Kind.CIRCULAR if self.turns[1] - self.turns[0] >= 1 else Kind.REAL
        super().__init__(Group("rotation", 1, 1, kind, "turns counterclockwise"))

    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[num_rows, 1]."""
        return uniform(self.turns, num_rows, 1, generator) * applied(self.probability, num_rows, generator)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        height, width = images.shape[2:]
        angle = 2 * math.pi * parameters.view(-1, 1, 1)
        down, right = (torch.arange(side, device=images.device, dtype=images.dtype) - (side - 1) / 2 for side in (height, width))
        down, right = down[:, None], right[None]
        # Where each pixel comes from, in pixels from the centre; rows count downwards.
        from_right = angle.cos() * right - angle.sin() * down
        from_down = angle.sin() * right + angle.cos() * down
        grid = torch.stack([from_right * (2 / width), from_down * (2 / height)], dim=-1)
        return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _sides(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width); ValueError unless both are at least one pixel."""
    sides = [size, size] if isinstance(size, int) else [int(side) for side in size]
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"{name}: expected one or two sides of at least 1 pixel, found {size}")
    return sides[0], sides[1]
