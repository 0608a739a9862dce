"""Rules: which label the classes of a target get in an environment. C classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations as all_permutations
from math import factorial

import torch

from contextssl.seeding import generator

NUM_LISTED = 8  # classes up to which all permutations are listed: 40,320 of them


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """A label for every class.

    Attributes:
        target: whose classes; the domain's own target when None.
    """

    target: str | None = None

    @abstractmethod
    def labels(self, num_classes: int) -> tuple[int, ...]:
        """[C] the label of class 0, 1...; ValueError where the rule does not fit so many classes."""


@dataclass(frozen=True, kw_only=True)
class Identity(Rule):
    """The class itself."""

    def labels(self, num_classes: int) -> tuple[int, ...]:
        """0, 1, 2..."""
        return tuple(range(num_classes))


@dataclass(frozen=True)
class Offset(Rule):
    """The class plus a number, as in the paper (protocol 8).

    Attributes:
        by: the number.
        modulo: labels wrap around at this number; None for a wider head instead.
    """

    by: int
    modulo: int | None = None

    def labels(self, num_classes: int) -> tuple[int, ...]:
        """ValueError for a modulo that gives two classes one label."""
        if self.modulo is None:
            return tuple(number + self.by for number in range(num_classes))
        if self.modulo < num_classes:
            raise ValueError(
                f"offset modulo {self.modulo} gives some of {num_classes} classes the same label; use Coarse for that"
            )
        return tuple((number + self.by) % self.modulo for number in range(num_classes))


@dataclass(frozen=True)
class Permutation(Rule):
    """The classes in another order.

    Attributes:
        order: the label of class 0, 1...
    """

    order: Sequence[int]

    def labels(self, num_classes: int) -> tuple[int, ...]:
        """ValueError unless the order is one of all classes."""
        if sorted(self.order) != list(range(num_classes)):
            raise ValueError(f"permutation: expected 0..{num_classes - 1} in some order, found {list(self.order)}")
        return tuple(self.order)


@dataclass(frozen=True, kw_only=True)
class Flip(Rule):
    """The other one of two classes."""

    def labels(self, num_classes: int) -> tuple[int, ...]:
        """1, 0; ValueError for another number of classes."""
        if num_classes != 2:
            raise ValueError(f"flip: a complement needs two classes, found {num_classes}; use Permutation")
        return (1, 0)


@dataclass(frozen=True)
class Coarse(Rule):
    """Classes put together.

    Attributes:
        mapping: the label of class 0, 1...; several may share one.
    """

    mapping: Sequence[int]

    def labels(self, num_classes: int) -> tuple[int, ...]:
        """ValueError unless there is a label for every class."""
        if len(self.mapping) != num_classes:
            raise ValueError(f"coarse labels: expected one for each of {num_classes} classes, found {len(self.mapping)}")
        return tuple(self.mapping)


def permutations(num_classes: int, count: int, first: int = 0, seed: int = 0) -> dict[str, Rule]:
    """`count` different permutations by name; ranges [first, first + count) of one seed do not overlap.

    Raises:
        ValueError: when there are not so many.
    """
    if first + count > factorial(num_classes):
        raise ValueError(f"{num_classes} classes have {factorial(num_classes)} permutations, fewer than {first} + {count}")
    draws, found = generator(seed, "permutations"), dict[tuple[int, ...], None]()
    if num_classes <= NUM_LISTED:
        listed = list(all_permutations(range(num_classes)))
        found = dict.fromkeys(listed[place] for place in torch.randperm(len(listed), generator=draws).tolist())
    while len(found) < first + count:
        found[tuple(torch.randperm(num_classes, generator=draws).tolist())] = None
    chosen = list(found)[first : first + count]
    return {f"permutation-{first + place}": Permutation(order) for place, order in enumerate(chosen)}
