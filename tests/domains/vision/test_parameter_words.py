"""Parameters in words: what is written is what the transform does, group by group, and the action is what the model is told."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from contextssl.actions import Group, Kind
from domains.vision.parameter_words import Line, pair_lines, words
from domains.vision.transforms import (
    ColorJitter,
    Compose,
    GaussianBlur,
    Greyscale,
    HorizontalFlip,
    RandomResizedCrop,
    Rotation,
    Solarise,
)


def rows(lines: list[Line]) -> list[tuple[str, str, str, str]]:
    """The columns alone."""
    return [(line.label, line.x, line.y, line.change) for line in lines]


def test_every_transform_is_written_in_words_with_units() -> None:
    transform = Compose(
        [RandomResizedCrop(32), GaussianBlur(), HorizontalFlip(), Rotation((-0.5, 0.5)), Greyscale(), Solarise((0, 1))]
    )
    x = [0.5, 0.25, 1.0, 0.5, 0.0, 0.0, 0.25, 1.0, 0.4]
    y = [0.4, 0.25, 0.8, 0.5, 1.25, 1.0, -0.125, 1.0, 0.0]
    lines = pair_lines(transform, x, y)
    assert rows(lines) == [
        ("crop", "box, in % of the image's sides", "", ""),
        ("centre from top", "50 %", "40 %", "−10 %"),
        ("centre from left", "25 %", "25 %", "no change"),
        ("height", "100 %", "80 %", "−20 %"),
        ("width", "50 %", "50 %", "no change"),
        ("blur", "none", "σ = 1.25 px", "+1.25 px"),
        ("flip", "not mirrored", "mirrored", "to: mirrored"),
        ("rotation", "counterclockwise", "", ""),
        ("angle", "90°", "−45°", "−135°"),
        ("greyscale", "grey", "grey", "to: grey"),
        ("solarise", "inverted", "", ""),
        ("brightest", "40 %", "none", "−40 %"),
    ]
    assert [line.label for line in lines if line.opens] == ["crop", "blur", "flip", "rotation", "greyscale", "solarise"]
    assert [line.group for line in lines] == [0, 0, 0, 0, 0, 1, 2, 3, 3, 4, 5, 5]


@given(st.lists(st.floats(-0.5, 0.5), min_size=8, max_size=8))
def test_colour_is_written_as_the_factors_that_are_applied(numbers: list[float]) -> None:
    jitter = ColorJitter(brightness=(0.5, 2.0), contrast=0.3, saturation=0.4, hue=(-0.05, 0.3))
    x, y = numbers[:4], numbers[4:]
    lines = pair_lines(Compose([jitter]), x, y)
    amounts = jitter.amounts(torch.tensor([x, y])).tolist()
    assert [line.label for line in lines] == ["color", "brightness", "contrast", "saturation", "hue"]
    for place, line in enumerate(lines[1:]):
        unit = 360 if line.label == "hue" else 1
        written = [number(line.x), number(line.y), number(line.change)]
        expected = [amounts[0][place], amounts[1][place], amounts[1][place] - amounts[0][place]]
        assert written == pytest.approx([unit * value for value in expected], abs=0.51 if unit > 1 else 0.0051)


def number(text: str) -> float:
    """What a text says, without its unit."""
    found = re.search(r"[-+−]?[\d.]+", text)
    return float(found[0].replace("−", "-")) if found else 0.0


def test_a_drawn_order_has_its_places() -> None:
    jitter = Compose([ColorJitter(order=None)])
    lines = pair_lines(jitter, [0, 0, 0, 0, 3, 0, 1, 2], [0, 0, 0, 0, 0, 0, 1, 3])
    assert rows(lines)[5:] == [
        ("place of brightness", "4.", "1.", "−3"),
        ("place of contrast", "1.", "1.", "no change"),
        ("place of saturation", "2.", "2.", "no change"),
        ("place of hue", "3.", "4.", "+1"),
    ]
    assert rows(lines)[4] == ("hue", "0°", "0°", "no change")


class Unknown:
    """An augmentation of which only the groups are known."""

    groups = (
        Group("lamp", 1, 1, Kind.REAL, "share of daylight"),
        Group("turn", 1, 1, Kind.CIRCULAR, "turns"),
        Group("hat", 2, 1, Kind.SWITCH, "1 = worn"),
        Group("place", 2, 2, Kind.REAL, "pixels"),
    )

    def draw(self, num_rows: int, generator: torch.Generator) -> torch.Tensor:
        raise NotImplementedError

    def apply(self, images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def test_unknown_groups_are_written_by_kind_with_their_units() -> None:
    assert rows(pair_lines(Unknown(), [0.5, 0.25, 0, 1, 2], [0.25, 0.5, 1, 1, -3.5])) == [
        ("lamp", "share of daylight", "", ""),
        ("value", "0.5", "0.25", "−0.25"),
        ("turn", "turns", "", ""),
        ("value", "90°", "180°", "+90°"),
        ("hat", "1 = worn", "", ""),
        ("value", "no", "yes", "to: yes"),
        ("place", "pixels", "", ""),
        ("value 1", "1", "1", "no change"),
        ("value 2", "2", "−3.5", "−5.5"),
    ]


def test_what_is_no_transform_has_no_words() -> None:
    with pytest.raises(TypeError, match="expected a transform or a group, found str"):
        words("crop")
