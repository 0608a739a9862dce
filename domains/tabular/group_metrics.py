"""How differently a classifier treats groups (protocol 6.10), with bootstrap intervals that survive rare groups.

The bootstrap is stratified on (group, class), so that a small group never vanishes from a resample. Within a stratum
a resample of n rows has a binomial number of positive predictions, so all measures of hard predictions are resampled
as four binomial counts, with no loop over resamples or rows.

Letters: N rows, G groups, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from scipy.stats import norm, rankdata

NUM_SCORE_BINS = 100

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class GroupMetric:
    """A measure, its interval, and what it is to be compared with.

    Attributes:
        metric: name.
        value, low, high: the measure and the bounds of its interval.
        floor: what a constant predictor scores; of a group's rate that of all rows; of a calibration error what a
            calibrated predictor is expected to score on so few rows.
    """

    metric: str
    value: float
    low: float
    high: float
    floor: float


def group_metrics(
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    sensitive: npt.ArrayLike,
    score: npt.ArrayLike | None = None,
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[GroupMetric]:
    """Accuracy, balanced accuracy, the parity differences and, given scores, AUROC; each with an interval.

    Differences are the largest minus the smallest group's rate: of P(prediction 1) for demographic parity, of the true
    positive rate for equal opportunity, of true and false positive rates (the larger, and `_mean` of both) for
    equalized odds. Lower is fairer; a constant predictor scores 0.

    Args:
        truth: [N] classes 0 and 1.
        prediction: [N] predicted classes 0 and 1.
        sensitive: [N] group of each row, two or more groups.
        score: [N], higher for class 1; rows of equal score count half in the AUROC.
        num_resamples: R.
        confidence: of the percentile intervals.
        seed: of the resamples.

    Raises:
        ValueError: for classes other than 0 and 1, rows that do not fit, or a group without one of the classes.
    """
    y, labels, groups = (np.asarray(values) for values in (truth, prediction, sensitive))
    if not (y.shape == labels.shape == groups.shape) or y.ndim != 1:
        shapes = (y.shape, labels.shape, groups.shape)
        raise ValueError(f"truth, prediction and sensitive must have one shape [N], found {shapes}")
    if not set(np.unique(y)) | set(np.unique(labels)) <= {0, 1}:
        raise ValueError("group metrics are for two classes, 0 and 1; make one target for each class of a multi-class one")
    totals, positives = _counts(y, labels, groups)
    rng = np.random.default_rng(seed)
    resampled = rng.binomial(totals, positives / totals, size=(num_resamples, *totals.shape))
    samples = count_metrics(resampled, totals)
    values: dict[str, Any] = {**count_metrics(positives, totals), **_fairlearn_differences(positives, totals)}
    floors: dict[str, float] = {"accuracy": max(y.mean(), 1 - y.mean()), "balanced_accuracy": 0.5}
    if score is not None:
        scores = np.asarray(score, dtype=np.float64)
        values["auroc"], samples["auroc"] = _auroc(y, scores), _auroc_samples(y, scores, groups, num_resamples, rng)
        floors["auroc"] = 0.5
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    found = []
    for metric, value in values.items():
        low, high = np.quantile(samples[metric], tails)
        found.append(GroupMetric(metric, float(value), float(low), float(high), float(floors.get(metric, 0.0))))
    return found


def count_metrics(positives: npt.NDArray[np.integer], totals: Integers) -> dict[str, Floats]:
    """Every measure of hard predictions, [...], from positive predictions [..., G, 2] among rows [G, 2] by group and class."""
    rates = positives / totals
    false_positive, true_positive = np.ptp(rates[..., 0], axis=-1), np.ptp(rates[..., 1], axis=-1)
    by_class, rows = positives.sum(-2), totals.sum(0)
    correct = rows[0] - by_class[..., 0] + by_class[..., 1]
    recalls = (1 - by_class[..., 0] / rows[0], by_class[..., 1] / rows[1])
    return {
        "accuracy": correct / totals.sum(),
        "balanced_accuracy": (recalls[0] + recalls[1]) / 2,
        "demographic_parity_difference": np.ptp(positives.sum(-1) / totals.sum(-1), axis=-1),
        "equal_opportunity_difference": true_positive,
        "equalized_odds_difference": np.maximum(true_positive, false_positive),
        "equalized_odds_difference_mean": (true_positive + false_positive) / 2,
    }


def _counts(y: Array, labels: Array, groups: Array) -> tuple[Integers, Integers]:
    """Rows, and rows predicted positive, by group and class [G, 2]."""
    names, group = np.unique(groups, return_inverse=True)
    stratum = group * 2 + y.astype(np.int64)
    totals = np.bincount(stratum, minlength=2 * len(names)).reshape(-1, 2)
    if not totals.all():
        where = np.argwhere(totals == 0)[0]
        raise ValueError(f"group {names[where[0]]} has no row of class {where[1]}, so it has no rate to compare; leave it out")
    return totals, np.bincount(stratum, weights=labels, minlength=2 * len(names)).astype(np.int64).reshape(-1, 2)


def _fairlearn_differences(positives: Integers, totals: Integers) -> dict[str, float]:
    """The parity differences by fairlearn, from one weighted row for each group, class and prediction: faster than N rows."""
    group, truth, prediction = (axis.ravel() for axis in np.indices((*totals.shape, 2)))
    weight = np.stack([totals - positives, positives], axis=-1).ravel()
    rates = {"selection": selection_rate, "true positive": true_positive_rate, "false positive": false_positive_rate}
    frame = MetricFrame(
        metrics=rates,
        y_true=truth,
        y_pred=prediction,
        sensitive_features=group,
        sample_params={name: {"sample_weight": weight} for name in rates},
    )
    gaps = frame.difference(method="between_groups")
    odds = (float(gaps["true positive"]), float(gaps["false positive"]))
    return {
        "demographic_parity_difference": float(gaps["selection"]),
        "equal_opportunity_difference": odds[0],
        "equalized_odds_difference": max(odds),
        "equalized_odds_difference_mean": sum(odds) / 2,
    }


def _auroc(y: Array, score: Floats) -> float:
    num_positive = int((y == 1).sum())
    rank_sum = rankdata(score)[y == 1].sum()
    return float((rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * (len(y) - num_positive)))


def _auroc_samples(y: Array, score: Floats, groups: Array, num_resamples: int, rng: np.random.Generator) -> Floats:
    """[R] AUROC of stratified resamples, from scores grouped into bins of about equal count.

    Rows of one bin count as ties, which moves the AUROC by less than half the share of such pairs; the samples are
    shifted by the difference that grouping makes to the whole sample.
    """
    bins = ((rankdata(score, method="min") - 1) * NUM_SCORE_BINS // len(score)).astype(np.int64)
    by_class = []
    for label in (0, 1):
        counts = np.zeros((num_resamples + 1, NUM_SCORE_BINS))
        for group in np.unique(groups):
            histogram = np.bincount(bins[(y == label) & (groups == group)], minlength=NUM_SCORE_BINS)
            counts[0] += histogram
            counts[1:] += rng.multinomial(histogram.sum(), histogram / histogram.sum(), size=num_resamples)
        by_class.append(counts / counts[0].sum())
    negative, positive = by_class
    grouped = (positive * (negative.cumsum(1) - negative / 2)).sum(1)
    return np.asarray(grouped[1:] + _auroc(y, score) - grouped[0])


def group_rates(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, sensitive: npt.ArrayLike, *, confidence: float = 0.95, smallest: int = 0
) -> dict[Any, list[GroupMetric]]:
    """Group -> its share of positive predictions, true and false positive rate, with Wilson's intervals (Wilson 1927).

    Wilson's intervals keep their width where a rate is 0 or 1 in a group of a few rows; resampling gives none there.

    Args:
        truth: as in `group_metrics`, as are prediction and sensitive.
        prediction: [N].
        sensitive: [N].
        confidence: of the intervals.
        smallest: a rate is left out when it rests on 1 to `smallest` - 1 rows on either side.
    """
    y, labels, groups = (np.asarray(values) for values in (truth, prediction, sensitive))
    totals, positives = _counts(y, labels, groups)
    overall = np.append(positives.sum(0) / totals.sum(0), positives.sum() / totals.sum())
    found: dict[Any, list[GroupMetric]] = {}
    for name, total, positive in zip(np.unique(groups).tolist(), totals, positives, strict=True):
        counts = {"false_positive_rate": (positive[0], total[0]), "true_positive_rate": (positive[1], total[1])}
        counts["selection_rate"] = (positive.sum(), total.sum())
        found[name] = [
            GroupMetric(metric, k / n, *wilson_interval(k, n, confidence), float(rate))
            for (metric, (k, n)), rate in zip(counts.items(), overall, strict=True)
            if not any(0 < count < smallest for count in (k, n - k))
        ]
    return found


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval (1927) for a share."""
    z = float(norm.ppf((1 + confidence) / 2))
    share, weight = successes / trials, z**2 / trials
    centre = (share + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * np.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return max(0.0, float(centre - reach)), min(1.0, float(centre + reach))


def smallest_stratum(truth: npt.ArrayLike, sensitive: npt.ArrayLike) -> int:
    """Rows of the smallest of all (group, class), 0 where one is empty."""
    y, groups = np.asarray(truth), np.asarray(sensitive)
    group = np.unique(groups, return_inverse=True)[1]
    return int(np.bincount(group * 2 + y.astype(np.int64), minlength=2 * (int(group.max()) + 1)).min())
