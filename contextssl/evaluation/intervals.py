"""From results of single seeds and context draws to means with intervals: what every table and figure shows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from contextssl.evaluation.controls import Control
from contextssl.evaluation.results import Result

VARYING = ("seed", "context_draw", "value", "low", "high", "floor")


@dataclass(frozen=True, slots=True)
class Summary:
    """A mean over seeds and context draws, and how sure it is. The first nine fields are those of `Result`.

    Attributes:
        mean: of the seeds' means, each over its context draws.
        sd: standard deviation of the seeds' means; of the draws when there is one seed; nan for a single number.
        low, high: two-sided t interval for the mean, from the same numbers as `sd`; nan where there is no sd.
        draw_sd: standard deviation between context draws within a seed, pooled; nan with one draw a seed.
        num_seeds, num_draws: how many seeds, and how many draws altogether.
        floor: mean of the floors, None where there is none.
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
    mean: float
    sd: float
    low: float
    high: float
    draw_sd: float
    num_seeds: int
    num_draws: int
    floor: float | None


KEY = tuple(field.name for field in fields(Result) if field.name not in VARYING)


def summarise(results: Iterable[Result], confidence: float = 0.95) -> list[Summary]:
    """One summary for all results that differ only in seed and context draw, in the order of first appearance.

    Seeds are the units: draws of one seed share a model, so they are averaged first and the interval is Student's t
    over seed means. With one seed the interval is over its context draws and says nothing about other seeds;
    `num_seeds` tells which of the two it is.

    Raises:
        ValueError: when a seed and draw occurs twice, as when a run's results are given twice.
    """
    groups: dict[tuple[object, ...], list[Result]] = defaultdict(list)
    for result in results:
        groups[tuple(getattr(result, name) for name in KEY)].append(result)
    return [_summary(rows, confidence) for rows in groups.values()]


def _summary(rows: Sequence[Result], confidence: float) -> Summary:
    by_seed: dict[int, dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row.context_draw in by_seed[row.seed]:
            raise ValueError(
                f"two results for seed {row.seed}, draw {row.context_draw} of {row.method} {row.target} {row.probe} {row.metric} "
                f"{row.environment} {row.context_length}: give each run's results once"
            )
        by_seed[row.seed][row.context_draw] = row.value
    draws = [list(values.values()) for values in by_seed.values()]
    units = np.array([np.mean(values) for values in draws] if len(draws) > 1 else draws[0])
    sd, (low, high) = _interval(units, confidence)
    floors = [row.floor for row in rows if row.floor is not None]
    return Summary(
        **{name: getattr(rows[0], name) for name in KEY},
        mean=float(units.mean()),
        sd=sd,
        low=low,
        high=high,
        draw_sd=_pooled_sd(draws),
        num_seeds=len(draws),
        num_draws=len(rows),
        floor=float(np.mean(floors)) if floors else None,
    )


def _interval(values: NDArray[np.float64], confidence: float) -> tuple[float, tuple[float, float]]:
    """Standard deviation, and Student's t interval for the mean."""
    if len(values) < 2:
        return math.nan, (math.nan, math.nan)
    sd = float(values.std(ddof=1))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return sd, (float(values.mean()) - reach, float(values.mean()) + reach)


def _pooled_sd(draws: Sequence[Sequence[float]]) -> float:
    """Standard deviation around each seed's own mean."""
    degrees = sum(len(values) - 1 for values in draws)
    squares = sum(float(np.square(np.array(values) - np.mean(values)).sum()) for values in draws)
    return math.sqrt(squares / degrees) if degrees else math.nan


def curves(summaries: Iterable[Summary], control: str = Control.TRUE) -> dict[str, list[Summary]]:
    """Environment -> its summaries by context length, beginning with the empty context, which all share.

    Args:
        summaries: of one protocol, target, probe, metric, split and method; select them first.
        control: which contexts.

    Raises:
        ValueError: when two summaries share an environment and a length, because the selection was too wide.
    """
    known = list(summaries)
    found: dict[str, list[Summary]] = defaultdict(list)
    for row in known:
        if row.control == control:
            found[row.environment].append(row)
    empty = [row for row in known if row.control == Control.EMPTY]
    for environment, rows in found.items():
        rows[:] = sorted(empty + rows, key=lambda row: row.context_length)
        lengths = [row.context_length for row in rows]
        if len(set(lengths)) < len(lengths):
            raise ValueError(f"{environment!r} has two summaries of one length: select one target, probe and metric first")
    return dict(found)
