"""Classes read from aggregates of views: against a slow path, with a planted class, and which views are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import ProbeTarget, Split
from contextssl.adapters import ViewsAdapter
from contextssl.batch import Transitions
from contextssl.evaluation.aggregate import AggregateProtocol
from contextssl.evaluation.embeddings import FEATURES, EmbeddingBank
from contextssl.evaluation.pairs import draw_views
from contextssl.evaluation.probe import LinearProbe
from contextssl.method import Method
from contextssl.methods.seq_jepa import SeqJEPA
from contextssl.models.aggregator import Aggregator
from contextssl.testing import TinyEncoder

NUM_ITEMS, NUM_VIEWS = 150, 6


class Identity(nn.Module):
    out_dim = 2

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class Mean(Method):
    """Aggregates by subtracting each view's path from the first one and averaging; noisy in training mode."""

    def __init__(self, actions: ActionSpace) -> None:
        super().__init__()
        self.encoder, self.actions = Identity(), actions

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        raise AssertionError("an evaluation never trains")

    def aggregate_features(self, features: Tensor, action: Tensor) -> Tensor:
        path = nn.functional.pad(action.cumsum(1), (0, 0, 1, 0))
        back = torch.cat([features[..., :1] - path, features[..., 1:]], dim=-1)
        return back.mean(1) + (torch.rand_like(back[:, 0]) if self.training else 0)


def domain(seed: int = 0) -> ViewsAdapter:
    """A view is (item's place + shift, noise around the item's class); a view alone says little about the class."""
    draws = torch.Generator().manual_seed(seed)
    place, kind = 10 * torch.randn(NUM_ITEMS, 1, generator=draws), torch.arange(NUM_ITEMS) % 2
    shift = torch.randn(NUM_ITEMS, NUM_VIEWS, 1, generator=draws)
    hint = (kind.view(-1, 1, 1) - 0.5) + 1.5 * torch.randn(NUM_ITEMS, NUM_VIEWS, 1, generator=draws)
    views = torch.cat([place.unsqueeze(1) + shift, hint], dim=-1)
    targets = [ProbeTarget("kind", kind, 2), ProbeTarget("place", place)]
    actions = ActionSpace([Group("shift", 1, 1, Kind.REAL, "lengths")])
    return ViewsAdapter(views, shift, actions, targets, encoder=Identity, shares=(0.2, 0.3))


@pytest.fixture
def bank() -> EmbeddingBank:
    adapter = domain()
    return EmbeddingBank(Mean(adapter.actions), adapter, method_name="mean", training_seed=3, batch_size=64)


@pytest.mark.parametrize("num_views", [1, 3, 5])
def test_aggregates_are_those_of_the_views_one_by_one(bank: EmbeddingBank, num_views: int) -> None:
    protocol = AggregateProtocol(num_views=num_views)
    for sample in protocol.samples(bank):
        data, found = bank.labelled(sample.split), protocol.inputs(bank, FEATURES, sample, None)
        assert len(found) == len(sample.rows) and not found.requires_grad
        for rows, aggregate in list(zip(sample.rows.tolist(), found, strict=True))[:40]:
            assert len(set(rows)) == num_views and len(data.item[rows].unique()) == 1
            start = data.latent[rows[0], 0]
            expected = torch.stack(
                [torch.stack([data.inputs[row, 0] - (data.latent[row, 0] - start), data.inputs[row, 1]]) for row in rows]
            ).mean(0)
            torch.testing.assert_close(aggregate, expected, rtol=1e-5, atol=1e-5)


def test_more_views_say_more_and_rows_carry_their_floor(bank: EmbeddingBank) -> None:
    found = {}
    for num_views in (1, 3, 5):
        rows = list(AggregateProtocol(num_views=num_views, probes=(LinearProbe(),))(bank))
        suffix = "from_1_view" if num_views == 1 else f"from_{num_views}_views"
        assert {row.target for row in rows} == {f"kind_{suffix}", f"place_{suffix}"}
        assert {(row.protocol, row.environment, row.control, row.context_length) for row in rows} == {
            ("aggregate-probe/1", "-", "-", 0)
        }
        assert {(row.method, row.seed, row.split) for row in rows} == {("mean", 3, "test")}
        values = {(row.target.partition("_")[0], row.metric): row for row in rows}
        found[num_views] = values["kind", "auroc"].value
        assert values["kind", "auroc"].floor == 0.5
        classes = bank.labelled(Split.TEST).target("kind").values
        assert values["kind", "accuracy"].floor == pytest.approx(classes.float().mean().item(), abs=0.51)
        assert values["place", "r2_dim_mean"].value > 0.98 and values["place", "r2_dim_mean"].floor == pytest.approx(0, abs=0.1)
    assert 0.55 < found[1] < found[3] - 0.03 < found[5] - 0.03


