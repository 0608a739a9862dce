"""Sequences cut from permutations: every item once an epoch, and each sequence a function of seed and index."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.batch import Transitions
from domains.vision.epochs import BlockSequences, EpochSequences

POOL = torch.tensor([10, 11, 12, 13, 14, 15, 16])


def shown(items: torch.Tensor, draws: torch.Generator) -> Transitions:
    """The items themselves as states, a random number as action."""
    state = items.float().view(1, -1, 1)
    action = torch.rand(1, len(items), 1, generator=draws)
    return Transitions(state, action, state, torch.zeros(1, len(items), 2, 1))


def items(sequence: Transitions) -> list[int]:
    return sequence.state.flatten().long().tolist()


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 9), length=st.integers(1, 25), seed=st.integers(0, 3))
def test_an_epoch_shows_each_item_once_whatever_the_length(size: int, length: int, seed: int) -> None:
    sequences = EpochSequences(POOL[:size] if size <= 7 else torch.arange(size), shown, length, seed)
    endless = [item for index in range(4 * size) for item in items(sequences[index])]
    for start in range(0, len(endless) - size + 1, size):
        assert sorted(endless[start : start + size]) == sequences.pool.tolist()


def test_a_sequence_depends_on_seed_and_index_only() -> None:
    first, again, other = (EpochSequences(POOL, shown, 3, seed) for seed in (1, 1, 2))
    backwards = {index: first[index] for index in reversed(range(12))}
    for index in range(12):
        assert torch.equal(backwards[index].state, again[index].state) and torch.equal(
            backwards[index].action, again[index].action
        )
    assert [items(first[index]) for index in range(12)] != [items(other[index]) for index in range(12)]
    assert not torch.equal(first[0].action, first[1].action)
    orders = Counter(tuple(items(EpochSequences(POOL, shown, 7, 0)[epoch])) for epoch in range(10))
    assert max(orders.values()) == 1 and len(first) == 2


def test_there_is_no_sequence_before_the_first() -> None:
    with pytest.raises(ValueError, match="expected 0 or more, found -1"):
        EpochSequences(POOL, shown, 3, 0)[-1]


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(sum), length=st.integers(1, 25),
       seed=st.integers(0, 3), window=st.integers(1, 7), data=st.data())  # fmt: skip
def test_blocks_show_each_item_once_an_epoch_and_no_shard_outside_its_window(
    sizes: list[int], length: int, seed: int, window: int, data: st.DataObject
) -> None:
    ends = torch.tensor(sizes).cumsum(0)
    pool = torch.tensor(sorted(data.draw(st.sets(st.integers(0, sum(sizes) - 1), min_size=1))))
    sequences = BlockSequences(pool, shown, length, seed, ends, window)
    size, shard_of = len(pool), torch.searchsorted(ends, pool, right=True).tolist()
    endless = [item for index in range(-(-4 * size // length)) for item in items(sequences[index])]
    for start in range(0, 4 * size, size):
        epoch = endless[start : start + size]
        assert sorted(epoch) == pool.tolist()
        # Walking through the epoch, the shards come in groups of at most `window`, empty ones not counted.
        seen, left = list[int](), {shard: shard_of.count(shard) for shard in set(shard_of)}
        for item in epoch:
            seen.append(shard := shard_of[pool.tolist().index(item)])
            left[shard] -= 1
            assert sum(0 < left[shard] < shard_of.count(shard) for shard in left) <= window
    whole = EpochSequences(pool, shown, length, seed)
    if window >= len(sizes):
        assert endless == [item for index in range(-(-4 * size // length)) for item in items(whole[index])]
    assert torch.equal(sequences[3].action, whole[3].action)


def test_blocks_are_shuffled_anew_in_every_epoch_and_do_not_depend_on_what_was_asked_before() -> None:
    ends, pool = torch.tensor([4, 8, 12]), torch.arange(12)
    sequences = BlockSequences(pool, shown, 12, 0, ends, 1)
    epochs = [tuple(items(sequences[epoch])) for epoch in range(20)]
    assert len(set(epochs)) == 20 and {epoch[0] // 4 for epoch in epochs} == {0, 1, 2}
    short = BlockSequences(pool, shown, 3, 0, ends, 1)
    backwards = [items(short[index]) for index in reversed(range(8))]
    assert [item for part in reversed(backwards) for item in part] == [*epochs[0], *epochs[1]]
    with pytest.raises(ValueError, match="window must be at least 1 shard, found 0"):
        BlockSequences(pool, shown, 3, 0, ends, 0)
