"""Differences of two rows, against scipy's own tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from contextssl.reproduction.noise import difference


def test_shared_seeds_are_paired() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=5), rng.normal(size=5)
    found = difference(dict(enumerate(a)), {**dict(enumerate(b)), 9: 100.0})
    low, high = ttest_rel(a, b).confidence_interval(0.95)
    assert found is not None and found.paired and found.num == 5
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(a - b), low, high))


def test_other_seeds_are_two_samples() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=4), rng.normal(3, 5, size=6)
    found = difference(dict(enumerate(a)), {seed + 3: value for seed, value in enumerate(b)})  # one shared seed is no pairing
    low, high = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found is not None and not found.paired and found.num == 4
    assert (found.low, found.high) == pytest.approx((low, high))


def test_what_differs_beyond_noise() -> None:
    hard = {seed: float(seed) for seed in range(3)}
    shifted = {seed: value + 0.1 + 0.001 * seed for seed, value in hard.items()}
    assert difference(shifted, hard).beyond_noise and difference(hard, shifted).beyond_noise
    assert not difference({0: 1.0, 1: 2.0, 2: 3.0}, {0: 1.1, 1: 1.8, 2: 3.2}).beyond_noise


@pytest.mark.parametrize(("a", "b"), [({0: 1.0}, {0: 2.0}), ({}, {0: 1.0, 1: 2.0}), ({0: 1.0, 1: 2.0}, {5: 1.0})])
def test_too_few_seeds_say_nothing(a: dict[int, float], b: dict[int, float]) -> None:
    assert difference(a, b) is None


def test_equal_numbers_are_no_difference() -> None:
    found = difference({0: 1.0, 1: 1.0}, {5: 1.0, 6: 1.0})
    assert found is not None and found.mean == 0 and not found.beyond_noise
