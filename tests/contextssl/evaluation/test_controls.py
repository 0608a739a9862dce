"""Controls must lie about values and about nothing else."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.actions import ActionSpace, Environment, Group, Kind
from contextssl.evaluation.controls import noise_actions, shuffled_actions, wrong_environment

SPACE = ActionSpace([Group("turn", 2, 1, Kind.REAL, "turns"), Group("side", 2, 1, Kind.SWITCH, "one-hot")])


@settings(max_examples=30, deadline=None)
@given(length=st.integers(2, 40), seed=st.integers(0, 1000))
def test_shuffling_moves_every_action_and_loses_none(length: int, seed: int) -> None:
    action = torch.arange(2 * length).view(1, length, 2).float()
    moved = shuffled_actions(action, torch.Generator().manual_seed(seed))
    assert (moved != action).all()
    torch.testing.assert_close(moved.sort(dim=1).values, action)
    assert (moved[0, :, 1] - moved[0, :, 0] == 1).all()  # actions move whole


def test_one_pair_cannot_be_shuffled_and_none_is_no_error() -> None:
    action = torch.randn(1, 1, 3)
    torch.testing.assert_close(shuffled_actions(action, torch.Generator().manual_seed(0)), action)
    assert shuffled_actions(action[:, :0], torch.Generator().manual_seed(0)).shape == (1, 0, 3)
    assert noise_actions(torch.randn(1, 0, 4), SPACE, torch.Generator().manual_seed(0)).shape == (1, 0, 4)


def test_noise_has_the_size_of_each_coordinate_and_no_relation_to_it() -> None:
    generator = torch.Generator().manual_seed(0)
    turn = torch.randn(1, 4000, 2, generator=generator) * torch.tensor([0.1, 5.0]) + torch.tensor([0.2, 0.0])
    side = torch.nn.functional.one_hot((torch.rand(1, 4000, generator=generator) < 0.3).long(), 2).float() * 6
    noise = noise_actions(torch.cat([turn, side], -1), SPACE, generator)
    torch.testing.assert_close(noise[0, :, :2].square().mean(0).sqrt(), turn[0].square().mean(0).sqrt(), rtol=0.05, atol=0)
    assert noise[0, :, :2].mean(0).abs().div(turn[0].square().mean(0).sqrt()).max() < 0.05
    assert {tuple(code) for code in noise[0, :, 2:].tolist()} == {(0.0, 6.0), (6.0, 0.0)}
    torch.testing.assert_close(noise[0, :, 2:].mean(0), side[0].mean(0), rtol=0.1, atol=0)
    together = torch.corrcoef(torch.stack([noise[0, :, 2], side[0, :, 0]]))[0, 1]
    assert together.abs() < 0.05


def test_a_switch_never_gets_its_own_pairs_code_by_design() -> None:
    action = torch.zeros(1, 5, 4)
    action[0, :, 2] = torch.arange(5.0)
    drawn = noise_actions(action, SPACE, torch.Generator().manual_seed(0))[0, :, 2]
    assert (drawn != torch.arange(5.0)).all()


def test_noise_leaves_empty_coordinates_empty() -> None:
    action = torch.randn(1, 50, 4)
    action[..., 1] = 0
    assert (noise_actions(action, SPACE, torch.Generator().manual_seed(0))[..., 1] == 0).all()


def test_the_wrong_group_is_one_that_is_not_told() -> None:
    three = ActionSpace([Group(name, 1, 1, Kind.REAL, "") for name in "abc"])
    told = lambda *names: Environment(tuple(names))  # noqa: E731
    assert wrong_environment(told("a"), three) == told("b")
    assert wrong_environment(told("c"), three) == told("a")
    assert wrong_environment(told("a", "b"), three) == told("c")
    assert wrong_environment(told(), three) is None
    assert wrong_environment(told("a", "b", "c"), three) is None
