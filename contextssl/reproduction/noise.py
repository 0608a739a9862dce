"""Whether two rows of a table differ by more than their seeds do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, slots=True)
class Difference:
    """A minus B.

    Attributes:
        mean: of A minus mean of B.
        low, high: 95 % interval.
        paired: whether it is over pairs of equal seed, else Welch's for two samples.
        num: pairs, or the smaller sample.
    """

    mean: float
    low: float
    high: float
    paired: bool
    num: int

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def difference(a: Mapping[int, float], b: Mapping[int, float]) -> Difference | None:
    """The difference of two means over seeds; paired where at least two seeds are shared, None with too few for either.

    Args:
        a: seed -> number.
        b: the same of the other.
    """
    shared = sorted(a.keys() & b.keys())
    if len(shared) > 1:
        values = np.array([a[seed] - b[seed] for seed in shared])
        return _interval(values.mean(), values.std(ddof=1) / math.sqrt(len(values)), len(values) - 1, True, len(values))
    if min(len(a), len(b)) < 2:
        return None
    one, other = np.array(list(a.values())), np.array(list(b.values()))
    parts = one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)
    weight = parts[0] ** 2 / (len(one) - 1) + parts[1] ** 2 / (len(other) - 1)
    degrees = sum(parts) ** 2 / weight if weight else math.inf
    return _interval(one.mean() - other.mean(), math.sqrt(sum(parts)), degrees, False, min(len(one), len(other)))


def _interval(mean: float, error: float, degrees: float, paired: bool, num: int) -> Difference:
    reach = float(stats.t.ppf(0.975, degrees)) * float(error)
    return Difference(float(mean), float(mean) - reach, float(mean) + reach, paired, num)
