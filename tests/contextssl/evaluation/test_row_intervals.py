"""Intervals over rows against slow obvious code, at their limits, and for how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm
from torch import Tensor

from contextssl.evaluation.metrics import accuracy, auroc, balanced_accuracy
from contextssl.evaluation.row_intervals import Bounds, accuracy_interval, auroc_interval, balanced_accuracy_interval, wilson


def scored(num_rows: int, share: float, seed: int, num_cells: int = 1, shift: float = 1.0) -> tuple[Tensor, Tensor]:
    """Labels, and coarse scores [C, N] with ties that know something of them."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(num_rows) < share).astype(np.int64)
    truth[:4] = [0, 1, 0, 1]
    return torch.from_numpy(truth), torch.from_numpy(np.round(rng.normal(size=(num_cells, num_rows)) + shift * truth, 1))


def test_accuracy_has_the_interval_of_a_share() -> None:
    truth, score = scored(60, 0.4, 0, num_cells=2)
    prediction = (score > 0).long()
    low, high = accuracy_interval(truth, prediction)
    for cell in range(2):
        expected = binomtest(int((prediction[cell] == truth).sum()), 60).proportion_ci(method="wilson")
        assert (float(low[cell]), float(high[cell])) == pytest.approx((expected.low, expected.high))


def test_delong_equals_the_sum_over_all_pairs() -> None:
    truth, score = scored(40, 0.3, 1, num_cells=2)
    low, high = auroc_interval(truth, score)
    for cell in range(2):
        positive, negative = score[cell][truth == 1].numpy(), score[cell][truth == 0].numpy()
        wins = np.array([[float(p > n) + 0.5 * float(p == n) for n in negative] for p in positive])
        variance = wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative)
        area = wins.mean()
        assert area == pytest.approx(float(auroc(truth, score)[cell]))
        odds = np.log(area / (1 - area)) + np.array([-1, 1]) * norm.ppf(0.975) * np.sqrt(variance) / (area * (1 - area))
        assert (float(low[cell]), float(high[cell])) == pytest.approx(tuple(1 / (1 + np.exp(-odds))))


@pytest.mark.parametrize("share", [0.5, 0.04])
def test_intervals_are_about_as_wide_as_a_stratified_bootstrap(share: float) -> None:
    truth, score = scored(3000, share, 2)
    prediction = (score > 0.5).long()
    rng, samples = np.random.default_rng(0), []
    members = [np.flatnonzero(truth.numpy() == label) for label in (0, 1)]
    for _ in range(400):
        rows = np.concatenate([rng.choice(own, len(own)) for own in members])
        samples.append((float(balanced_accuracy(truth[rows], prediction[:, rows])), float(auroc(truth[rows], score[:, rows]))))
    for column, (low, high) in enumerate((balanced_accuracy_interval(truth, prediction), auroc_interval(truth, score))):
        expected = np.quantile(np.array(samples)[:, column], (0.025, 0.975))
        assert float(high - low) == pytest.approx(np.ptp(expected), rel=0.2)
        assert float(low) < expected.mean() < float(high)


def covered(kind: str, seed: int, num_rows: int = 60, share: float = 0.15) -> bool:
    """Whether the interval of a small sample with a rare class holds what a large sample of the same kind scores."""
    truth, score = scored(num_rows, share, seed)
    found: Bounds = (auroc_interval if kind == "auroc" else balanced_accuracy_interval)(
        truth, score if kind == "auroc" else (score > 0).long()
    )
    expected = (
        norm.cdf(1 / np.sqrt(2)) if kind == "auroc" else (norm.cdf(0.05) + norm.cdf(0.95)) / 2
    )  # rounding: 0.1 is 0.05 to 0.15
    return bool(float(found[0]) <= expected <= float(found[1]))


@pytest.mark.parametrize("kind", ["auroc", "balanced_accuracy"])
def test_nineteen_of_twenty_intervals_hold_the_truth_although_a_class_is_rare(kind: str) -> None:
    assert 0.91 <= np.mean([covered(kind, seed) for seed in range(600)]) <= 0.985


def test_a_few_rows_that_are_all_right_are_not_certain() -> None:
    truth = torch.tensor([0] * 100 + [1] * 3)
    score = truth.double().expand(1, -1)
    for low, high in (auroc_interval(truth, score), balanced_accuracy_interval(truth, truth.expand(1, -1))):
        assert 0.3 < float(low) < 0.8 and float(high) == pytest.approx(1)
    assert [float(side) for side in auroc_interval(truth, -score)] == pytest.approx([0, 1 - float(wilson(torch.ones(()), 3)[0])])
    assert accuracy(truth, truth) == 1 and float(accuracy_interval(truth, truth)[0]) > 0.95


def test_one_row_of_a_class_gives_no_auroc_interval() -> None:
    assert all(side.isnan().all() for side in auroc_interval(torch.tensor([0, 0, 1]), torch.rand(2, 3)))
