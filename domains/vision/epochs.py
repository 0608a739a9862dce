"""Training sequences that show every item once an epoch, whatever their length is. I items, T transitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from contextssl.batch import Transitions
from contextssl.seeding import generator


@dataclass(frozen=True)
class EpochSequences:
    """Sequences cut from an endless row of items, one permutation of all of them after the other.

    Sequence i is a function of (seed, i).

    Attributes:
        pool: [I] items.
        draw: a sequence [1, T, ...] of the items [length], its randomness from the generator.
        length: items in a sequence: T of pairs of different items, 1 of a trajectory of one item.
        seed: of everything.
    """

    pool: Tensor
    draw: Callable[[Tensor, torch.Generator], Transitions]
    length: int
    seed: int

    def __len__(self) -> int:
        return max(1, len(self.pool) // self.length)

    def __getitem__(self, index: int) -> Transitions:
        if index < 0:
            raise ValueError(f"sequence index: expected 0 or more, found {index}")
        return self.draw(self.pool[self.places(index)], generator(self.seed, f"views/{index}"))

    def places(self, index: int) -> Tensor:
        """[T] places in the pool of a sequence's items."""
        begin, end, size = index * self.length, (index + 1) * self.length, len(self.pool)
        epochs = range(begin // size, (end - 1) // size + 1)
        orders = torch.cat([_epoch_order(size, self.seed, epoch) for epoch in epochs])
        return orders[begin - epochs.start * size : end - epochs.start * size]


@lru_cache(maxsize=8)
def _epoch_order(num_items: int, seed: int, epoch: int) -> Tensor:
    """The permutation of an epoch; kept, because many sequences are cut from it."""
    return torch.randperm(num_items, generator=generator(seed, f"epoch/{epoch}"))
