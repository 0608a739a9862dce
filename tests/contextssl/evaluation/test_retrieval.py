"""Ranking, and the protocol on it, against slow, plain loops; ties and chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from contextssl.actions import ActionSpace, Environment
from contextssl.adapter import LabelledData, Split
from contextssl.batch import Transitions
from contextssl.evaluation.embeddings import EMPTY, Cell, EmbeddingBank
from contextssl.evaluation.results import Result
from contextssl.evaluation.retrieval import (
    RETRIEVAL,
    RetrievalProtocol,
    hit_rate,
    mean_reciprocal_rank,
    ranks,
    views_by_item,
)
from contextssl.method import ContextualMethod

MakeBank = Callable[..., EmbeddingBank]


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


def by_metric(results: list[Result], environment: str, length: int) -> dict[str, Result]:
    return {r.metric: r for r in results if (r.environment, r.context_length) == (environment, length)}


def test_every_number_is_that_of_a_slow_loop(make_view_bank: MakeBank) -> None:
    bank = make_view_bank(leak=0.4, num_items=20)
    results = list(RetrievalProtocol(hits=(1, 3))(bank))
    data, cell = bank.labelled(Split.TEST), Cell("shift", "true", 4, 0)
    embeddings = bank.embeddings(cell, Split.TEST)
    with_identity: list[int] = []
    without: list[int] = []
    for item in data.item.unique().tolist():
        rows = [row for row in range(len(data)) if int(data.item[row]) == item]
        for row in rows:
            query = bank.predictions(cell, Split.TEST, torch.tensor([[rows[0], row]]))[0]
            scores = {other: float(query @ embeddings[other]) for other in rows}
            with_identity.append(sum(score > scores[row] - 1e-6 for score in scores.values()))
            if row != rows[0]:
                without.append(sum(score > scores[row] - 1e-6 for other, score in scores.items() if other != rows[0]))
    found = by_metric(results, "shift", 4)
    for suffix, rank in (("", with_identity), ("(no identity)", without)):
        assert found["mrr" + suffix].value == pytest.approx(sum(1 / place for place in rank) / len(rank))
        for k in (1, 3):
            assert found[f"hit@{k}{suffix}"].value == pytest.approx(sum(place <= k for place in rank) / len(rank))
    assert 0.2 < found["mrr(no identity)"].value < 0.95  # neither perfect nor chance, so that a slip shows


def test_rows_floors_and_cells(make_view_bank: MakeBank) -> None:
    results = list(RetrievalProtocol()(make_view_bank(training_seed=2)))
    assert {(r.protocol, r.target, r.probe, r.split, r.seed) for r in results} == {(RETRIEVAL, "next_state", "-", "test", 2)}
    assert {(r.environment, r.control, r.context_length) for r in results} == {
        (told, "true", length) for told in ("rotation", "shift", "none") for length in (0, 4)
    }
    found = by_metric(results, "none", 4)
    assert found["mrr"].floor == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5 + 1 / 6) / 6)
    assert found["mrr(no identity)"].floor == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5)
    assert [found[f"hit@{k}"].floor for k in (1, 2, 5, 10)] == pytest.approx([1 / 6, 2 / 6, 5 / 6, 1])
    assert found["hit@2(no identity)"].floor == pytest.approx(2 / 5)


def test_a_query_that_is_told_everything_finds_its_target_and_one_told_nothing_does_not(make_view_bank: MakeBank) -> None:
    bank = make_view_bank()
    told = {r.metric: r.value for r in RetrievalProtocol(cells=(EMPTY,))(bank)}
    assert told["hit@1"] == told["mrr"] == told["hit@1(no identity)"] == 1
    alone = by_metric(list(RetrievalProtocol()(bank)), "rotation", 0)
    assert 0.3 < alone["mrr(no identity)"].value < 0.95
    nothing = by_metric(list(RetrievalProtocol()(bank)), "none", 0)
    assert nothing["mrr(no identity)"].value == pytest.approx(nothing["mrr(no identity)"].floor, abs=0.05)


def test_embeddings_that_an_invariant_context_makes_equal_rank_last(make_view_bank: MakeBank) -> None:
    found = by_metric(list(RetrievalProtocol()(make_view_bank())), "none", 4)
    assert found["hit@5"].value == 0 and found["mrr"].value == pytest.approx(1 / 6)
    assert found["mrr(no identity)"].value == pytest.approx(1 / 5)


class Noise(ContextualMethod):
    """Embeds everything at random."""

    def __init__(self, actions: ActionSpace, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.actions, self.encoder = actions, encoder

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        raise AssertionError("an evaluation never trains")

    def predict(self, x: Tensor, action: Tensor, context: object = None) -> Tensor:
        raise AssertionError("not used")

    def embed_target(self, x: Tensor, context: object = None) -> Tensor:
        raise AssertionError("not used")

    def condition_features(self, context: Transitions, environment: Environment) -> Noise:  # type: ignore[override]
        return self

    def embed_features(self, features: Tensor, action: Tensor | None = None) -> Tensor:
        draws = torch.Generator().manual_seed(len(features) if action is None else 1)
        return F.normalize(torch.randn(len(features), 32, generator=draws), dim=-1)


def test_random_embeddings_score_their_floor(make_view_bank: MakeBank) -> None:
    adapter = make_view_bank(num_items=400, num_views=10).adapter
    bank = EmbeddingBank(Noise(adapter.actions, adapter.build_encoder()), adapter, context_lengths=(0,), context_draws=1)
    for row in RetrievalProtocol(cells=(EMPTY,))(bank):
        assert row.value == pytest.approx(row.floor, abs=0.04), row.metric


def test_batches_of_items_do_not_change_numbers(make_view_bank: MakeBank) -> None:
    bank = make_view_bank(leak=0.4)
    one_by_one, at_once = (list(RetrievalProtocol(memory=memory)(bank)) for memory in (1, 2**28))
    assert one_by_one == at_once


def test_items_and_split_are_a_choice(make_view_bank: MakeBank) -> None:
    bank = make_view_bank(leak=0.4)
    train = list(RetrievalProtocol(split="train", num_items=7)(bank))  # type: ignore[arg-type]
    assert {r.split for r in train} == {"train"}
    assert RetrievalProtocol(num_items=7)._views(bank).shape == (7, 6)
    assert len(RetrievalProtocol(num_items=1000)._views(bank)) == len(bank.labelled(Split.TEST).item.unique())


@pytest.mark.parametrize(("rows", "message"), [(slice(1, None), "from 5 to 6"), (slice(0, None, 6), "at least two views")])
def test_items_of_unequal_or_single_views_are_refused(
    make_view_bank: MakeBank, monkeypatch: pytest.MonkeyPatch, rows: slice, message: str
) -> None:
    bank = make_view_bank()
    data = bank.labelled(Split.TEST)
    targets = tuple(replace(target, values=target.values[rows]) for target in data.targets)
    fewer = LabelledData(data.inputs[rows], data.item[rows], data.latent[rows], targets)
    monkeypatch.setattr(bank, "labelled", lambda split: fewer)
    with pytest.raises(ValueError, match=message):
        list(RetrievalProtocol()(bank))
