"""Two runs measured alike: the difference of every number, with an interval where there are several draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from contextssl.evaluation.results import Result

Key = tuple[str, str, str, str, str, str, int, str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A for one measurement.

    Attributes:
        protocol, target, probe, metric, environment, control, context_length, split, method: as in `Result`.
        a, b: means over the pairs.
        mean: of the differences.
        low, high: 95 % Student interval of the mean over pairs; None for a single pair.
        num_pairs: pairs of equal context draw (and equal seed, where both runs have several).
    """

    protocol: str
    target: str
    probe: str
    metric: str
    environment: str
    control: str
    context_length: int
    split: str
    method: str
    a: float
    b: float
    mean: float
    low: float | None
    high: float | None
    num_pairs: int


def paired_differences(a: Iterable[Result], b: Iterable[Result]) -> list[Difference]:
    """The differences for every measurement that both have, in the order of `a`.

    Rows are paired by context draw; by seed as well when a side has more than one seed.

    Raises:
        ValueError: when they share no measurement.
    """
    a, b = list(a), list(b)
    by_seed = len({row.seed for row in a}) > 1 or len({row.seed for row in b}) > 1
    left, right = _grouped(a, by_seed), _grouped(b, by_seed)
    found = []
    for key, values in left.items():
        shared = [(value, right[key][pair]) for pair, value in values.items() if pair in right.get(key, {})]
        if shared:
            found.append(_difference(key, np.array(shared)))
    if not found:
        raise ValueError("the two runs share no measurement: evaluate both with the same evaluation config")
    return found


def _grouped(rows: list[Result], by_seed: bool) -> dict[Key, dict[tuple[int, int], float]]:
    groups: dict[Key, dict[tuple[int, int], float]] = defaultdict(dict)
    for row in rows:
        key = (
            row.protocol,
            row.target,
            row.probe,
            row.metric,
            row.environment,
            row.control,
            row.context_length,
            row.split,
            row.method,
        )
        groups[key][(row.context_draw, row.seed if by_seed else 0)] = row.value
    return groups


def _difference(key: Key, pairs: np.ndarray) -> Difference:
    differences = pairs[:, 1] - pairs[:, 0]
    mean, low, high = float(differences.mean()), None, None
    if len(differences) > 1:
        reach = float(t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences)))
        low, high = mean - reach, mean + reach
    return Difference(*key, float(pairs[:, 0].mean()), float(pairs[:, 1].mean()), mean, low, high, len(differences))
