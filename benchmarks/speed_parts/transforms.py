"""Images a second of crop + blur + colour: a batch at once against torchvision v2, image by image.

Both draw their own parameters, from the same ranges (protocol 5.2). torchvision runs twice: on floats, and on bytes that
become floats at the end, which it recommends; ours runs in the fixed order of colours and in drawn ones, which is what
torchvision does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import torchvision.transforms.v2 as torchvision_transforms
from speed_parts.turns import Effort, clocked, in_turns
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

from domains.vision.transforms import ColorJitter, Compose, GaussianBlur, RandomResizedCrop


@dataclass(frozen=True)
class Sizes:
    """Pixels of an image's side, images of a batch, images that torchvision gets in a round, and where."""

    sides: tuple[int, ...] = (32, 96)
    batch: int = 512
    one_by_one: int = 128
    device: str = "cpu"


def transforms(sizes: Sizes, effort: Effort) -> dict[str, Any]:
    """Images a second of each, and how many times as fast as torchvision's faster way, at every side.

    Raises:
        AssertionError: if both do not make the same views of the same parameters.
    """
    torch.manual_seed(0)  # torchvision draws from the global stream
    rows = []
    for side in sizes.sides:
        check(side, sizes.device)
        functions = contestants(side, sizes)
        turns = {name: clocked(function, sizes.device) for name, (_, function) in functions.items()}
        seconds = in_turns(turns, Effort(effort.least, effort.most, effort.seconds / len(sizes.sides)))
        rate = {name: functions[name][0] / median(values) for name, values in seconds.items()}
        theirs = max(rate["torchvision_floats"], rate["torchvision_bytes"])
        rows.append({
            "side": side,
            "images_per_second": {name: round(value, 1) for name, value in rate.items()},
            "over_torchvision": round(rate["batched"] / theirs, 2),
            "over_torchvision_drawn_order": round(rate["batched_drawn_order"] / theirs, 2),
            "rounds": len(seconds["batched"]),
        })  # fmt: skip
    return {"batch": sizes.batch, "one_by_one": sizes.one_by_one, "rows": rows}


def contestants(side: int, sizes: Sizes) -> dict[str, tuple[int, Callable[[], Tensor]]]:
    """Name -> how many images it makes, and a function that makes them."""
    draws = torch.Generator().manual_seed(0)
    in_bytes = torch.randint(256, (sizes.batch, 3, side, side), dtype=torch.uint8, generator=draws).to(sizes.device)
    floats, one_by_one = in_bytes / 255, sizes.one_by_one
    parts = [RandomResizedCrop(side), GaussianBlur()]
    ours, any_order = Compose([*parts, ColorJitter()]), Compose([*parts, ColorJitter(order=None)])
    theirs, theirs_in_bytes = torchvision_views(side, as_bytes=False), torchvision_views(side, as_bytes=True)
    return {
        "batched": (sizes.batch, lambda: ours(floats, draws)[0]),
        "batched_drawn_order": (sizes.batch, lambda: any_order(floats, draws)[0]),
        "torchvision_floats": (one_by_one, lambda: torch.stack([theirs(image) for image in floats[:one_by_one]])),
        "torchvision_bytes": (one_by_one, lambda: torch.stack([theirs_in_bytes(image) for image in in_bytes[:one_by_one]])),
    }


def torchvision_views(side: int, as_bytes: bool) -> torchvision_transforms.Compose:
    """Torchvision's transforms with the ranges of ours."""
    return torchvision_transforms.Compose([
        torchvision_transforms.RandomResizedCrop(side, scale=(0.2, 1.0), interpolation=InterpolationMode.BICUBIC, antialias=True),
        torchvision_transforms.GaussianBlur(kernel_size(side), (0.1, 2.0)),
        torchvision_transforms.RandomApply([torchvision_transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        *([torchvision_transforms.ToDtype(torch.float32, scale=True)] if as_bytes else []),
    ])  # fmt: skip


def kernel_size(side: int) -> int:
    """Of the blur: a tenth of the side, odd."""
    return max(3, int(0.1 * side) | 1)


def check(side: int, device: str) -> None:
    """Raise AssertionError unless crop and blur with drawn parameters are torchvision's with the same parameters.

    Colour in all its orders is compared in tests/domains/vision/test_transforms_oracle.py.
    """
    draws = torch.Generator().manual_seed(1)
    images = torch.rand(4, 3, side, side, generator=draws).to(device)
    crop, blur = RandomResizedCrop(side), GaussianBlur()
    views, boxes = crop(images, draws)
    blurred, sigmas = blur(views, draws)
    for index, (box, sigma) in enumerate(zip(boxes.tolist(), sigmas.tolist(), strict=True)):
        tall, wide = round(box[2] * side), round(box[3] * side)
        corner = (round(box[0] * side - tall / 2), round(box[1] * side - wide / 2))
        expected = functional.resized_crop(
            images[index], *corner, tall, wide, [side, side], InterpolationMode.BICUBIC, antialias=True
        ).clamp(0, 1)
        torch.testing.assert_close(views[index], expected, atol=1e-4, rtol=0)
        expected = functional.gaussian_blur(expected, [kernel_size(side)] * 2, sigma * 2)
        torch.testing.assert_close(blurred[index], expected, atol=1e-4, rtol=0)
