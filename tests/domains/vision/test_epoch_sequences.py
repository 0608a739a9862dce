"""Sequences cut from permutations: every item once an epoch, and each sequence a function of seed and index."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.batch import Transitions
from domains.vision.epochs import EpochSequences

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
