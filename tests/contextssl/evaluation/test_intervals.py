"""Intervals: seeds are the units, draws are not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from contextssl.evaluation.intervals import curves, summarise
from contextssl.evaluation.results import Result

ROW = Result("attribute-probe/1", "sex", "linear", "auroc", "sex", "true", 126, 0, 0, "test", 0.5, floor=0.5)


def rows(values: list[list[float]], **changes: object) -> list[Result]:
    """One row for each seed and draw."""
    numbered = [(seed, draw, value) for seed, draws in enumerate(values) for draw, value in enumerate(draws)]
    return [replace(ROW, seed=seed, context_draw=draw, value=value, **changes) for seed, draw, value in numbered]


def test_draws_are_averaged_before_seeds_are_compared() -> None:
    values = [[0.7, 0.8], [0.5, 0.7], [0.9, 0.9]]
    (found,) = summarise(rows(values))
    means = [0.75, 0.6, 0.9]
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (found.mean, found.sd) == (pytest.approx(0.75), pytest.approx(np.std(means, ddof=1)))
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.draw_sd == pytest.approx(math.sqrt((0.005 + 0.02 + 0) / 3))
    assert (found.num_seeds, found.num_draws, found.floor) == (3, 6, 0.5)


def test_more_draws_of_the_same_seeds_do_not_narrow_the_interval() -> None:
    few, many = (summarise(rows([[0.6] * draws, [0.8] * draws]))[0] for draws in (1, 50))
    assert (many.low, many.high) == (pytest.approx(few.low), pytest.approx(few.high))


def test_one_seed_gives_the_interval_of_its_draws_and_one_number_none() -> None:
    (found,) = summarise(rows([[0.6, 0.7, 0.8]]), confidence=0.9)
    expected = stats.ttest_1samp([0.6, 0.7, 0.8], 0).confidence_interval(0.9)
    assert (found.low, found.high, found.num_seeds) == (pytest.approx(expected.low), pytest.approx(expected.high), 1)
    (single,) = summarise(rows([[0.6]]))
    assert single.mean == 0.6 and all(math.isnan(x) for x in (single.sd, single.low, single.high, single.draw_sd))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    seeds = generator.normal(0.7, 0.05, (400, 3, 1))
    values = seeds + generator.normal(0, 0.05, (400, 3, 2))
    found = [summarise(rows(one.tolist()))[0] for one in values]
    assert np.mean([one.low <= 0.7 <= one.high for one in found]) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("field", ["target", "probe", "metric", "environment", "control", "split", "method", "protocol"])
def test_whatever_else_differs_is_another_summary(field: str) -> None:
    assert len(summarise([ROW, replace(ROW, **{field: "other"}), replace(ROW, context_length=2)])) == 3


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="two results for seed 0, draw 0"):
        summarise([ROW, ROW])


def test_curves_start_at_the_empty_context_in_every_environment() -> None:
    empty = replace(ROW, environment="-", control="empty", context_length=0, value=0.1)
    features = replace(ROW, environment="-", control="-", context_length=0, value=0.2)
    told = [replace(ROW, environment=name, context_length=length) for name in ("sex", "none") for length in (126, 2)]
    noise = replace(ROW, control="noise")
    found = curves(summarise([empty, features, *told, noise]))
    assert set(found) == {"sex", "none"}
    assert all([row.context_length for row in line] == [0, 2, 126] for line in found.values())
    assert all(line[0].mean == 0.1 for line in found.values())
    assert [row.control for row in curves(summarise([empty, *told, noise]), "noise")["sex"]] == ["empty", "noise"]


def test_curves_of_a_selection_that_is_too_wide_are_refused() -> None:
    with pytest.raises(ValueError, match="select one target, probe and metric"):
        curves(summarise([ROW, replace(ROW, metric="accuracy")]))
