"""Every transform against torchvision's functional form, image by image, on the same parameters.

On floats both compute the same formulas, in another order: the tolerance is 2e-5, a two-hundredth of a grey level. Half
precision is computed in float32 and rounded once. Against torchvision's resize of *bytes*, one grey level where no
overshoot of the bicubic kernel is cut: it cuts and rounds between columns and rows, we only at the end.
"""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode

from domains.vision.transforms import ColorJitter, GaussianBlur, Greyscale, HorizontalFlip, RandomResizedCrop, Rotation, Solarise

TOLERANCE = 2e-5
GREY_LEVEL = 1 / 255
OPERATIONS = ("brightness", "contrast", "saturation", "hue")
MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
sides = st.integers(4, 40)
seeds = st.integers(0, 10**6)


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(seed: int, height: int, width: int, num_images: int = 3, channels: int = 3) -> Tensor:
    """Noise, the hardest case of resizing; a third of it saturated, so that colours without hue occur."""
    images = 1.5 * torch.rand(num_images, channels, height, width, generator=stream(seed)) - 0.25
    return images.clamp(0, 1)


def box(row: Tensor, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width in pixels, of one row of parameters."""
    tall, wide = row[2].item() * height, row[3].item() * width
    exact = (row[0].item() * height - tall / 2, row[1].item() * width - wide / 2, tall, wide)
    assert all(abs(value - round(value)) < 1e-3 for value in exact)  # boxes are drawn on whole pixels
    return tuple(round(value) for value in exact)  # type: ignore[return-value]


@settings(max_examples=60, deadline=None)
@given(seeds, sides, sides, st.tuples(sides, sides), st.sampled_from(list(MODES)), st.sampled_from([1, 3, 4]))
def test_crop(seed: int, height: int, width: int, size: tuple[int, int], interpolation: str, channels: int) -> None:
    crop = RandomResizedCrop(size, scale=(0.02, 1), ratio=(0.2, 5), interpolation=interpolation, source_size=(height, width))
    images = some_images(seed, height, width, channels=channels)
    views, parameters = crop(images, stream(seed))
    assert views.shape == (3, channels, *size)
    for image, view, row in zip(images, views, parameters, strict=True):
        expected = functional.resized_crop(image, *box(row, height, width), size, MODES[interpolation], antialias=True)
        torch.testing.assert_close(view, expected.clamp(0, 1), atol=TOLERANCE, rtol=0)


@settings(max_examples=40, deadline=None)
@given(seeds, sides, sides, st.tuples(sides, sides), st.sampled_from(list(MODES)))
def test_crop_of_bytes_to_one_grey_level(seed: int, height: int, width: int, size: tuple[int, int], interpolation: str) -> None:
    crop = RandomResizedCrop(size, scale=(0.02, 1), ratio=(0.2, 5), interpolation=interpolation, source_size=(height, width))
    bytes_ = torch.randint(90, 166, (3, 3, height, width), generator=stream(seed), dtype=torch.uint8)
    views, parameters = crop(bytes_ / 255, stream(seed))
    for image, view, row in zip(bytes_, views, parameters, strict=True):
        expected = functional.resized_crop(image, *box(row, height, width), size, MODES[interpolation], antialias=True)
        assert ((255 * view).round() - expected).abs().max() <= 1


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(8, 40), st.integers(8, 40), st.sampled_from([1, 3, 5, 7, 15]), st.floats(0.05, 5))
def test_blur(seed: int, height: int, width: int, kernel_size: int, high: float) -> None:
    images = some_images(seed, height, width)
    views, parameters = GaussianBlur((0.04, high), kernel_size=kernel_size)(images, stream(seed))
    for image, view, (sigma,) in zip(images, views, parameters.tolist(), strict=True):
        expected = functional.gaussian_blur(image, [kernel_size] * 2, [sigma] * 2)
        torch.testing.assert_close(view, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("side", "kernel_size"), [(8, 3), (32, 3), (64, 7), (96, 9), (224, 23)])
def test_the_usual_size_of_the_kernel(side: int, kernel_size: int) -> None:
    images = some_images(0, side, side + 5, num_images=1)
    expected = functional.gaussian_blur(images, [kernel_size] * 2, [1.5] * 2)
    torch.testing.assert_close(GaussianBlur().apply(images, torch.tensor([[1.5]])), expected, atol=TOLERANCE, rtol=0)


def adjusted(image: Tensor, amounts: list[float], order: list[str]) -> Tensor:
    """torchvision's four operations, one after the other."""
    for name in order:
        image = getattr(functional, f"adjust_{name}")(image, amounts[OPERATIONS.index(name)])
    return image


@settings(max_examples=80, deadline=None)
@given(seeds, sides, sides, st.permutations(OPERATIONS), st.floats(0.1, 3), st.floats(0.01, 0.5), st.sampled_from([1, 3]))
def test_color_in_a_fixed_order(
    seed: int, height: int, width: int, order: list[str], strength: float, hue: float, channels: int
) -> None:
    jitter = ColorJitter((0.5, 0.5 + strength), strength, strength, hue, probability=1, order=order)
    images = some_images(seed, height, width, channels=channels)
    views, parameters = jitter(images, stream(seed))
    ranges = [strength, min(1, strength) + strength, min(1, strength) + strength, 2 * hue]
    for image, view, row in zip(images, views, parameters.tolist(), strict=True):
        amounts = [value * width + neutral for value, width, neutral in zip(row, ranges, (1, 1, 1, 0), strict=True)]
        amounts[3] = min(0.5, max(-0.5, amounts[3]))
        torch.testing.assert_close(view, adjusted(image, amounts, order), atol=TOLERANCE, rtol=0)


@settings(max_examples=40, deadline=None)
@given(seeds, sides, sides)
def test_color_in_a_drawn_order(seed: int, height: int, width: int) -> None:
    images = some_images(seed, height, width, num_images=6)
    views, parameters = ColorJitter(0.8, 0.8, 0.8, 0.25, probability=1, order=None)(images, stream(seed))
    for image, view, row in zip(images, views, parameters.tolist(), strict=True):
        amounts = [1 + 1.6 * row[0], 1 + 1.6 * row[1], 1 + 1.6 * row[2], 0.5 * row[3]]
        order = [OPERATIONS[row[4:].index(place)] for place in range(4)]
        torch.testing.assert_close(view, adjusted(image, amounts, order), atol=TOLERANCE, rtol=0)


@settings(max_examples=40, deadline=None)
@given(seeds, sides, sides, st.floats(-1, 1))
def test_rotation(seed: int, height: int, width: int, turns: float) -> None:
    images = some_images(seed, height, width)
    views = Rotation().apply(images, torch.full((3, 1), turns))
    for image, view in zip(images, views, strict=True):
        expected = functional.rotate(image, 360 * turns, InterpolationMode.BILINEAR)
        torch.testing.assert_close(view, expected, atol=5 * TOLERANCE, rtol=0)  # places in pixels are rounded, too


@settings(max_examples=40, deadline=None)
@given(seeds, sides, sides, st.floats(0.01, 1))
def test_flip_greyscale_and_solarisation(seed: int, height: int, width: int, share: float) -> None:
    images = some_images(seed, height, width, num_images=2)
    switched = torch.tensor([[1.0], [0.0]])
    flipped, grey = HorizontalFlip().apply(images, switched), Greyscale().apply(images, switched)
    solarised = Solarise().apply(images, share * switched)
    assert torch.equal(flipped[0], functional.horizontal_flip(images[0]))
    torch.testing.assert_close(grey[0], functional.rgb_to_grayscale(images[0], num_output_channels=3), atol=TOLERANCE, rtol=0)
    threshold = (1 - torch.tensor(share)).item()  # as float32 computes it: a pixel may lie exactly on it
    assert torch.equal(solarised[0], functional.solarize(images[0], threshold))
    assert all(torch.equal(views[1], images[1]) for views in (flipped, grey, solarised))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float16, GREY_LEVEL), (torch.bfloat16, GREY_LEVEL)]
)
def test_other_types_stay_what_they_are(dtype: torch.dtype, tolerance: float) -> None:
    images = some_images(0, 20, 30).to(dtype)
    crop, blur, jitter = RandomResizedCrop(16, source_size=(20, 30)), GaussianBlur(), ColorJitter(probability=1)
    for transform in (crop, blur, jitter, Rotation(), Greyscale(1), Solarise(probability=1), HorizontalFlip(1)):
        views, parameters = transform(images, stream(1))
        assert views.dtype is dtype and parameters.dtype is torch.float32
        expected = transform.apply(images.float(), parameters)
        torch.testing.assert_close(views.double(), expected.double(), atol=max(tolerance, TOLERANCE), rtol=0)
