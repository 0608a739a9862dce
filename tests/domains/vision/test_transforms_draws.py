"""What is drawn, against torchvision's own draws and the stated ranges. Seeds are fixed, so a test passes always or never."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torchvision.transforms.v2 as torchvision_transforms
from scipy.stats import chisquare, ks_2samp, kstest
from torch import Tensor

from contextssl.actions import Kind
from domains.vision.transforms import ColorJitter, GaussianBlur, Greyscale, HorizontalFlip, RandomResizedCrop, Rotation, Solarise

NUM_DRAWS = 4000
NUM_DRAWS_THERE = 1500
PROBABLE = 1e-3


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn_there(transform: torchvision_transforms.Transform, *names: str, image: Tensor | None = None) -> Tensor:
    """[N, len(names)] parameters that torchvision draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = [transform.make_params([image]) for _ in range(NUM_DRAWS_THERE)]
    return torch.tensor([[float(draw[name]) for name in names] for draw in draws])


def assert_same_distribution(ours: Tensor, theirs: Tensor) -> None:
    for column, (mine, other) in enumerate(zip(ours.T, theirs.T, strict=True)):
        assert ks_2samp(mine.numpy(), other.numpy()).pvalue > PROBABLE, column


def uniform_between(values: Tensor, low: float, high: float) -> bool:
    assert low <= values.min() and values.max() <= high
    return float(kstest(values.double().numpy(), "uniform", args=(low, high - low)).pvalue) > PROBABLE


@pytest.mark.parametrize(
    ("sides", "scale", "ratio"),
    [((32, 32), (0.2, 1.0), (3 / 4, 4 / 3)), ((24, 40), (0.08, 1.0), (3 / 4, 4 / 3)), ((20, 20), (0.8, 1.0), (1.2, 2.0))],
)
def test_boxes_are_drawn_as_torchvision_draws_them(
    sides: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    height, width = sides
    theirs = drawn_there(torchvision_transforms.RandomResizedCrop(32, scale, ratio), "top", "left", "height", "width",
                         image=torch.zeros(3, *sides))  # fmt: skip
    row, column, tall, wide = RandomResizedCrop(32, scale, ratio, source_size=sides).draw(NUM_DRAWS, stream()).unbind(1)
    ours = torch.stack([(row - tall / 2) * height, (column - wide / 2) * width, tall * height, wide * width], dim=1)
    torch.testing.assert_close(ours, ours.round(), atol=1e-4, rtol=0)
    assert_same_distribution(ours.round(), theirs)
    assert ours.round().min() >= 0 and (row + tall / 2).max() <= 1 + 1e-6 and (column + wide / 2).max() <= 1 + 1e-6


@pytest.mark.parametrize(("sides", "ratio"), [((8, 64), (3 / 4, 4 / 3)), ((64, 8), (3 / 4, 4 / 3)), ((9, 9), (1.9, 2.1))])
def test_where_no_box_fits_the_central_one_is_taken(sides: tuple[int, int], ratio: tuple[float, float]) -> None:
    theirs = torchvision_transforms.RandomResizedCrop(8, (1, 1), ratio).make_params([torch.zeros(3, *sides)])
    row, column, tall, wide = RandomResizedCrop(8, 1.0, ratio, source_size=sides).draw(1, stream())[0].tolist()
    found = {
        "top": (row - tall / 2) * sides[0],
        "left": (column - wide / 2) * sides[1],
        "height": tall * sides[0],
        "width": wide * sides[1],
    }
    assert {name: round(value) for name, value in found.items()} == theirs


def test_every_place_of_a_box_is_drawn() -> None:
    boxes = RandomResizedCrop(4, 0.25, 1.0).draw(NUM_DRAWS, stream())
    corners = Counter(tuple((4 * row[:2] - 1).round().long().tolist()) for row in boxes)
    assert set(corners) == {(row, column) for row in range(3) for column in range(3)}
    assert chisquare(list(corners.values())).pvalue > PROBABLE


def test_colors() -> None:
    jitter = ColorJitter((0.5, 2.0), 0.4, 1.3, 0.1, probability=0.8)
    theirs = drawn_there(torchvision_transforms.ColorJitter((0.5, 2.0), 0.4, 1.3, 0.1), "brightness_factor", "contrast_factor",
                         "saturation_factor", "hue_factor")  # fmt: skip
    parameters = jitter.draw(NUM_DRAWS, stream())
    applied = (parameters != 0).all(1)
    assert torch.equal(applied, (parameters != 0).any(1))  # all four or none
    assert abs(applied.float().mean() - 0.8) < 0.02
    assert_same_distribution(jitter.amounts(parameters)[applied], theirs)
    for column, (low, high) in zip(
        parameters[applied].T, [(-1 / 3, 2 / 3), (-0.5, 0.5), (-1 / 2.3, 1.3 / 2.3), (-0.5, 0.5)], strict=True
    ):
        assert uniform_between(column, low - 1e-6, high + 1e-6)
    assert parameters[applied].T.corrcoef().fill_diagonal_(0).abs().max() < 0.06


def test_what_is_switched_off_stays_off() -> None:
    jitter = ColorJitter(0.4, 0, 0.4, 0, probability=1)
    parameters = jitter.draw(100, stream())
    assert (parameters[:, [1, 3]] == 0).all() and (parameters[:, [0, 2]] != 0).all()
    images = torch.rand(2, 3, 8, 8, generator=stream())
    changed = torch.tensor([[0, 0.7, 0, 0.7]]).expand(2, -1)
    torch.testing.assert_close(jitter.apply(images, changed), images)
    assert ColorJitter(0, 0, 0, 0).apply(images, changed).data_ptr() != images.data_ptr()


def test_every_order_is_drawn() -> None:
    places = ColorJitter(order=None).draw(NUM_DRAWS, stream())[:, 4:].long()
    orders = Counter(map(tuple, places.tolist()))
    assert len(orders) == 24 and all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert chisquare(list(orders.values())).pvalue > PROBABLE


def test_blur_widths() -> None:
    assert uniform_between(GaussianBlur((0.1, 2.0)).draw(NUM_DRAWS, stream())[:, 0], 0.1, 2.0)
    sometimes = GaussianBlur((0.1, 2.0), probability=0.5).draw(NUM_DRAWS, stream())[:, 0]
    assert abs((sometimes == 0).float().mean() - 0.5) < 0.03
    assert uniform_between(sometimes[sometimes > 0], 0.1, 2.0)
    assert GaussianBlur(1.5).draw(3, stream()).tolist() == [[1.5]] * 3


def test_switches() -> None:
    for transform in (HorizontalFlip(0.3), Greyscale(0.3)):
        drawn = transform.draw(NUM_DRAWS, stream())
        assert transform.group.kind is Kind.SWITCH and set(drawn.flatten().tolist()) == {0, 1}
        assert abs(drawn.mean() - 0.3) < 0.03
    assert HorizontalFlip(1).draw(50, stream()).all() and not HorizontalFlip(0).draw(50, stream()).any()


def test_solarisation_and_rotation() -> None:
    shares = Solarise((0.2, 0.6), 0.5).draw(NUM_DRAWS, stream())[:, 0]
    assert uniform_between(shares[shares > 0], 0.4 - 1e-6, 0.8 + 1e-6)
    assert abs((shares > 0).float().mean() - 0.5) < 0.03
    assert uniform_between(Rotation((-0.1, 0.3)).draw(NUM_DRAWS, stream())[:, 0], -0.1, 0.3)
    assert Rotation((-0.1, 0.3)).group.kind is Kind.REAL and Rotation((-0.5, 0.5)).group.kind is Kind.CIRCULAR
