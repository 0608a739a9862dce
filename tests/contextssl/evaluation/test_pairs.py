"""Pairs are of one item and of two views, each as likely as the next."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.evaluation.pairs import draw_pairs


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 5), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 1000))
def test_every_item_has_its_pairs_and_no_pair_is_of_one_view_or_two_items(counts: list[int], per_item: int, seed: int) -> None:
    item = torch.tensor([10 * index for index, count in enumerate(counts) for _ in range(count)])
    item = item[torch.randperm(len(item), generator=torch.Generator().manual_seed(seed))]
    pairs = draw_pairs(item, per_item, torch.Generator().manual_seed(seed))
    owners = Counter()
    for x, y in pairs.tolist():
        assert x != y and item[x] == item[y]
        owners[int(item[x])] += 1
    assert owners == {10 * index: per_item for index in range(len(counts))}


def test_every_ordered_pair_is_as_likely() -> None:
    item = torch.tensor([5, 1, 5, 5, 1])
    pairs = [tuple(pair) for pair in draw_pairs(item, 6000, torch.Generator().manual_seed(0)).tolist()]
    counts = Counter(pairs)
    three, two = [0, 2, 3], [1, 4]
    expected = {(x, y): 1000 for x in three for y in three if x != y} | {(1, 4): 3000, (4, 1): 3000}
    assert set(two) | set(three) == set(range(5))
    assert {pair: pytest.approx(count, abs=150) for pair, count in counts.items()} == expected


def test_the_first_pairs_are_of_items_at_random() -> None:
    item = torch.arange(100).repeat_interleave(3)
    first = item[draw_pairs(item, 50, torch.Generator().manual_seed(0))[:200, 0]]
    assert len(first.unique()) > 70 and not torch.equal(first, first.sort().values)


def test_the_seed_decides() -> None:
    item = torch.arange(10).repeat_interleave(4)
    first, again, other = (draw_pairs(item, 3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_an_item_of_one_view_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 items have one view only"):
        draw_pairs(torch.tensor([3, 3, 8]), 1, torch.Generator())
