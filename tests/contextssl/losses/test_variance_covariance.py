"""Variance and covariance terms against numpy, and against the limits that define them."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from contextssl.losses.variance_covariance import covariance_penalty, variance_hinge


def rows(count=9, width=5, seed=0, scale=1.0):
    return scale * torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(1, 6), st.sampled_from([0.2, 1.0, 3.0]), st.integers(0, 10**6))
def test_both_terms_equal_numpy(count, width, scale, seed):
    x = rows(count, width, seed, scale)
    columns = x.double().numpy().T
    short = [max(0.0, 1 - math.sqrt(np.var(column, ddof=1) + 1e-4)) for column in columns]
    assert variance_hinge(x).item() == pytest.approx(np.mean(short), abs=1e-5)
    covariance = np.atleast_2d(np.cov(columns))
    np.fill_diagonal(covariance, 0)
    assert covariance_penalty(x).item() == pytest.approx((covariance**2).sum() / width, rel=1e-4, abs=1e-5)


def test_equal_rows_have_the_whole_hinge_and_no_covariance():
    constant = torch.full((6, 4), 3.0, requires_grad=True)
    assert variance_hinge(constant).item() == pytest.approx(0.99)  # 1 - sqrt(1e-4)
    assert covariance_penalty(constant).item() == 0
    variance_hinge(constant).backward()
    assert constant.grad.isfinite().all()


def test_spread_and_uncorrelated_dimensions_cost_nothing():
    balanced = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])  # orthogonal columns of mean zero
    assert variance_hinge(balanced).item() == 0
    assert covariance_penalty(balanced).item() == 0
    assert variance_hinge(0.3 * balanced).item() == pytest.approx(1 - math.sqrt(0.09 * 4 / 3 + 1e-4))


def test_covariance_of_copies_is_the_square_of_their_variance():
    column = torch.tensor([1.0, -1, 1, -1]).unsqueeze(1)
    variance = 4 / 3
    assert covariance_penalty(column.expand(-1, 3)).item() == pytest.approx(6 * variance**2 / 3)
    assert covariance_penalty(torch.cat([column, -column], dim=1)).item() == pytest.approx(variance**2)


def test_neither_depends_on_the_mean_or_the_order():
    x = rows()
    for term in (variance_hinge, covariance_penalty):
        torch.testing.assert_close(term(x + 5), term(x), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(term(x.flip(0).flip(1)), term(x))
    torch.testing.assert_close(covariance_penalty(2 * x), 16 * covariance_penalty(x))


def test_half_precision_is_left_outside():
    x = rows(64, 16)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(covariance_penalty(x), covariance_penalty(x.double()).float(), rtol=1e-5, atol=0)
