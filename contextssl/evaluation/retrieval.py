"""How well a predicted embedding finds the true next state among other views of the same item (protocol 6.6).

Q queries, J candidates for each, E embedding width, I items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from contextssl.adapter import Split
from contextssl.evaluation.cells import Cells, chosen_cells
from contextssl.evaluation.controls import Control
from contextssl.evaluation.embeddings import EMPTY, FEATURES, Cell, EmbeddingBank
from contextssl.evaluation.readouts import cell_result
from contextssl.evaluation.results import Result
from contextssl.seeding import generator

RETRIEVAL = "retrieval/1"
TARGET = "next_state"

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
    return similarity_ranks(similarity, truth)


def similarity_ranks(similarity: Tensor, truth: Tensor) -> Tensor:
    """[...] `ranks` from similarities [..., J] of queries to candidates and the true candidates' indices [...]."""
    own = similarity.gather(-1, truth.unsqueeze(-1))
    # The comparison is turned round so that nan similarities count against the model too.
    return similarity.shape[-1] - (similarity < own - TIE).sum(-1)


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


@dataclass(frozen=True)
class RetrievalProtocol:
    """Does the embedding predicted from view 0 and the action to view j find view j among the item's views?

    `retrieval/1`:
    *split*: `split`, every item; the paper's table says validation objects (our test split), its code asks training ones.
    *sampling*: none. The source is the first view of each item, the queries are all its views j = 0..J-1.
    *inputs*: query (view 0, action from 0 to j), the action told as the cell's environment says; candidates (view, no
    action) of the same item, after the same context. After no context, rows of each environment tell the query alone;
    ask for the cell `EMPTY` to tell it everything. Encoder features predict nothing and are left out.
    *metric*: mean reciprocal rank and H@k by dot product, ties against the model, beside chance. `mrr` and `hit@k` count
    j = 0, the identity, with the source among the candidates, as the paper does; `mrr(no identity)` and
    `hit@k(no identity)` leave both out.

    Attributes:
        name: protocol id and version.
        split: whose items.
        hits: the k of H@k.
        cells: which cells, the bank's own when None.
        num_items: at most so many items, drawn at random; None for all.
        seed: of that draw.
        memory: bytes of embeddings and similarities held for one batch of items.
    """

    name: str = RETRIEVAL
    split: Split = Split.TEST
    hits: tuple[int, ...] = (1, 2, 5, 10)
    cells: Cells = None
    num_items: int | None = None
    seed: int = 0
    memory: int = 2**28

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", Split(self.split))  # configs give it as a word

    def __call__(self, bank: EmbeddingBank) -> Iterator[Result]:
        """One result for each cell and metric, with and without the identity.

        Raises:
            ValueError: unless all items have as many views, at least two.
        """
        views = self._views(bank)
        for cell in self._cells(bank):
            rank, without = self.item_ranks(bank, cell, views)
            yield from self._results(bank, cell, rank, views.shape[1], "")
            yield from self._results(bank, cell, without, views.shape[1] - 1, "(no identity)")

    def item_ranks(self, bank: EmbeddingBank, cell: Cell, views: Tensor) -> tuple[Tensor, Tensor]:
        """Ranks [I, J] of all views of items [I, J], and [I, J - 1] of the others among the others."""
        embeddings, num_views = bank.embeddings(cell, self.split), views.shape[1]
        truth = torch.arange(num_views, device=views.device)
        found: list[tuple[Tensor, Tensor]] = []
        size = max(1, self.memory // (4 * num_views * (4 * embeddings.shape[1] + 2 * num_views)))
        for batch in views.split(size):
            pairs = torch.stack([batch[:, :1].expand_as(batch), batch], dim=-1)
            query = bank.predictions(cell, self.split, pairs.flatten(0, 1)).unflatten(0, batch.shape)
            similarity = query @ embeddings[batch].mT
            others = truth[:-1].expand(len(batch), -1)
            found.append((similarity_ranks(similarity, truth.expand_as(batch)), similarity_ranks(similarity[:, 1:, 1:], others)))
        rank, without = zip(*found, strict=True)
        return torch.cat(rank), torch.cat(without)

    def _views(self, bank: EmbeddingBank) -> Tensor:
        """[I, J] rows of the items asked about."""
        views = views_by_item(bank.labelled(self.split).item)
        if views.shape[1] < 2:
            raise ValueError(f"retrieval needs at least two views of every item, found {views.shape[1]}")
        if self.num_items is not None and self.num_items < len(views):
            views = views[torch.randperm(len(views), generator=generator(self.seed, "retrieval"))[: self.num_items]]
        return views.to(bank.device)

    def _cells(self, bank: EmbeddingBank) -> Iterator[Cell]:
        """Without features; the bank's empty cell becomes one for each environment that a query can be told."""
        for cell in chosen_cells(bank, self.cells):
            if cell == EMPTY and not isinstance(self.cells, tuple | list):
                yield from (replace(EMPTY, environment=told.name, control=Control.TRUE) for told in bank.environments)
            elif cell != FEATURES:
                yield cell

    def _results(self, bank: EmbeddingBank, cell: Cell, rank: Tensor, num_candidates: int, suffix: str) -> Iterator[Result]:
        chance = sum(1 / place for place in range(1, num_candidates + 1)) / num_candidates
        measured = [("mrr", mean_reciprocal_rank(rank), chance)]
        measured += [(f"hit@{k}", hit_rate(rank, k), min(1.0, k / num_candidates)) for k in self.hits]
        for metric, value, floor in measured:
            yield cell_result(bank, cell, self.name, TARGET, "-", metric + suffix, self.split, value, floor)
