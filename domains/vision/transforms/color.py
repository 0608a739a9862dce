"""Colour jitter, greyscale and solarisation.

N images, C channels (3, or 1 where colour means nothing), H and W their height and width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from contextssl.actions import Group, Kind
from domains.vision.transforms.base import Transform, applied, checked_probability, interval, uniform


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed by random amounts.

    Parameters [4]: (brightness - 1) / range, (contrast - 1) / range, (saturation - 1) / range and hue / range, where range is
    the sampler's maximum minus its minimum and hue is in turns; 0 where not applied (protocol 5.2). With a drawn order [8]: then
    also the place, 0 to 3, that each of the four has in its image's order.

    Args:
        brightness, contrast, saturation: a for factors in max(0, 1 - a)..1 + a, or the range of factors; 0 switches it off.
        hue: a for shifts in -a..a turns, at most a half, or the range of shifts; 0 switches it off.
        probability: of being applied, all four together.
        order: the four names in the order in which they are applied; None draws one for every image, as torchvision does.

    Raises:
        ValueError: for a wrong range or probability, and for an order that does not name each of the four once.
    """

    def __init__(
        self, brightness: float | Sequence[float] = 0.4, contrast: float | Sequence[float] = 0.4,
        saturation: float | Sequence[float] = 0.4, hue: float | Sequence[float] = 0.1, probability: float = 0.8,
        order: Sequence[str] | None = ("brightness", "contrast", "saturation", "hue"),
    ) -> None:  # fmt: skip
        if order is not None and sorted(order) != sorted(OPERATIONS):
            raise ValueError(f"order: expected each of {list(OPERATIONS)} once, or none to draw it, found {list(order)}")
        units = "(factor - 1) / range of brightness, contrast and saturation, hue shift / range, 0 = not applied"
        width = 4 if order is not None else 8
        super().__init__(Group("color", width, width, Kind.REAL, units if order is not None else f"{units}; their places 0..3"))
        self.order = None if order is None else tuple(order)
        self.probability = checked_probability("color", probability)
        self.limits = [
            _around_one("brightness", brightness), _around_one("contrast", contrast),
            _around_one("saturation", saturation), _around_zero("hue", hue),
        ]  # fmt: skip

    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[num_rows, 4], or [num_rows, 8] with a drawn order."""
        # What is switched off has no range: its parameter stays 0.
        drawn = [
            (uniform(limits, num_rows, 1, generator) - neutral) / ((limits[1] - limits[0]) or math.inf)
            for limits, neutral in zip(self.limits, NEUTRAL, strict=True)
        ]
        parameters = torch.cat(drawn, dim=1) * applied(self.probability, num_rows, generator)
        if self.order is not None:
            return parameters
        places = torch.rand(num_rows, 4, generator=generator, device=generator.device).argsort(dim=1)
        return torch.cat([parameters, places.float()], dim=1)

    def amounts(self, parameters: Tensor) -> Tensor:
        """[N, 4] brightness, contrast and saturation factors and hue shifts in turns, from parameters [N, 4 or more]."""
        ranges = parameters.new_tensor([high - low for low, high in self.limits])
        return parameters[:, :4] * ranges + parameters.new_tensor(NEUTRAL)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        check_channels(self.name, images)
        amounts = self.amounts(parameters).view(-1, 4, 1, 1, 1)
        active = [name for name, (low, high) in zip(OPERATIONS, self.limits, strict=True) if low < high]
        if self.order is None:
            return _in_drawn_order(images, amounts, parameters[:, 4:], active)
        for name in sorted(active, key=self.order.index):
            images = OPERATIONS[name](images, amounts[:, INDEX[name]])
        return images if active else images.clone()


class Greyscale(Transform):
    """Colours replaced by their luminance, in all channels.

    Parameters [1]: 1 where grey, else 0.

    Args:
        probability: of being made grey.

    Raises:
        ValueError: for a wrong probability.
    """

    def __init__(self, probability: float = 0.2) -> None:
        super().__init__(Group("greyscale", 2, 1, Kind.SWITCH, "1 = grey, 0 = not"))
        self.probability = checked_probability("greyscale", probability)

    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[num_rows, 1]."""
        return applied(self.probability, num_rows, generator)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        check_channels(self.name, images)
        return torch.where(parameters.view(-1, 1, 1, 1) > 0.5, luminance(images), images)


