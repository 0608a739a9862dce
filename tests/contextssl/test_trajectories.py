"""Sequences of one item: every transition starts where the one before it ended, in all ready-made adapters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import DomainAdapter, Split
from contextssl.adapters import FlippedColumn, NearestRows, TableAdapter, TransformedItems, ViewsAdapter, trajectory
from contextssl.adapters.trajectories import distinct_views
from contextssl.batch import Transitions
from contextssl.testing import ToyAdapter

SHIFT = ActionSpace([Group("shift", 1, 1, Kind.REAL, "lengths")])
NUM_ITEMS, NUM_VIEWS = 20, 5


def encoder() -> nn.Module:
    return nn.Identity()


def views_adapter(**given: object) -> ViewsAdapter:
    """A view says which item and which view it is; its latent is ten times the item and the view."""
    item, view = torch.meshgrid(torch.arange(NUM_ITEMS), torch.arange(NUM_VIEWS), indexing="ij")
    latent = (10.0 * item + view).unsqueeze(-1)
    return ViewsAdapter(torch.stack([item, view], dim=-1).float(), latent, SHIFT, [], encoder=encoder, **given)  # type: ignore[arg-type]


def moved(items: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    shift = torch.rand(len(items), 1, generator=draws)
    return torch.cat([items, items + shift], dim=1), shift


def transformed_adapter(**given: object) -> TransformedItems:
    """A view is (item, item + shift)."""
    return TransformedItems(torch.arange(NUM_ITEMS).view(-1, 1), moved, SHIFT, [], encoder=encoder, **given)  # type: ignore[arg-type]


TABLE = torch.cat([torch.randn(120, 3, generator=torch.Generator().manual_seed(0)), (torch.arange(120) % 2).float()[:, None]], 1)


def table_adapter(pairing: object = None, **given: object) -> TableAdapter:
    return TableAdapter(TABLE, 3, [], encoder=encoder, pairing=pairing, **given)  # type: ignore[arg-type]


ADAPTERS: dict[str, Callable[..., DomainAdapter]] = {
    "views": views_adapter, "transformed": transformed_adapter, "table": table_adapter, "toy": ToyAdapter,
}  # fmt: skip


def shown(sequence: Transitions) -> Tensor:
    """The T + 1 views of a sequence."""
    return torch.cat([sequence.state[0, :1], sequence.next_state[0]])


def chained(sequence: Transitions) -> bool:
    return torch.equal(sequence.state[:, 1:], sequence.next_state[:, :-1]) and torch.equal(
        sequence.latent[:, 1:, 0], sequence.latent[:, :-1, 1]
    )


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(ADAPTERS)), st.integers(0, 9), st.integers(0, 50), st.sampled_from(list(Split)))
def test_every_sequence_is_a_chain_of_that_length(name: str, length: int, index: int, split: Split) -> None:
    adapter = ADAPTERS[name](trajectories=True)
    for sequence in (adapter.train_sequences(length, 1)[index], adapter.held_out(length, 3, index, split)):
        assert sequence.length == length and chained(sequence)


@pytest.mark.parametrize("name", ADAPTERS)
def test_without_the_option_sequences_show_different_items_and_scales_are_the_same(name: str) -> None:
    plain, offered = ADAPTERS[name](), ADAPTERS[name](trajectories=True)
    assert (plain.trajectories, offered.trajectories) == (False, True)
    assert not chained(plain.train_sequences(4, 0)[0])
    assert torch.equal(plain.actions.action_scale, offered.actions.action_scale)
    assert torch.equal(plain.labelled(Split.TEST).inputs, offered.labelled(Split.TEST).inputs)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(0, 99))
def test_views_come_again_only_after_all_others_and_actions_are_their_differences(length: int, index: int) -> None:
    adapter = views_adapter(trajectories=True)
    sequence = adapter.train_sequences(length, 0)[index]
    item, view = shown(sequence).T
    assert len(item.unique()) == 1 and int(item[0]) in adapter.items[Split.TRAIN].tolist()
    for start in range(0, length + 1, NUM_VIEWS):
        part = view[start : start + NUM_VIEWS]
        assert len(part.unique()) == len(part)
    assert torch.equal(sequence.action[0, :, 0], view[1:] - view[:-1])


def test_every_view_is_as_likely_as_any_other_at_any_place() -> None:
    sequences = views_adapter(trajectories=True).train_sequences(2, 0)
    places = torch.stack([shown(sequences[index])[:, 1].long() for index in range(1500)])
    for place in places.T:
        assert (place.bincount(minlength=NUM_VIEWS) - 300).abs().max() < 70


def test_all_items_of_the_split_are_shown() -> None:
    adapter = views_adapter(trajectories=True)
    sequences = adapter.train_sequences(2, 0)
    assert {int(sequences[index].state[0, 0, 0]) for index in range(200)} == set(adapter.items[Split.TRAIN].tolist())
    assert len(sequences) == len(adapter.items[Split.TRAIN])


def test_transformed_views_are_all_of_one_item_and_fresh() -> None:
    sequence = transformed_adapter(trajectories=True).held_out(6, 1, 0)
    item, place = shown(sequence).T
    assert len(item.unique()) == 1
    parameters = torch.cat([sequence.latent[0, :1, 0, 0], sequence.latent[0, :, 1, 0]])
    torch.testing.assert_close(place - item, parameters)
    assert len(parameters.unique()) == 7


def test_rows_of_a_table_are_followed_by_partners_of_the_first_one() -> None:
    adapter = table_adapter(NearestRows(num_neighbours=4), trajectories=True)
    members = TABLE[adapter.items[Split.TRAIN]]
    others = (members[:, :3] - members[:, :3].mean(0)) / members[:, :3].std(0)
    for index in range(20):
        sequence = adapter.train_sequences(8, 0)[index]
        rows = [(members == row).all(1).nonzero().item() for row in shown(sequence)]
        distance = (others - others[rows[0]]).norm(dim=1)
        for row, action in zip(rows[1:], sequence.action[0], strict=True):
            value = members[row, 3]
            rivals = ((distance < distance[row]) & (members[:, 3] == value)).sum() - (members[rows[0], 3] == value).long()
            assert row != rows[0] and rivals < 4
            assert action.tolist() == [value, 1 - value]


def test_a_flipped_row_stays_the_row() -> None:
    sequence = table_adapter(FlippedColumn(corruption=0), trajectories=True).held_out(6, 1, 3)
    assert (shown(sequence)[:, :3] == shown(sequence)[0, :3]).all()
    assert len(shown(sequence)[:, 3].unique()) == 2


def test_the_function_tells_relative_of_both_views() -> None:
    views, latent = torch.arange(8.0).view(4, 2), torch.tensor([[1.0], [3.0], [2.0], [7.0]])
    made = trajectory(views, latent, lambda t_x, t_y: torch.cat([t_x, t_y], dim=1))
    assert made.action.tolist() == [[[1, 3], [3, 2], [2, 7]]]
    assert made.latent.tolist() == [[[[1], [3]], [[3], [2]], [[2], [7]]]]
    assert torch.equal(made.state[0], views[:3]) and torch.equal(made.next_state[0], views[1:])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 20), st.integers(0, 5))
def test_distinct_views_are_permutations_over_again(num_views: int, count: int, seed: int) -> None:
    chosen = distinct_views(num_views, count, torch.Generator().manual_seed(seed))
    assert len(chosen) == count
    for start in range(0, count - num_views + 1):
        assert sorted(chosen[start : start + num_views].tolist()) == list(range(num_views))
