"""How well a predicted embedding finds the true next state among other views of the same item (protocol 6.6).

Q queries, J candidates for each, E embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor

TIE = 1e-6
"""Dot products of unit vectors closer than this are ties: equal embeddings differ by rounding only."""


def ranks(query: Tensor, candidates: Tensor, truth: Tensor) -> Tensor:
    """[Q] 1-based rank of the true candidate by dot product; ties count against the model.

    A collapsed embedding, for which all candidates are the same, therefore ranks last.

    Args:
        query: [Q, E] predicted embeddings, unit norm.
        candidates: [Q, J, E], or [J, E] when all queries share them, unit norm.
        truth: [Q] index of the true candidate.

    Raises:
        ValueError: when a true index lies outside the candidates.
    """
    similarity = (candidates @ query.unsqueeze(-1)).squeeze(-1) if candidates.ndim == 3 else query @ candidates.T
    if len(truth) and not 0 <= int(truth.min()) <= int(truth.max()) < similarity.shape[1]:
        raise ValueError(f"truth: expected indices of {similarity.shape[1]} candidates, found {truth.min()} to {truth.max()}")
    own = similarity.gather(1, truth.unsqueeze(1))
    # The comparison is turned round so that nan similarities count against the model too.
    return similarity.shape[1] - (similarity < own - TIE).sum(1)


def mean_reciprocal_rank(rank: Tensor) -> float:
    """Mean of 1 / rank; chance with J candidates is (1 + 1/2 + ... + 1/J) / J, .090 for 50."""
    return float(rank.double().reciprocal().mean())


def hit_rate(rank: Tensor, k: int) -> float:
    """H@k: share of ranks up to k; chance with J candidates is k / J."""
    return float((rank <= k).double().mean())


def views_by_item(item: Tensor) -> Tensor:
    """[I, J] row numbers of the views of each item, in their order; ValueError unless all items have as many views.

    Args:
        item: [N] identifiers, as in LabelledData.
    """
    _, owner, counts = item.unique(return_inverse=True, return_counts=True)
    if len(counts.unique()) != 1:
        raise ValueError(f"retrieval needs as many views of every item, found from {counts.min()} to {counts.max()}")
    return torch.argsort(owner, stable=True).view(len(counts), -1)
