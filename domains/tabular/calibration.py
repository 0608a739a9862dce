"""Calibration by group: how far predicted probabilities are from what happens in each group of a sensitive attribute.

Equal-mass bins over the rows of all groups, so that groups are compared at the same predictions. Bins are made of fine
ones, within which rows of a class are replaced by their mean; the bootstrap resamples rows within groups.

Letters: N rows, G groups, B bins, F fine bins (a multiple of B), R resamples.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import Tensor

from domains.tabular.group_metrics import Floats, GroupMetric

NUM_BINS = 10
FINE_PER_BIN = 10


def positive_probability(outputs: Tensor) -> Tensor:
    """[...] probability of class 1 from a probe's outputs [..., 2]: shares of classes as they are, others as logits."""
    shares = bool((outputs >= 0).all()) and torch.allclose(outputs.sum(-1), torch.ones(()).to(outputs), atol=1e-4)
    return outputs[..., 1] if shares else outputs.softmax(-1)[..., 1]


def group_calibration(
    truth: npt.ArrayLike,
    probability: npt.ArrayLike,
    sensitive: npt.ArrayLike,
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[GroupMetric, dict[object, GroupMetric]]:
    """The expected calibration error of each group, before it the largest minus the smallest.

    The error of some rows is the sum over bins of |positives - sum of probabilities|, over their number (Naeini et al.
    2015). It is never negative and grows as rows get fewer: read it beside its floor. For the same reason resampled
    errors are too large; intervals are percentiles moved by the mean of that excess, and end at 0.

    Args:
        truth: [N] classes 0 and 1.
        probability: [N] of class 1.
        sensitive: [N] group of each row.
        num_resamples: R.
        confidence: of the intervals.
        seed: of the resamples.

    Raises:
        ValueError: for probabilities outside of [0, 1].
    """
    y, p = np.asarray(truth, dtype=np.int64), np.asarray(probability, dtype=np.float64)
    names, group = np.unique(np.asarray(sensitive), return_inverse=True)
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"probabilities must be in [0, 1], found {p.min():g} to {p.max():g}")
    rng = np.random.default_rng(seed)
    counts, sums, spread = _by_bin(y, p, group)
    sizes = counts.sum((1, 2))
    mean = sums / np.maximum(counts, 1)
    resampled = _resampled(counts, num_resamples, rng)  # [R, G, 2, F]
    samples = _errors(resampled[:, :, 1] - (resampled * mean).sum(2))
    value = _errors(counts[:, 1] - sums.sum(1))
    floors = np.abs(rng.normal(size=(num_resamples, *spread.shape)) * np.sqrt(spread))

    def metric(name: str, number: float, sample: Floats, floor: Floats) -> GroupMetric:
        tails = np.quantile(sample, ((1 - confidence) / 2, (1 + confidence) / 2)) - sample.mean() + number
        low, high = np.clip(tails, 0, 1)
        return GroupMetric(name, float(number), float(low), float(high), float(floor.mean()))

    def of_groups(errors: Floats) -> Floats:
        return np.asarray(errors.sum(-1) / sizes)

    by_group, sampled, calibrated = of_groups(value), of_groups(samples), of_groups(floors)
    gap = metric("calibration_error_difference", float(np.ptp(by_group)), np.ptp(sampled, axis=-1), np.ptp(calibrated, axis=-1))
    each = {
        name: metric("calibration_error", float(by_group[g]), sampled[:, g], calibrated[:, g])
        for g, name in enumerate(names.tolist())
    }
    return gap, each


def _errors(misses: Floats) -> Floats:
    """[..., B] absolute misses of bins from those [..., F] of fine bins."""
    return np.asarray(np.abs(misses.reshape(*misses.shape[:-1], NUM_BINS, FINE_PER_BIN).sum(-1)))


def _by_bin(y: npt.NDArray[np.int64], p: Floats, group: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Rows and sums of probabilities by group, class and fine bin [G, 2, F]; sums of p (1 - p) by group and bin [G, B]."""
    fine = ((rankdata(p, method="min") - 1) * (NUM_BINS * FINE_PER_BIN) // len(p)).astype(np.int64)
    shape = (int(group.max()) + 1, 2, NUM_BINS * FINE_PER_BIN)
    place = np.ravel_multi_index((group, y, fine), shape)
    size = int(np.prod(shape))
    counts = np.bincount(place, minlength=size).astype(np.int64).reshape(shape)
    sums, spread = (np.asarray(np.bincount(place, w, size).reshape(shape), dtype=np.float64) for w in (p, p * (1 - p)))
    return counts, sums, spread.sum(1).reshape(shape[0], NUM_BINS, FINE_PER_BIN).sum(-1)


def _resampled(counts: npt.NDArray[np.int64], num_resamples: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """[R, G, 2, F] counts of resamples of the rows of each group; classes vary, for how many are positive is in question."""
    found = np.zeros((num_resamples, *counts.shape), dtype=np.int64)
    for g, own in enumerate(counts):
        drawn = rng.multinomial(int(own.sum()), own.ravel() / own.sum(), size=num_resamples)
        found[:, g] = drawn.reshape(num_resamples, *own.shape)
    return found
