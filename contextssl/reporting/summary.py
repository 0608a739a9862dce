"""Result rows, averaged over seeds and context draws, and the questions a report asks of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from contextssl.evaluation.intervals import summarise
from contextssl.evaluation.results import Result
from contextssl.reporting.names import NO_CONTEXT

KEY = ("protocol", "method", "target", "probe", "metric", "environment", "control", "context_length", "split")
NUMBERS = ("mean", "low", "high", "floor", "num_seeds", "num_draws")

# The first of these that was measured stands for a target in headlines and in the first figure. Pooled R2 comes
# before the others because published numbers use it (protocol 6.1); its floor is drawn beside it.
_METRIC_PREFERENCE = ("auroc", "r2_pooled", "r2_varw", "r2_dim_mean", "accuracy", "balanced_accuracy", "mrr")
_UTILITY_PREFERENCE = ("accuracy", *_METRIC_PREFERENCE)
_PROBE_ORDER = ("linear", "linear-standardised", "mlp", "mlp-standardised", "knn", "boosting")


def summary_frame(results: Iterable[Result]) -> pd.DataFrame:
    """One row per cell (see KEY), with mean, 95 % interval, floor and the numbers of seeds and context draws.

    Means and intervals are those of `contextssl.evaluation.intervals.summarise`; missing numbers are NaN.
    """
    rows = [asdict(row) for row in summarise(results)]
    frame = pd.DataFrame(rows, columns=[*KEY, *NUMBERS])
    return frame.astype({name: float for name in ("mean", "low", "high", "floor")})


def probe_rank(probe: str) -> tuple[int, str]:
    """Sorting key of probes: from the weakest raw read-out to the strongest."""
    for rank, prefix in enumerate(_PROBE_ORDER):
        if probe == prefix or (prefix == "knn" and re.match(r"knn\d*", probe)):
            return rank, probe
    return len(_PROBE_ORDER), probe


def environment_rank(environment: str) -> tuple[int, str]:
    """Sorting key of environments: told groups, several groups, none, context-free."""
    return {"none": 100, NO_CONTEXT: 101}.get(environment, environment.count("+")), environment


class Readout(NamedTuple):
    """What was read out, how, and by which measure."""

    target: str
    probe: str
    metric: str


@dataclass(frozen=True)
class Study:
    """The summarised numbers of one run, seen from its contextual method.

    Attributes:
        frame: `summary_frame` rows of one split.
        method: the method the report is about; the others are baselines.
    """

    frame: pd.DataFrame
    method: str

    @classmethod
    def of(cls, results: Sequence[Result]) -> Study | None:
        """The study in these rows, on the test split where there is one; None when there are no rows."""
        frame = summary_frame(results)
        if frame.empty:
            return None
        splits = list(frame["split"])
        frame = frame[frame["split"] == ("test" if "test" in splits else splits[0])].reset_index(drop=True)
        return cls(frame, _main_method(frame))

    @property
    def split(self) -> str:
        """The split all numbers were measured on."""
        return str(self.frame["split"].iloc[0])

    @cached_property
    def own(self) -> pd.DataFrame:
        """Rows of the method itself, with true actions."""
        return self.frame[(self.frame["method"] == self.method) & (self.frame["control"] == "true")]

    @cached_property
    def environments(self) -> list[str]:
        """Environments of the method's contexts, told ones first."""
        return sorted({e for e in self.own["environment"] if e != NO_CONTEXT}, key=environment_rank)

    @cached_property
    def groups(self) -> list[str]:
        """Groups that some environment tells."""
        return sorted({group for name in self.environments if name != "none" for group in name.split("+")})

    @cached_property
    def lengths(self) -> list[int]:
        """Context lengths of the method's true contexts, ascending."""
        lengths = self.own.loc[self.own["environment"] != NO_CONTEXT, "context_length"]
        return sorted(int(length) for length in lengths.unique())

    @cached_property
    def targets(self) -> list[str]:
        """Targets that were read out, those that measure a group first."""
        named = [target for target in self.own["target"].unique() if target != "-"]
        return sorted(named, key=lambda target: (self.group_of(target) is None, target))

    def group_of(self, target: str) -> str | None:
        """The group that a target measures, by name (`sex`, `relative_rotation`); None when it measures none."""
        words = re.split(r"[^a-z0-9]+", target.lower())
        return next((group for group in self.groups if target == group or group.lower() in words), None)

    def told(self, target: str) -> list[str]:
        """Environments that tell the target's group, the narrowest first."""
        group = self.group_of(target)
        return [name for name in self.environments if group is not None and group in name.split("+")]

    def untold(self, target: str) -> list[str]:
        """Environments that do not tell the target's group."""
        return [name for name in self.environments if name not in self.told(target)]

    def metric(self, target: str) -> str:
        """The metric that stands for a target in headlines."""
        measured = list(self.own.loc[self.own["target"] == target, "metric"].unique())
        preference = _METRIC_PREFERENCE if self.group_of(target) else _UTILITY_PREFERENCE
        return next((name for name in preference if name in measured), measured[0])

    def readout(self, target: str, metric: str | None = None, probe: str | None = None) -> Readout:
        """What stands for a target in headlines: its headline metric, through the raw linear probe where measured."""
        metric = metric or self.metric(target)
        rows = self.own[(self.own["target"] == target) & (self.own["metric"] == metric)]
        return Readout(target, probe or min(rows["probe"].unique(), key=probe_rank), metric)

    def readouts(self, target: str, metric: str | None = None) -> list[Readout]:
        """The target's headline metric through every probe, weakest first; not those with context-free rows only."""
        metric = metric or self.metric(target)
        rows = self.own[(self.own["target"] == target) & (self.own["metric"] == metric)]
        rows = rows[rows["environment"] != NO_CONTEXT]
        return [Readout(target, probe, metric) for probe in sorted(rows["probe"].unique(), key=probe_rank)]

    def curve(self, readout: Readout, environment: str, control: str = "true") -> pd.DataFrame:
        """The cells of one line, by ascending context length; empty when nothing was measured."""
        rows = self.frame[self.frame["method"] == self.method]
        wanted = {**readout._asdict(), "environment": environment, "control": control}
        for column, value in wanted.items():
            rows = rows[rows[column] == value]
        return rows.sort_values("context_length", kind="stable").drop_duplicates("context_length")

    def cell(self, readout: Readout, environment: str, length: int, control: str = "true") -> pd.Series | None:
        """One cell, or None when it was not measured or is not a number."""
        rows = self.curve(readout, environment, control)
        rows = rows[(rows["context_length"] == length) & rows["mean"].notna()]
        return None if rows.empty else rows.iloc[0]

    def controls(self, readout: Readout) -> pd.DataFrame:
        """Cells of the readout under anything but true actions."""
        rows = self.frame[(self.frame["method"] == self.method) & (self.frame["control"] != "true")]
        for column, value in readout._asdict().items():
            rows = rows[rows[column] == value]
        return rows

    def floor(self, readout: Readout) -> float | None:
        """What a constant predictor or chance scores, None where there is no such number."""
        rows = self.own
        for column, value in readout._asdict().items():
            rows = rows[rows[column] == value]
        floors = rows["floor"].dropna()
        return None if floors.empty else float(floors.iloc[0])


def _main_method(frame: pd.DataFrame) -> str:
    contextual = frame.loc[frame["environment"] != NO_CONTEXT, "method"]
    candidates = list(contextual.unique()) or list(frame["method"].unique())
    return "context_ssl" if "context_ssl" in candidates else str(candidates[0])
