"""Two runs, or two contexts of the same models: the difference of every number, with an interval where there are several draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from contextssl.evaluation.controls import Control
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
        num_pairs: pairs of equal context draw (and equal seed, where both runs have several); seeds, where contexts of
            several seeds are compared.
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

    @property
    def p_value(self) -> float | None:
        """Of the paired t test against no difference, two-sided; None for a single pair. 1 where all differences are 0."""
        if self.low is None or self.high is None:
            return None
        degrees = self.num_pairs - 1
        error = (self.high - self.low) / 2 / float(t.ppf(0.975, degrees))
        if error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * t.sf(abs(self.mean) / error, degrees))


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


@dataclass(frozen=True, slots=True)
class Context:
    """Which contexts are compared: fields as in `Result`."""

    environment: str
    control: str
    length: int

    @property
    def name(self) -> str:
        """`none/126`, or `sex/shuffled/126` where the actions are not the true ones."""
        told = self.environment if self.control == Control.TRUE else f"{self.environment}/{self.control}"
        return f"{told}/{self.length}"

    def rows(self, results: Iterable[Result]) -> list[Result]:
        """The results after this context."""
        wanted = (self.environment, str(self.control), self.length)
        return [row for row in results if (row.environment, row.control, row.context_length) == wanted]


def paired_contexts(results: Iterable[Result], a: Context, b: Context) -> list[Difference]:
    """The differences of every number between two contexts of the same models, b minus a, in the order of `a`.

    Draws are paired by number within a seed: they hold the same items, told differently. The empty context, measured
    once, is paired with every draw. Draws of one seed share a model, so they are averaged first, and the interval is
    over seeds; with one seed it is over its draws and says nothing about other seeds.

    Args:
        results: rows of one or more seeds, each run's once.
        a: the context to subtract.
        b: the context to look at; its length, environment and control are those of the differences.

    Raises:
        ValueError: when nothing was measured after both.
    """
    results = list(results)
    left, right = (_by_measurement(context.rows(results)) for context in (a, b))
    found = []
    for key, before in left.items():
        after = right.get(key, {})
        pairs = [pair for seed in before.keys() & after.keys() if (pair := _seed_pairs(before[seed], after[seed])).size]
        if pairs:
            units = np.array([pair.mean(0) for pair in pairs]) if len(pairs) > 1 else pairs[0]
            protocol, target, probe, metric, split, method = key
            place = (b.environment, str(b.control), b.length)
            found.append(_difference((protocol, target, probe, metric, *place, split, method), units))
    if not found:
        raise ValueError(f"nothing was measured after both contexts {a.name} and {b.name}")
    return found


def _by_measurement(rows: list[Result]) -> dict[tuple[str, ...], dict[int, dict[int, float]]]:
    """Measurement -> seed -> context draw -> value."""
    found: dict[tuple[str, ...], dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        key = (row.protocol, row.target, row.probe, row.metric, row.split, row.method)
        found[key][row.seed][row.context_draw] = row.value
    return found


def _seed_pairs(a: dict[int, float], b: dict[int, float]) -> np.ndarray:
    """[P, 2] values of equal draws; a single one of the empty context goes with every draw."""
    if len(a) == 1 and len(b) > 1:
        a = dict.fromkeys(b, next(iter(a.values())))
    if len(b) == 1 and len(a) > 1:
        b = dict.fromkeys(a, next(iter(b.values())))
    return np.array([(a[draw], b[draw]) for draw in sorted(a.keys() & b.keys())])