class Solarise(Transform):
    """Values from a threshold on are inverted.

    Parameters [1]: the share of the brightness range that is inverted, 1 - threshold; 0 where not applied.

    Args:
        threshold: its range, or one number.
        probability: of being applied.

    Raises:
        ValueError: for a wrong range or probability.
    """

    def __init__(self, threshold: float | Sequence[float] = 0.5, probability: float = 0.2) -> None:
        super().__init__(Group("solarise", 1, 1, Kind.REAL, "1 - threshold, 0 = not applied"))
        self.threshold = interval("threshold", threshold, 0, 1)
        self.probability = checked_probability("solarise", probability)

    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[num_rows, 1]."""
        return (1 - uniform(self.threshold, num_rows, 1, generator)) * applied(self.probability, num_rows, generator)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        share = parameters.view(-1, 1, 1, 1)
        return torch.where((images >= 1 - share) & (share > 0), 1 - images, images)


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    """The images [N, C, H, W] times the factor [N, 1, 1, 1], in 0..1."""
    return (images * factor).clamp_(0, 1)


def change_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """The factor 0 gives each image's mean luminance, 1 the image."""
    return _blend(images, luminance(images).mean((2, 3), keepdim=True), factor)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """The factor 0 gives the luminance of each pixel, 1 the image."""
    return images.clone() if images.shape[1] == 1 else _blend(images, luminance(images), factor)


def shift_hue(images: Tensor, turns: Tensor) -> Tensor:
    """The hue of each pixel shifted by turns [N, 1, 1, 1]; value and saturation of the HSV cone stay."""
    if images.shape[1] == 1:
        return images.clone()
    red, green, blue = images.unbind(1)
    low = torch.minimum(torch.minimum(red, green), blue)
    high = torch.maximum(torch.maximum(red, green), blue)
    chroma = high - low
    is_red, is_green = red == high, green == high
    slope = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    start = torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0))
    sector = slope.div_(chroma.clamp_min(1e-12)).add_(start).add_(6 * turns[:, 0])
    sector.sub_((sector / 6).floor_().mul_(6))  # 0 to 6: red, yellow, green, cyan, blue, magenta
    parts = [
        (sector - 3).abs_().sub_(1).clamp_(0, 1),
        (sector - 2).abs_().neg_().add_(2).clamp_(0, 1),
        (sector - 4).abs_().neg_().add_(2).clamp_(0, 1),
    ]
    return torch.stack(parts, dim=1).mul_(chroma.unsqueeze(1)).add_(low.unsqueeze(1))


def luminance(images: Tensor) -> Tensor:
    """[N, 1, H, W] of images [N, 3, H, W], weighted as in ITU-R BT.601; images of one channel are their own."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    grey: Tensor = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)
    return grey


def check_channels(name: str, images: Tensor) -> None:
    """Raise ValueError unless the images have 1 or 3 channels."""
    if images.shape[1] not in (1, 3):
        raise ValueError(f"{name}: expected images of 3 channels, or of 1, found {images.shape[1]}")


OPERATIONS = {"brightness": brighten, "contrast": change_contrast, "saturation": saturate, "hue": shift_hue}
INDEX = {name: index for index, name in enumerate(OPERATIONS)}
NEUTRAL = (1.0, 1.0, 1.0, 0.0)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).add_((1 - factor) * other).clamp_(0, 1)


def _in_drawn_order(images: Tensor, amounts: Tensor, places: Tensor, active: Sequence[str]) -> Tensor:
    """The active operations on each image in the order of its places [N, 4]."""
    order, images = places.argsort(dim=1, stable=True), images.clone()
    for position in range(4):
        for name in active:
            rows = (order[:, position] == INDEX[name]).nonzero()[:, 0]
            images[rows] = OPERATIONS[name](images[rows], amounts[rows, INDEX[name]])
    return images


def _around_one(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    """The range of a factor."""
    if not isinstance(value, int | float):
        return interval(name, value, 0, math.inf)
    (amount, _) = interval(name, value, 0, math.inf)
    return max(0.0, 1 - amount), 1 + amount


def _around_zero(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    """The range of a shift of hue."""
    if not isinstance(value, int | float):
        return interval(name, value, -0.5, 0.5)
    (amount, _) = interval(name, value, 0, 0.5)
    return -amount, amount
