"""Ranking against a slow, plain loop; ties and chance."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from contextssl.evaluation.retrieval import hit_rate, mean_reciprocal_rank, ranks, views_by_item


def test_ranks_equal_a_sorted_list() -> None:
    generator = torch.Generator().manual_seed(0)
    query = F.normalize(torch.randn(30, 4, generator=generator), dim=-1)
    candidates = F.normalize(torch.randn(30, 7, 4, generator=generator), dim=-1)
    truth = torch.randint(7, (30,), generator=generator)
    for row, found in enumerate(ranks(query, candidates, truth)):
        order = sorted(range(7), key=lambda j: -float(query[row] @ candidates[row, j]))
        assert int(found) == order.index(int(truth[row])) + 1


def test_shared_candidates_are_the_same_as_repeated_ones() -> None:
    query, shared = F.normalize(torch.randn(2, 9, 4), dim=-1)
    truth = torch.arange(9)
    assert torch.equal(ranks(query, shared, truth), ranks(query, shared.expand(9, 9, 4), truth))


def test_a_collapsed_embedding_ranks_last_and_a_perfect_one_first() -> None:
    same = F.normalize(torch.ones(50, 8) + 1e-8 * torch.randn(50, 8), dim=-1)
    assert (ranks(same, same, torch.arange(50)) == 50).all()
    assert (ranks(torch.full((3, 2), torch.nan), torch.ones(3, 2), torch.arange(3)) == 3).all()
    assert (ranks(torch.eye(50), torch.eye(50), torch.arange(50)) == 1).all()


def test_chance_of_fifty_candidates_is_that_of_the_protocol() -> None:
    generator = torch.Generator().manual_seed(0)
    query = F.normalize(torch.randn(20_000, 16, generator=generator), dim=-1)
    candidates = F.normalize(torch.randn(50, 16, generator=generator), dim=-1)
    rank = ranks(query, candidates, torch.randint(50, (20_000,), generator=generator))
    assert mean_reciprocal_rank(rank) == pytest.approx(0.090, abs=0.003)
    for k in (1, 2, 5, 10):
        assert hit_rate(rank, k) == pytest.approx(k / 50, abs=0.01)


def test_a_truth_outside_the_candidates_is_refused() -> None:
    with pytest.raises(ValueError, match="indices of 3 candidates"):
        ranks(torch.randn(2, 4), torch.randn(3, 4), torch.tensor([0, 3]))


def test_views_are_gathered_item_by_item() -> None:
    assert views_by_item(torch.tensor([7, 3, 7, 3, 9, 9])).tolist() == [[1, 3], [0, 2], [4, 5]]
    with pytest.raises(ValueError, match="from 1 to 2"):
        views_by_item(torch.tensor([1, 1, 2]))
