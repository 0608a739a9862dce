"""Parameters of augmentations in plain words with units: what pictures write below a view.

`words` knows the ready-made transforms; any other is written as its group's kind and units say, or as a function registered for
its class says (`words.register`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import NamedTuple

from contextssl.actions import Group, Kind
from domains.vision.augmented_images import Augmentation
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
)
from domains.vision.transforms.color import NEUTRAL, OPERATIONS


@dataclass(frozen=True)
class Quantity:
    """One parameter for readers: what is written is parameter * factor + offset.

    Attributes:
        label: what it is; empty where it is all that a group has.
        shown: format of a value.
        changed: format of a change, without its sign.
        factor: from the parameter to what is written.
        offset: of values; changes have none.
        zero: the word for a parameter of 0; None writes the number.
        states: the words for 0 and 1, for switches.
    """

    label: str
    shown: str = "{:.3g}"
    changed: str = "{:.3g}"
    factor: float = 1.0
    offset: float = 0.0
    zero: str | None = None
    states: tuple[str, str] | None = None

    def value(self, parameter: float) -> str:
        """The parameter of a view."""
        if self.states is not None:
            return self.states[parameter > 0.5]
        if parameter == 0 and self.zero is not None:
            return self.zero
        return self.shown.format(parameter * self.factor + self.offset).replace("-", "−")

    def change(self, before: float, after: float) -> str:
        """The action from one view to another: a signed difference; for a switch the target's state, as the model is told it."""
        if self.states is not None:
            return f"to: {self.states[after > 0.5]}"
        difference = (after - before) * self.factor
        if difference == 0:
            return "no change"
        size = self.changed.format(abs(difference))
        if size == self.changed.format(0):
            return size
        return ("−" if difference < 0 else "+") + size


class Words(NamedTuple):
    """How a group is written: a note beside its name, and a quantity for each of its parameters."""

    note: str
    quantities: Sequence[Quantity]


class Line(NamedTuple):
    """A line below a pair: which group it belongs to, whether it opens it, and what stands in each column."""

    group: int
    opens: bool
    label: str
    x: str
    y: str
    change: str


def pair_lines(augmentation: Augmentation, x: Sequence[float], y: Sequence[float]) -> list[Line]:
    """The parameters x [L] and y [L] of two views and the action between them, group by group."""
    lines, place = [], 0
    parts = augmentation.transforms if isinstance(augmentation, Compose) else augmentation.groups
    for index, (part, group) in enumerate(zip(parts, augmentation.groups, strict=True)):
        note, quantities = words(part)
        if quantities[0].label:
            lines.append(Line(index, True, group.name, note, "", ""))
        for quantity, one, other in zip(quantities, x[place:], y[place:], strict=False):  # the rest is of the other groups
            label = quantity.label or group.name
            row = (quantity.value(one), quantity.value(other), quantity.change(one, other))
            lines.append(Line(index, not quantity.label, label, *row))
        place += group.latent_dim
    return lines


@singledispatch
def words(part: object) -> Words:
    """How the parameters of a transform, or of a group that is all that is known, are written.

    Raises:
        TypeError: for anything else.
    """
    raise TypeError(f"expected a transform or a group, found {type(part).__name__}")


@words.register
def _(part: Group) -> Words:
    number = Quantity("value")
    if part.kind is Kind.SWITCH:
        number = Quantity("value", states=("no", "yes"))
    elif part.kind is Kind.CIRCULAR:
        number = Quantity("value", "{:.0f}°", "{:.0f}°", factor=360)
    labels = ["value"] if part.latent_dim == 1 else [f"value {index + 1}" for index in range(part.latent_dim)]
    return Words(part.units, [replace(number, label=label) for label in labels])


@words.register
def _(part: Transform) -> Words:
    return words(part.group)


@words.register
def _(part: RandomResizedCrop) -> Words:
    labels = ("centre from top", "centre from left", "height", "width")
    return Words("box, in % of the image's sides", [Quantity(label, "{:.0f} %", "{:.0f} %", 100) for label in labels])


@words.register
def _(part: HorizontalFlip) -> Words:
    return Words("", [Quantity("", states=("not mirrored", "mirrored"))])


@words.register
def _(part: Rotation) -> Words:
    return Words("counterclockwise", [Quantity("angle", "{:.0f}°", "{:.0f}°", 360)])


@words.register
def _(part: GaussianBlur) -> Words:
    return Words("", [Quantity("", "σ = {:.2f} px", "{:.2f} px", zero="none")])


@words.register
def _(part: ColorJitter) -> Words:
    ranges = [high - low for low, high in part.limits]
    names = list(OPERATIONS)
    factors = [
        Quantity(name, "× {:.2f}", "{:.2f}", extent, neutral)
        for name, extent, neutral in zip(names[:3], ranges[:3], NEUTRAL[:3], strict=True)
    ]
    hue = Quantity("hue", "{:+.0f}°", "{:.0f}°", 360 * ranges[3], 360 * NEUTRAL[3], zero="0°")
    places = [Quantity(f"place of {name}", "{:.0f}.", "{:.0f}", offset=1) for name in names] if part.order is None else []
    return Words("factors; hue is turned", [*factors, hue, *places])


@words.register
def _(part: Greyscale) -> Words:
    return Words("", [Quantity("", states=("in colour", "grey"))])


@words.register
def _(part: Solarise) -> Words:
    return Words("inverted", [Quantity("brightest", "{:.0f} %", "{:.0f} %", 100, zero="none")])
