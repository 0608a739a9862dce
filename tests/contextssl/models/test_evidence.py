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
