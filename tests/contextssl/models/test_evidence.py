"""Pair evidence: nothing told is no evidence, and averages tell true actions from shuffled ones."""

import torch

from contextssl.models.evidence import PairEvidence


def test_nothing_told_is_no_evidence():
    torch.manual_seed(0)
    evidence = PairEvidence(6, 2, 8)
    assert (evidence(torch.randn(5, 6), torch.zeros(5, 2)) == 0).all()


def test_it_is_bilinear():
    torch.manual_seed(0)
    evidence, pair, action = PairEvidence(6, 2, 8), torch.randn(5, 6), torch.randn(5, 2)
    torch.testing.assert_close(evidence(pair, 3 * action), 3 * evidence(pair, action), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(
        evidence(pair, action + 1), evidence(pair, action) + evidence(pair, torch.ones(5, 2)), atol=1e-6, rtol=1e-4
    )


def test_its_mean_over_pairs_is_linear_in_their_covariance_with_the_actions():
    """The same items and the same actions, in their order and in another one, have different means."""
    torch.manual_seed(0)
    evidence = PairEvidence(4, 1, 16)
    sign = torch.where(torch.rand(2000, 1) < 0.5, -1.0, 1.0)
    pair = torch.randn(2000, 4)
    pair[:, :1] += sign
    true, shuffled = evidence(pair, sign).mean(0), evidence(pair, sign[torch.randperm(2000)]).mean(0)
    expected = evidence.mix(evidence.from_pair.weight[:, 0] * evidence.from_action.weight[:, 0])
    torch.testing.assert_close(true - shuffled, expected, atol=0.05, rtol=0)
    assert expected.norm() > 0.1


def test_misreading_is_one_for_silence_and_zero_for_the_actions_own_factor():
    torch.manual_seed(0)
    evidence, action = PairEvidence(2, 2, 8), torch.randn(50, 2)
    with torch.no_grad():
        evidence.from_pair.bias.zero_()
        evidence.from_pair.weight.copy_(evidence.from_action.weight)
    torch.testing.assert_close(evidence.misreading(action, action), torch.tensor(0.0))
    torch.testing.assert_close(evidence.misreading(torch.zeros(50, 2), action), torch.tensor(1.0))
    torch.testing.assert_close(evidence.misreading(3 * action, action), torch.tensor(4.0))


def test_misreading_teaches_the_pairs_factor_and_the_features_only():
    torch.manual_seed(0)
    evidence, pair = PairEvidence(6, 2, 8), torch.randn(5, 6, requires_grad=True)
    evidence.misreading(pair, torch.randn(5, 2)).backward()
    assert pair.grad.any() and evidence.from_pair.weight.grad.any()
    assert evidence.from_action.weight.grad is None


def test_read_pairs_tell_true_actions_from_shuffled_ones():
    """Once pairs are read, the sum of the products over a few pairs is larger for their own actions than for others'."""
    torch.manual_seed(0)
    evidence = PairEvidence(4, 2, 32)
    optimizer = torch.optim.Adam(evidence.parameters(), lr=0.02)
    for _ in range(100):
        action = torch.randn(256, 2)
        pair = torch.cat([action + torch.randn(256, 2), torch.randn(256, 2)], dim=1)  # half of their variance is the action
        optimizer.zero_grad()
        evidence.misreading(pair, action).backward()
        optimizer.step()
    action = torch.randn(200, 15, 2)
    pair = torch.cat([action + torch.randn(200, 15, 2), torch.randn(200, 15, 2)], dim=-1)
    own, others = ((evidence.from_pair(pair) * evidence.from_action(a)).sum((1, 2)) for a in (action, action.roll(1, 1)))
    assert (own > others).float().mean() > 0.97
