"""Paired differences of two runs, against scipy's own paired test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from contextssl.evaluation.paired import paired_differences
from contextssl.evaluation.results import Result

ROW = Result("p/1", "income", "linear", "accuracy", "sex", "true", 14, 0, 0, "test", 0.5)


def rows(values: list[float], **where: object) -> list[Result]:
    return [replace(ROW, context_draw=draw, value=value, **where) for draw, value in enumerate(values)]


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=6), rng.normal(size=6)
    (found,) = paired_differences(rows(a.tolist()), rows(b.tolist())[::-1])
    low, high = ttest_rel(b, a).confidence_interval(0.95)
    np.testing.assert_allclose((found.mean, found.low, found.high), (np.mean(b - a), low, high))
    assert found.num_pairs == 6 and found.a == pytest.approx(a.mean()) and found.b == pytest.approx(b.mean())


def test_a_shared_difficulty_of_draws_cancels() -> None:
    hard = np.linspace(0, 10, 5)
    (found,) = paired_differences(rows(list(hard)), rows(list(hard + 0.25)))
    assert found.mean == pytest.approx(0.25) and found.high - found.low < 1e-9


def test_only_what_both_measured_is_compared_and_seeds_pair_only_when_there_are_several() -> None:
    a = rows([1.0, 2.0]) + rows([5.0], metric="auroc") + rows([9.0], control="noise")
    b = rows([2.0], seed=7) + rows([7.0], metric="auroc", seed=7)
    assert [(d.metric, d.mean, d.num_pairs, d.low) for d in paired_differences(a, b)] == [
        ("accuracy", 1.0, 1, None),
        ("auroc", 2.0, 1, None),
    ]
    several = rows([1.0], seed=0) + rows([4.0], seed=1)
    (found,) = paired_differences(several, rows([2.0], seed=1) + rows([3.0], seed=0))
    assert found.mean == pytest.approx(0.0) and found.num_pairs == 2


def test_runs_without_a_common_measurement_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="the two runs share no measurement"):
        paired_differences(rows([1.0]), rows([1.0], target="sex"))