def test_the_parts_are_of_different_items_and_the_seed_decides(bank: EmbeddingBank) -> None:
    protocol = AggregateProtocol(num_views=3, num_train=100, num_choose=50)
    fit, choose, report = protocol.samples(bank)
    assert [part.split for part in (fit, choose, report)] == [Split.TRAIN, Split.VALIDATION, Split.TEST]
    assert [len(part.rows) for part in (fit, choose, report)] == [100, 50, 4 * 45]
    items = bank.labelled(Split.TRAIN).item[fit.rows[:, 0]]
    assert len(items.unique()) > 50  # the first draws are of items at random
    again, other = AggregateProtocol(num_views=3), AggregateProtocol(num_views=3, seed=1)
    assert torch.equal(again.samples(bank)[0].rows[:100], fit.rows)
    assert not torch.equal(other.samples(bank)[0].rows[:100], fit.rows)


def test_on_validation_items_a_tenth_of_training_takes_their_place(bank: EmbeddingBank) -> None:
    fit, choose, report = AggregateProtocol(num_views=2, split=Split.VALIDATION).samples(bank)
    items = [set(bank.labelled(part.split).item[part.rows[:, 0]].tolist()) for part in (fit, choose, report)]
    assert not items[0] & items[1] and items[0] | items[1] == set(bank.labelled(Split.TRAIN).item.tolist())
    assert items[2] == set(bank.labelled(Split.VALIDATION).item.tolist())


def test_a_method_without_aggregates_has_no_rows_and_too_few_views_are_refused(
    bank: EmbeddingBank, make_bank: Callable[..., EmbeddingBank]
) -> None:
    assert list(AggregateProtocol()(make_bank())) == []
    with pytest.raises(ValueError, match="75 of 75 items have fewer than 7 views; set num_views to 6 or less"):
        list(AggregateProtocol(num_views=7)(bank))


def test_seq_jepa_is_read_in_eval_mode_and_from_features_encoded_once() -> None:
    adapter = domain()
    torch.manual_seed(0)
    model = SeqJEPA(
        TinyEncoder(in_dim=2, out_dim=6), adapter.actions, num_steps=5, aggregator=lambda width: Aggregator(width, num_layers=1),
        action_embedding_dim=2, predictor_dim=4,
    ).train()  # fmt: skip
    bank, protocol = EmbeddingBank(model, adapter), AggregateProtocol(num_views=3)
    sample = protocol.samples(bank)[2]
    found = protocol.inputs(bank, FEATURES, sample, None)
    assert model.training and model.aggregator.training
    data, rows = bank.labelled(sample.split), sample.rows
    action = data.latent[rows[:, 1:]] - data.latent[rows[:, :-1]]
    with torch.no_grad():
        torch.testing.assert_close(found, model.eval().aggregate(data.inputs[rows], action), rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 5), min_size=1, max_size=6), st.integers(1, 2), st.integers(1, 4), st.integers(0, 1000))
def test_every_item_has_its_draws_of_different_views(counts: list[int], num_views: int, per_item: int, seed: int) -> None:
    item = torch.tensor([10 * index for index, count in enumerate(counts) for _ in range(count)])
    item = item[torch.randperm(len(item), generator=torch.Generator().manual_seed(seed))]
    draws = draw_views(item, num_views, per_item, torch.Generator().manual_seed(seed))
    assert draws.shape == (per_item * len(counts), num_views)
    assert all(len(set(rows)) == num_views and len(item[rows].unique()) == 1 for rows in draws.tolist())
    assert Counter(item[draws[:, 0]].tolist()) == {10 * index: per_item for index in range(len(counts))}


def test_every_ordered_draw_is_as_likely() -> None:
    item = torch.tensor([5, 1, 5, 5, 1, 1, 1])
    draws = Counter(tuple(rows) for rows in draw_views(item, 3, 6000, torch.Generator().manual_seed(0)).tolist())
    expected = {(x, y, z): 1000 for x in (0, 2, 3) for y in (0, 2, 3) for z in (0, 2, 3) if len({x, y, z}) == 3}
    expected |= {(x, y, z): 250 for x in (1, 4, 5, 6) for y in (1, 4, 5, 6) for z in (1, 4, 5, 6) if len({x, y, z}) == 3}
    assert {rows: pytest.approx(count, abs=0.1 * count + 40) for rows, count in draws.items()} == expected
