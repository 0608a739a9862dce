"""Calibration errors by group against slow code, planted ones, and a bootstrap over rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from domains.tabular.calibration import NUM_BINS, group_calibration, positive_probability


def data(num_rows: int, seed: int = 0, shift: float = 0.0, minority: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes of predicted probabilities; in the minority the truth is `shift` above what is predicted."""
    rng = np.random.default_rng(seed)
    group = np.where(rng.random(num_rows) < minority, "few", "many")
    probability = rng.uniform(0.1, 0.8, num_rows)
    truth = rng.random(num_rows) < probability + shift * (group == "few")
    return truth.astype(int), probability, group


def slow_errors(truth: np.ndarray, probability: np.ndarray, group: np.ndarray, edges: np.ndarray) -> dict[str, float]:
    """Bin by bin, in bins between the edges."""
    place = np.searchsorted(edges, probability, side="right")
    found = {}
    for name in np.unique(group):
        total = 0.0
        for b in range(NUM_BINS):
            rows = (group == name) & (place == b)
            total += abs(truth[rows].sum() - probability[rows].sum())
        found[str(name)] = total / (group == name).sum()
    return found


def test_errors_are_those_of_slow_code() -> None:
    truth, probability, group = data(1000, shift=0.1)
    gap, each = group_calibration(truth, probability, group, num_resamples=20)
    edges = np.sort(probability)[np.arange(1, NUM_BINS) * 1000 // NUM_BINS]
    expected = slow_errors(truth, probability, group, edges)
    assert {name: row.value for name, row in each.items()} == pytest.approx(expected, abs=1e-12)
    assert gap.value == pytest.approx(max(expected.values()) - min(expected.values()))


def test_a_planted_miss_is_found_in_its_group_only() -> None:
    gap, each = group_calibration(*data(40_000, shift=0.15), num_resamples=200)
    assert each["few"].value == pytest.approx(0.15, abs=0.01)
    assert each["many"].value < 0.02
    assert gap.low > 0.1 and gap.value == pytest.approx(each["few"].value - each["many"].value)


def test_the_floor_is_what_calibrated_predictions_score() -> None:
    values, floors = [], []
    for seed in range(30):
        _, each = group_calibration(*data(600, seed), num_resamples=100)
        values.append(each["few"].value)
        floors.append(each["few"].floor)
    assert np.mean(floors) == pytest.approx(np.mean(values), rel=0.1)
    assert min(floors) > 0.04, "few rows are far from calibrated by chance"


def test_intervals_hold_the_true_error_about_as_often_as_they_say() -> None:
    held = []
    for seed in range(40):
        _, each = group_calibration(*data(1500, seed, shift=0.15), num_resamples=60)
        held.append(each["few"].low <= 0.15 <= each["few"].high)
    assert np.mean(held) >= 0.8  # the error of few rows is above the true one, which the interval cannot know


def test_a_group_of_three_rows_has_an_interval() -> None:
    truth, probability, group = data(300, minority=0.0)
    group[:3] = "few"
    gap, each = group_calibration(truth, probability, group)
    assert np.isfinite([gap.low, gap.high, each["few"].low, each["few"].high]).all()


def test_probabilities_are_checked() -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], found -1 to 2"):
        group_calibration([0, 1], [-1.0, 2.0], [0, 1])


def test_probabilities_of_logits_and_of_shares() -> None:
    logits = torch.tensor([[0.0, 2.0], [0.0, -1.0]])
    assert torch.allclose(positive_probability(logits), torch.sigmoid(torch.tensor([2.0, -1.0])))
    shares = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert torch.equal(positive_probability(shares), shares[:, 1])
    assert not torch.equal(positive_probability(torch.tensor([[0.0, 1.0], [0.0, 0.3]])), torch.tensor([1.0, 0.3]))
