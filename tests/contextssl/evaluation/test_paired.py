"""Paired differences of two runs, against scipy's own paired test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from contextssl.evaluation.paired import Context, paired_contexts, paired_differences
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


TOLD, UNTOLD, EMPTY = Context("sex", "true", 126), Context("none", "true", 126), Context("-", "empty", 0)


def after(context: Context, values: list[float], **where: object) -> list[Result]:
    place = {"environment": context.environment, "control": context.control, "context_length": context.length}
    return rows(values, **place, **where)


def test_contexts_of_one_seed_are_paired_by_draw() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=5), rng.normal(size=5)
    (found,) = paired_contexts(after(TOLD, a.tolist()) + after(UNTOLD, b.tolist()), TOLD, UNTOLD)
    expected = ttest_rel(b, a)
    assert found.p_value == pytest.approx(expected.pvalue)
    np.testing.assert_allclose((found.low, found.high), expected.confidence_interval(0.95))
    assert (found.environment, found.context_length, found.num_pairs) == ("none", 126, 5)


def test_draws_of_a_seed_are_no_independent_pairs() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    results = [
        row for seed in range(4) for row in after(TOLD, a[seed].tolist(), seed=seed) + after(UNTOLD, b[seed].tolist(), seed=seed)
    ]
    (found,) = paired_contexts(results, TOLD, UNTOLD)
    assert found.num_pairs == 4
    assert found.p_value == pytest.approx(ttest_rel(b.mean(1), a.mean(1)).pvalue)


def test_the_empty_context_is_paired_with_every_draw() -> None:
    results = after(EMPTY, [1.0]) + after(UNTOLD, [3.0, 4.0, 5.0]) + after(TOLD, [9.0])
    (found,) = paired_contexts(results, EMPTY, UNTOLD)
    assert (found.a, found.b, found.mean, found.num_pairs) == (1.0, 4.0, 3.0, 3)
    (single,) = paired_contexts(results[:2], EMPTY, UNTOLD)
    assert single.low is None and single.p_value is None
    with pytest.raises(ValueError, match="nothing was measured after both contexts none/shuffled/14 and sex/126"):
        paired_contexts(results, Context("none", "shuffled", 14), TOLD)


def test_equal_numbers_are_no_difference() -> None:
    (found,) = paired_contexts(after(TOLD, [1.0, 2.0]) + after(UNTOLD, [1.0, 2.0]), TOLD, UNTOLD)
    assert found.mean == 0 and found.p_value == 1.0
