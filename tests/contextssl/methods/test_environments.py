"""EnvironmentSampler: how often, to whom, and what decoys are."""

from collections import Counter

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.batch import Transitions
from contextssl.methods.environments import EnvironmentSampler, shuffled

SPACE = ActionSpace([Group("turn", 2, 1, Kind.REAL, ""), Group("shift", 1, 2, Kind.REAL, "")])


def batch(num_sequences, length=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    item = torch.zeros(num_sequences, length, 1)
    return Transitions(
        item, torch.randn(num_sequences, length, 3, generator=generator), item, torch.zeros(num_sequences, length, 2, 3)
    )


def draw(sampler, num_sequences, seed=0, length=5):
    return sampler.draw(batch(num_sequences, length), SPACE, torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any), st.integers(1, 40), st.integers(0, 10**6))
def test_each_batch_holds_every_environment_in_its_share(weights, num_sequences, seed):
    """Stratification: the count of an environment is its expected number, rounded up or down."""
    names = ["turn", "shift", "all", "none"]
    shares = [weight / sum(weights) for weight in weights]
    told = draw(EnvironmentSampler(dict(zip(names, shares, strict=True))), num_sequences, seed)
    counts = Counter(map(tuple, told.groups.int().tolist()))
    for groups, share in zip([(1, 0), (0, 1), (1, 1), (0, 0)], shares, strict=True):
        assert abs(counts[groups] - share * num_sequences) < 1 + 1e-4


def test_each_position_of_the_batch_sees_all_environments():
    sampler = EnvironmentSampler({"turn": 0.25, "shift": 0.75})
    told = torch.stack([draw(sampler, 4, seed).groups for seed in range(400)])
    assert (told[:, :, 0].sum(1) == 1).all()
    assert (told[:, :, 0].mean(0) - 0.25).abs().max() < 0.08


def test_one_draw_for_all_when_not_per_sequence():
    sampler = EnvironmentSampler({"turn": 0.5, "shift": 0.5}, per_sequence=False)
    told = torch.stack([draw(sampler, 6, seed).groups for seed in range(200)])
    assert (told == told[:, :1]).all()
    assert 0.4 < told[:, 0, 0].mean() < 0.6


def test_told_actions_are_the_true_ones_and_hidden_ones_zero():
    told = draw(EnvironmentSampler({"turn": 0.5, "shift": 0.5}), 8)
    action = batch(8).action
    for sequence in range(8):
        turn = told.groups[sequence].tolist() == [1, 0]
        expected = action[sequence] * torch.tensor([1.0, 1, 0] if turn else [0.0, 0, 1])
        assert torch.equal(told.action[sequence], expected)
        assert torch.equal(told.shown[sequence], torch.tensor([1.0, 1, 0] if turn else [0.0, 0, 1]))


def test_decoys_permute_the_sequence_s_own_actions_and_count_as_not_told():
    told = draw(EnvironmentSampler({"turn": 1.0}, decoy_share=0.5), 8, length=6)
    action = batch(8, 6).action
    decoys = told.groups[:, 0] == 0
    assert decoys.sum() == 4
    assert (told.shown == torch.tensor([1.0, 1, 0])).all()
    assert torch.equal(told.action[~decoys], action[~decoys] * torch.tensor([1.0, 1, 0]))
    for shown, own in zip(told.action[decoys][..., :2], action[decoys][..., :2], strict=True):
        assert not torch.equal(shown, own)
        assert sorted(shown.tolist()) == sorted(own.tolist())  # whole actions move, coordinates stay together


def test_sequences_that_are_told_nothing_have_no_decoys():
    told = draw(EnvironmentSampler({"none": 0.5, "turn": 0.5}, decoy_share=0.5), 16)
    assert (told.shown.sum(1) == 0).sum() == 8
    assert ((told.shown.sum(1) > 0) & (told.groups.sum(1) == 0)).sum() == 4
    assert (told.action[told.shown.sum(1) == 0] == 0).all()


def test_shuffling_gives_every_sequence_an_order_of_its_own():
    action = torch.arange(30.0).view(1, 30, 1).repeat(2, 1, 1)
    mixed = shuffled(action, torch.Generator().manual_seed(0))
    assert not torch.equal(mixed[0], mixed[1])
    assert torch.equal(mixed.sort(1).values, action)


def test_draws_follow_the_generator():
    sampler = EnvironmentSampler({"turn": 0.4, "shift": 0.6}, decoy_share=0.3)
    assert torch.equal(draw(sampler, 10, 5).action, draw(sampler, 10, 5).action)
    assert any(not torch.equal(draw(sampler, 10, 5).action, draw(sampler, 10, seed).action) for seed in (6, 7, 8))


@pytest.mark.parametrize("probabilities", [{"turn": 0.4, "shift": 0.4}, {"turn": 1.5, "shift": -0.5}, {}])
def test_probabilities_must_sum_to_one(probabilities):
    with pytest.raises(ValueError, match="non-negative and sum to 1"):
        EnvironmentSampler(probabilities)


def test_unknown_environments_and_shares_are_refused():
    with pytest.raises(ValueError, match="unknown group 'colour'"):
        draw(EnvironmentSampler({"colour": 1.0}), 2)
    with pytest.raises(ValueError, match="decoy_share: expected 0 <= share < 1, found 1"):
        EnvironmentSampler({"turn": 1.0}, decoy_share=1.0)


def test_without_probabilities_every_group_is_told_alone_equally_often():
    assert draw(EnvironmentSampler(), 8).groups.sum(0).tolist() == [4, 4]
    assert (draw(EnvironmentSampler(), 8).groups.sum(1) == 1).all()
    alone = ActionSpace([Group("sex", 3, 3, Kind.REAL, "")])
    told = EnvironmentSampler().draw(batch(8), alone, torch.Generator().manual_seed(0))
    assert told.groups.sum().item() == 4  # a single group is told or not


def test_a_decoy_is_one_from_its_first_misfit_on():
    told = draw(EnvironmentSampler({"turn": 1.0}, decoy_share=0.5), 40, length=3)
    action, after = batch(40, 3).action[..., :2], [told.groups_after(torch.full((40,), pairs)) for pairs in range(4)]
    for sequence in range(40):
        misfits = [pair for pair in range(3) if not torch.equal(told.action[sequence, pair, :2], action[sequence, pair])]
        for pairs in range(4):
            assert after[pairs][sequence].tolist() == [float(not any(m < pairs for m in misfits)), 0.0]
    assert torch.equal(after[0], torch.tensor([[1.0, 0.0]]).expand(40, 2))
    assert 18 <= after[3][:, 0].sum() < 26  # 20 true sequences, and decoys whose permutation happens to be the identity
    assert (after[1] - after[3])[:, 0].sum() > 0  # some decoys begin with a pair that fits
