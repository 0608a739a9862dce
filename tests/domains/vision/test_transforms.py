"""What all transforms promise: pure, replayable, row by row, random by the generator only; and clear errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapters import relative_action
from domains.vision.transforms import (
    ColorJitter,
    Compose,
    GaussianBlur,
    Greyscale,
    HorizontalFlip,
    RandomResizedCrop,
    Rotation,
    Solarise,
    Transform,
    base,
)

SIDE = 16
MAKERS: dict[str, Callable[[], Transform]] = {
    "crop": lambda: RandomResizedCrop(SIDE),
    "blur": lambda: GaussianBlur(probability=0.7, kernel_size=5),
    "color": lambda: ColorJitter(),
    "color in drawn order": lambda: ColorJitter(order=None),
    "flip": lambda: HorizontalFlip(),
    "greyscale": lambda: Greyscale(0.5),
    "solarise": lambda: Solarise((0.2, 0.8), 0.5),
    "rotation": lambda: Rotation((-0.5, 0.5)),
}
IDENTITY = {
    "crop": [0.5, 0.5, 1, 1],
    "blur": [0],
    "color": [0] * 4,
    "color in drawn order": [0, 0, 0, 0, 3, 1, 0, 2],
    "flip": [0],
    "greyscale": [0],
    "solarise": [0],
    "rotation": [0],
}
every = pytest.mark.parametrize("name", list(MAKERS))


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(num_images: int = 5, seed: int = 0, side: int = SIDE) -> Tensor:
    return torch.rand(num_images, 3, side, side, generator=stream(seed))


def everything() -> Compose:
    return Compose([make() for name, make in MAKERS.items() if name != "color in drawn order"])


@every
def test_its_group_says_what_its_parameters_are(name: str) -> None:
    transform = MAKERS[name]()
    parameters = transform.draw(7, stream())
    assert parameters.shape == (7, transform.group.latent_dim) and parameters.dtype is torch.float32
    assert transform.name == transform.group.name == name.split()[0] and transform.group.units
    space = ActionSpace([transform.group])
    space.check(relative_action(space, parameters, parameters), parameters)


@every
def test_applying_drawn_parameters_again_gives_the_same_images(name: str) -> None:
    transform, images = MAKERS[name](), some_images()
    kept = images.clone()
    views, parameters = transform(images, stream(3))
    drawn = parameters.clone()
    assert torch.equal(transform.draw(len(images), stream(3)), parameters)
    assert torch.equal(transform.apply(images, parameters), views)
    assert torch.equal(images, kept) and torch.equal(parameters, drawn)
    views.zero_()
    assert torch.equal(images, kept)


@every
def test_views_differ_from_the_image_and_stay_in_range(name: str) -> None:
    images = some_images(40)
    views, _ = MAKERS[name]()(images, stream(1))
    assert not torch.allclose(views, images, atol=0.05)
    assert views.min() >= 0 and views.max() <= 1 + 1e-6


@every
def test_the_identity(name: str) -> None:
    images = torch.cat([some_images(), some_images(1).round(), torch.full((1, 3, SIDE, SIDE), 0.5)])
    parameters = torch.tensor(IDENTITY[name], dtype=torch.float32).expand(len(images), -1)
    torch.testing.assert_close(MAKERS[name]().apply(images, parameters), images, atol=3e-6, rtol=0)


@every
def test_nothing_is_drawn_from_the_global_stream(name: str) -> None:
    state = torch.get_rng_state()
    transform = MAKERS[name]()
    first, second = (transform(some_images(), stream(seed))[1] for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), state) and not torch.equal(first, second)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(8, 24), st.integers(8, 24), st.sampled_from(list(MAKERS)))
def test_a_batch_is_its_rows(seed: int, num_images: int, height: int, width: int, name: str) -> None:
    transform = MAKERS[name]()
    images = torch.rand(num_images, 3, height, width, generator=stream(seed))
    parameters = transform.draw(num_images, stream(seed))
    alone = [transform.apply(images[row : row + 1], parameters[row : row + 1]) for row in range(num_images)]
    torch.testing.assert_close(transform.apply(images, parameters), torch.cat(alone), atol=3e-6, rtol=0)


@every
@pytest.mark.parametrize("num_images", [0, 1])
def test_very_small_batches(name: str, num_images: int) -> None:
    views, parameters = MAKERS[name]()(some_images(num_images), stream())
    assert views.shape == (num_images, 3, SIDE, SIDE) and len(parameters) == num_images


def test_a_large_batch_is_done_in_parts_and_comes_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    images, transform = some_images(11), everything()
    parameters = transform.draw(11, stream())
    whole = transform.apply(images, parameters)
    monkeypatch.setattr(base, "PART", 2 * images[0].numel())
    torch.testing.assert_close(transform.apply(images, parameters), whole, atol=3e-6, rtol=0)


def test_a_composition_is_its_parts_one_after_the_other() -> None:
    transform, images = everything(), some_images()
    views, parameters = transform(images, stream(5))
    draws = stream(5)
    assert torch.equal(torch.cat([part.draw(5, draws) for part in transform.transforms], dim=1), parameters)
    space, expected = ActionSpace(transform.groups), images
    for part in transform.transforms:
        expected = part.apply(expected, parameters[:, space.latent_slice(part.name)])
    assert torch.equal(views, expected)
    assert torch.equal(transform.apply(images, parameters), views)


def test_any_of_the_transforms_can_be_chosen_by_name() -> None:
    parts = everything().transforms
    chosen = Compose(parts, names=["blur", "crop"])
    assert [group.name for group in chosen.groups] == ["blur", "crop"]
    views, parameters = chosen(some_images(), stream())
    expected = Compose([GaussianBlur(probability=0.7, kernel_size=5), RandomResizedCrop(SIDE)])
    assert torch.equal(expected.apply(some_images(), parameters), views)


def test_a_transform_of_one_s_own_needs_a_group_and_two_functions() -> None:
    class Gain(Transform):
        def __init__(self) -> None:
            super().__init__(Group("gain", 1, 1, Kind.REAL, "factor"))

        def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
            return torch.rand(num_rows, 1, generator=generator)

        def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
            return images * parameters.view(-1, 1, 1, 1)

    transform = Compose([Gain(), HorizontalFlip(1)])
    views, parameters = transform(some_images().half(), stream())
    torch.testing.assert_close(views.float(), some_images().flip(-1) * parameters[:, :1, None, None], atol=2e-3, rtol=0)


def test_a_box_after_a_flip_is_that_of_the_flipped_image() -> None:
    images, row = some_images(1), torch.tensor([[0.5, 0.25, 0.5, 0.5]])
    flipped_first = Compose([HorizontalFlip(), RandomResizedCrop(SIDE)]).apply(images, torch.cat([torch.ones(1, 1), row], dim=1))
    mirrored = torch.tensor([[0.5, 0.75, 0.5, 0.5]])
    torch.testing.assert_close(flipped_first, RandomResizedCrop(SIDE).apply(images, mirrored).flip(-1), atol=3e-6, rtol=0)


def test_the_rows_of_a_box_are_rows() -> None:
    images = torch.arange(8.0).div(8).view(1, 1, 8, 1).expand(1, 3, 8, 8)  # darker at the top
    top, left = (RandomResizedCrop(4).apply(images, torch.tensor([row])) for row in ([0.25, 0.5, 0.5, 1], [0.5, 0.25, 1, 0.5]))
    assert top.mean() < 0.25 and 0.4 < left.mean() < 0.5


def test_boxes_between_pixels_change_smoothly_and_stay_inside() -> None:
    images, crop = some_images(1).expand(3, -1, -1, -1), RandomResizedCrop(SIDE, interpolation="bilinear")
    rows = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.501, 0.5, 0.5, 0.5], [9.0, -9.0, 0.5, 0.0]])
    exact, moved, outside = crop.apply(images, rows)
    assert 0 < (exact - moved).abs().max() < 0.05
    assert outside.isfinite().all()
    corner = crop.apply(images[:1], torch.tensor([[0.75, 1 / 32, 0.5, 1 / 16]]))[0]
    torch.testing.assert_close(outside, corner, atol=3e-6, rtol=0)


def test_ranges_may_come_from_a_config() -> None:
    numbers = OmegaConf.create({"scale": [0.3, 0.9], "size": [8, 12], "order": ["hue", "contrast", "saturation", "brightness"]})
    crop, jitter = RandomResizedCrop(numbers.size, scale=numbers.scale), ColorJitter(order=numbers.order)
    assert crop(some_images(), stream())[0].shape == (5, 3, 8, 12)
    assert jitter.order == ("hue", "contrast", "saturation", "brightness")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianBlur((2.0, 0.1)), r"sigma: the range \[2.0, 0.1\] is empty or reversed"),
        (lambda: GaussianBlur((1.0, 1.0)), "sigma: the range .* is empty or reversed; give two increasing numbers, or one"),
        (lambda: GaussianBlur((0.0, 1.0)), "sigma: expected numbers in 0.01.."),
        (lambda: GaussianBlur(kernel_size=4), "kernel_size: expected an odd number of pixels, found 4"),
        (lambda: GaussianBlur(probability=1.5), r"blur: expected a probability in 0..1, found 1.5"),
        (lambda: RandomResizedCrop(32, scale=(1, 0.2)), "scale: the range .* reversed"),
        (lambda: RandomResizedCrop(32, scale=(0.2, 1.2)), "scale: expected numbers in"),
        (lambda: RandomResizedCrop(32, ratio=(4 / 3, 3 / 4)), "ratio: the range .* reversed"),
        (lambda: RandomResizedCrop(32, ratio=(0.5, float("nan"))), "ratio: the range"),
        (lambda: RandomResizedCrop(0), "size: expected one or two sides of at least 1 pixel, found 0"),
        (lambda: RandomResizedCrop((8, 8, 8)), "size: expected one or two sides"),
        (lambda: RandomResizedCrop(32, interpolation="lanczos"), r"expected one of \['bilinear', 'bicubic'\], found 'lanczos'"),
        (lambda: ColorJitter(brightness=-0.1), "brightness: expected numbers in 0..inf"),
        (lambda: ColorJitter(hue=0.6), "hue: expected numbers in 0..0.5, found 0.6"),
        (lambda: ColorJitter(hue=(0.3, -0.3)), "hue: the range .* reversed"),
        (lambda: ColorJitter(order=["hue", "gamma"]), "order: expected each of .* once, or none to draw it, found"),
        (lambda: Solarise((0.5, 1.5)), "threshold: expected numbers in 0..1"),
        (lambda: Rotation((0.2, -0.2)), "turns: the range .* reversed"),
        (lambda: HorizontalFlip(-1), "flip: expected a probability"),
        (lambda: Compose([]), "at least one transform"),
        (lambda: Compose([GaussianBlur(), GaussianBlur()]), r"distinct names, found \['blur', 'blur'\]"),
        (lambda: Compose([GaussianBlur()], names=["blur", "crop"]), r"unknown transforms \['crop'\]: there are \['blur'\]"),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@every
def test_wrong_inputs_are_named(name: str) -> None:
    transform, images = MAKERS[name](), some_images(2)
    width = transform.group.latent_dim
    for wrong in (torch.zeros(2, width + 1), torch.zeros(3, width), torch.zeros(width), torch.zeros(2, width).long()):
        with pytest.raises(ValueError, match=f"{transform.name}: expected float parameters \\[2, {width}\\], found"):
            transform.apply(images, wrong)
    for wrong_images in ((255 * images).byte(), images[0]):
        with pytest.raises(ValueError, match=f"{transform.name}: expected float images .*; divide bytes by 255"):
            transform.apply(wrong_images, torch.zeros(2, width))


def test_images_that_a_transform_cannot_take_are_named() -> None:
    with pytest.raises(ValueError, match="crop.blur: expected float parameters"):
        Compose([RandomResizedCrop(8), GaussianBlur()]).apply(some_images(2), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="color: expected images of 3 channels, or of 1, found 2"):
        ColorJitter().apply(some_images()[:, :2], torch.zeros(5, 4))
    with pytest.raises(ValueError, match="kernel_size: 9 needs images of more than 4 pixels, found 4x4"):
        GaussianBlur(kernel_size=9).apply(some_images(1, side=4), torch.ones(1, 1))


@pytest.mark.gpu
@every
def test_a_gpu_computes_the_same(name: str) -> None:
    transform, images = MAKERS[name](), some_images(20)
    views, parameters = transform(images.cuda(), stream(2))
    assert views.is_cuda and parameters.is_cuda and torch.equal(parameters.cpu(), transform.draw(20, stream(2)))
    torch.testing.assert_close(views.cpu(), transform.apply(images, parameters.cpu()), atol=1 / 255, rtol=0)
    drawn_there = transform.draw(20, torch.Generator("cuda").manual_seed(0))
    assert drawn_there.is_cuda and drawn_there.shape == parameters.shape
