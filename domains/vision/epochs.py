"""Training sequences that show every item once an epoch, whatever their length is. I items, S shards, T transitions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

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
        pieces: list[Tensor] = []
        begin, end = index * self.length, (index + 1) * self.length
        while begin < end:
            epoch, start = divmod(begin, len(self.pool))
            stop = min(start + end - begin, len(self.pool))
            pieces += self._cut(epoch, start, stop)
            begin += stop - start
        return torch.cat(pieces)

    def _cut(self, epoch: int, start: int, stop: int) -> Iterator[Tensor]:
        """The places from `start` to `stop` of one epoch, in pieces."""
        yield _epoch_order(len(self.pool), self.seed, epoch)[start:stop]


@dataclass(frozen=True)
class BlockSequences(EpochSequences):
    """The same for a store in shards: an epoch goes through the shards in a random order, `window` of them at a time.

    The items of a window are permuted together, so two items can be in one sequence, or one batch, only when their shards are
    in one window, or in windows that follow one another. A sequence reads from at most 2 windows of shards where the windows
    are longer than it is; sequences in a row read each shard in one go. Sequence i is a function of (seed, i): neither the
    number of processes nor where a run was resumed matters. With all shards in one window it is that of `EpochSequences`.

    Attributes:
        shard_ends: [S] number of items up to the end of each shard; the pool must be in ascending order.
        window: shards at a time.
    """

    shard_ends: Tensor
    window: int

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window must be at least 1 shard, found {self.window}")

    @cached_property
    def _first(self) -> Tensor:
        """[S + 1] place in the pool where each shard begins, and the end."""
        return torch.cat([torch.zeros(1, dtype=torch.long), torch.searchsorted(self.pool, self.shard_ends)])

    def _cut(self, epoch: int, start: int, stop: int) -> Iterator[Tensor]:
        """The places from `start` to `stop` of one epoch, window by window."""
        shards = _shard_order(len(self.shard_ends), self.seed, epoch)
        last = torch.arange(self.window, len(shards) + self.window, self.window).clamp(max=len(shards)) - 1
        ends = [0, *self._first.diff()[shards].cumsum(0)[last].tolist()]
        number = bisect_right(ends, start) - 1
        while number < len(last) and ends[number] < stop:
            members = shards[number * self.window : (number + 1) * self.window].sort().values
            order = _epoch_order(ends[number + 1] - ends[number], self.seed, epoch, number)
            drawn = order[max(0, start - ends[number]) : stop - ends[number]]
            upto = self._first.diff()[members].cumsum(0)  # of the window's items, those up to the end of each shard
            yield drawn + (self._first[members + 1] - upto)[torch.searchsorted(upto, drawn, right=True)]
            number += 1


@lru_cache(maxsize=8)
def _shard_order(num_shards: int, seed: int, epoch: int) -> Tensor:
    """The order in which an epoch goes through the shards."""
    return torch.randperm(num_shards, generator=generator(seed, f"shards/{epoch}"))


@lru_cache(maxsize=8)
def _epoch_order(num_items: int, seed: int, epoch: int, window: int = 0) -> Tensor:
    """The permutation of an epoch, or of one of its windows; kept, because many sequences are cut from it."""
    return torch.randperm(num_items, generator=generator(seed, f"epoch/{epoch}" + f"/{window}" * (window > 0)))
