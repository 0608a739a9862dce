"""Result rows, averaged over seeds and context draws, and the questions a report asks of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from contextssl.evaluation.controls import Control
from contextssl.evaluation.intervals import KEY, Summary, summarise
from contextssl.evaluation.results import Result
from contextssl.reporting.names import CONTEXT_FREE, EMPTY, is_label

NUMBERS = ("mean", "low", "high", "floor", "num_seeds", "num_draws")
PLAIN = (str(Control.TRUE), str(Control.EMPTY), "-")
"""Controls of rows that are no controls: true contexts, no context, and rows without any."""

# The first of these that was measured stands for a target in headlines and in the first figure. Published numbers are
# pooled R2 (protocol 6.1), which a constant predictor lifts to .75 where rotations are small: it stands in the tables.
_GROUP_METRICS = ("auroc", "r2_dim_mean", "r2_varw", "r2_pooled", "accuracy", "balanced_accuracy", "mrr")
_OTHER_METRICS = ("accuracy", *_GROUP_METRICS)
_PREDICTED = "predicted_"
_PROBES = ("linear", "linear-standardised", "mlp", "mlp-standardised", "knn", "kernel-ridge", "boosting")


def summary_frame(results: Iterable[Result]) -> pd.DataFrame:
    """One row per cell (`contextssl.evaluation.intervals.KEY`), with mean, 95 % interval, floor, seeds and draws.

    Means and intervals are those of `summarise`; a cell of a single number keeps that number's own interval over test
    items. Missing numbers are NaN. Embeddings after no context get the environment `empty`, so that they are told
    apart from encoder features.
    """
    rows = list(results)
    single = {tuple(getattr(row, name) for name in KEY): row for row in rows}
    records = []
    for summary in summarise(rows):
        record = asdict(summary)
        alone = single[tuple(record[name] for name in KEY)]
        if summary.num_draws == 1:
            record |= {"low": alone.low, "high": alone.high}
        if summary.control == Control.EMPTY and summary.context_length == 0:
            record["environment"] = EMPTY
        records.append(record)
    frame = pd.DataFrame(records, columns=[*KEY, *NUMBERS])
    return frame.astype(dict.fromkeys(("mean", "low", "high", "floor"), float))


def probe_rank(probe: str) -> tuple[int, str]:
    """Sorting key of probes: raw linear first, the strongest last, each beside its quantised forms."""
    base = re.sub(r"-\d+bit$", "", re.sub(r"^knn-?\d+", "knn", probe))
    return _PROBES.index(base) if base in _PROBES else len(_PROBES), probe


def environment_rank(environment: str) -> int:
    """Sorting key of environments: context-free, empty context, single groups, several groups, none; else as met."""
    return {CONTEXT_FREE: -2, EMPTY: -1, "none": 100}.get(environment, environment.count("+"))


class Readout(NamedTuple):
    """What was read out, how, and by which measure."""

    target: str
    probe: str
    metric: str


@dataclass(frozen=True)
class Study:
    """The numbers of one run, seen from its contextual method.

    Attributes:
        results: rows of one split.
        frame: their `summary_frame`.
        method: the method the report is about; the others are baselines.
    """

    results: tuple[Result, ...]
    frame: pd.DataFrame
    method: str

    @classmethod
    def of(cls, results: Sequence[Result]) -> Study | None:
        """The study in these rows, on the test split where there is one; None when there are no rows."""
        splits = [row.split for row in results]
        if not splits:
            return None
        split = "test" if "test" in splits else splits[0]
        chosen = tuple(_told_apart(row) for row in results if row.split == split)
        frame = summary_frame(chosen)
        return cls(chosen, frame, _main_method(frame))

    @property
    def split(self) -> str:
        """The split all numbers were measured on."""
        return self.results[0].split

    @cached_property
    def own(self) -> pd.DataFrame:
        """Rows of the method itself, controls left out."""
        return self.frame[(self.frame["method"] == self.method) & self.frame["control"].isin(PLAIN)]

    @property
    def num_seeds(self) -> int:
        """Training seeds behind the best-measured cell."""
        return int(self.own["num_seeds"].max())

    @property
    def num_draws(self) -> int:
        """Context draws per seed behind the best-measured cell."""
        return int((self.own["num_draws"] // self.own["num_seeds"]).max())

    @cached_property
    def environments(self) -> list[str]:
        """Environments of the method's contexts, told ones first."""
        return sorted((e for e in self.own["environment"].unique() if e not in (CONTEXT_FREE, EMPTY)), key=environment_rank)

    @cached_property
    def groups(self) -> list[str]:
        """Groups that some environment tells."""
        return list(dict.fromkeys(group for name in self.environments if name != "none" for group in name.split("+")))

    @cached_property
    def lengths(self) -> list[int]:
        """Context lengths of the method's contexts, ascending; 0 among them when the empty context was measured."""
        lengths = self.own.loc[self.own["environment"] != CONTEXT_FREE, "context_length"]
        return sorted(int(length) for length in lengths.unique())

    @cached_property
    def targets(self) -> list[str]:
        """Targets that were read out, those that measure a group first."""
        return sorted(self.own["target"].unique(), key=lambda target: self.group_of(target) is None)

    def group_of(self, target: str) -> str | None:
        """The group that a target measures, by name (`sex`, `relative_rotation`); None when it measures none."""
        if is_label(target):
            return None
        words = re.split(r"[^a-z0-9]+", target.lower())
        return next((group for group in self.groups if target == group or group.lower() in words), None)

    @cached_property
    def telling(self) -> list[str]:
        """Environments that tell something; all environments when fewer than two do."""
        telling = [name for name in self.environments if name != "none"]
        return telling if len(telling) > 1 else self.environments

    @cached_property
    def headline_targets(self) -> list[str]:
        """One target for each group, the group's own where it was read out, then the targets that measure no group."""
        found = []
        for group in self.groups:
            measuring = [target for target in self.targets if self.group_of(target) == group]
            found += [group] if group in measuring else measuring[:1]
        others = [target for target in self.targets if not self.group_of(target) and not target.startswith(_PREDICTED)]
        return found + others

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
        preference = _GROUP_METRICS if self.group_of(target) else _OTHER_METRICS
        return next((name for name in preference if name in measured), measured[0])

    def readouts(self, target: str, metric: str | None = None) -> list[Readout]:
        """A metric, by default the target's headline metric, through every probe, raw linear first.

        Probes that read encoder features only come in when there are no others.
        """
        metric = metric or self.metric(target)
        rows = self.own[(self.own["target"] == target) & (self.own["metric"] == metric)]
        contextual = rows[rows["environment"] != CONTEXT_FREE]
        probes = (rows if contextual.empty else contextual)["probe"].unique()
        return [Readout(target, probe, metric) for probe in sorted(probes, key=probe_rank)]

    def readout(self, target: str, metric: str | None = None) -> Readout:
        """What stands for a target in headlines: the first of `readouts`."""
        return self.readouts(target, metric)[0]

    @cached_property
    def _by_readout(self) -> dict[Readout, pd.DataFrame]:
        rows = self.frame[self.frame["method"] == self.method]
        return {Readout(*map(str, key)): group for key, group in rows.groupby(list(Readout._fields), sort=False)}

    @cached_property
    def _curves(self) -> dict[tuple[Readout, str, str], pd.DataFrame]:
        return {}

    def rows(self, readout: Readout) -> pd.DataFrame:
        """The method's rows of one readout, controls included."""
        return self._by_readout.get(readout, self.frame.iloc[:0])

    def curve(self, readout: Readout, environment: str, control: str = "true") -> pd.DataFrame:
        """The measured cells of one line, by ascending context length.

        Curves of true contexts begin with the empty context, which all environments share.
        """
        key = (readout, environment, control)
        if key not in self._curves:
            self._curves[key] = self._curve(*key)
        return self._curves[key]

    def _curve(self, readout: Readout, environment: str, control: str) -> pd.DataFrame:
        rows = self.rows(readout)
        chosen = (rows["environment"] == environment) & (rows["control"] == control)
        if environment in (CONTEXT_FREE, EMPTY):
            chosen = (rows["environment"] == environment) & rows["control"].isin(PLAIN)
        elif control == "true":
            chosen |= rows["environment"] == EMPTY
        found = rows[chosen & rows["mean"].notna()]
        # A row of the environment's own comes before the shared one of the same length.
        found = found.assign(shared=found["environment"] != environment).sort_values(["context_length", "shared"], kind="stable")
        return found.drop_duplicates("context_length").drop(columns="shared")

    def has_course(self, readout: Readout) -> bool:
        """Whether some environment's contexts were measured at more than one length."""
        return any(len(self.curve(readout, environment)) > 1 for environment in self.environments)

    def cell(self, readout: Readout, environment: str, length: int, control: str = "true") -> pd.Series | None:
        """One cell, or None when it was not measured."""
        rows = self.curve(readout, environment, control)
        rows = rows[rows["context_length"] == length]
        return None if rows.empty else rows.iloc[0]

    @cached_property
    def cells(self) -> dict[tuple[str, str, int, str, str], dict[str, pd.Series]]:
        """Method, environment, context length, target and metric -> probe -> measured cell, controls left out."""
        rows = self.frame[self.frame["control"].isin(PLAIN) & self.frame["mean"].notna()]
        found: dict[tuple[str, str, int, str, str], dict[str, pd.Series]] = defaultdict(dict)
        for _, row in rows.iterrows():
            key = (row["method"], row["environment"], row["context_length"], row["target"], row["metric"])
            found[key].setdefault(row["probe"], row)
        return dict(found)

    def floor(self, readout: Readout) -> float | None:
        """What a constant predictor or chance scores, None where there is no such number."""
        floors = self.rows(readout)["floor"].dropna()
        return None if floors.empty else float(floors.iloc[0])

    def change(self, readout: Readout, environment: str) -> Summary | None:
        """Mean change from the shortest to the longest context, seed by seed; None when either was not measured."""
        start: dict[int, list[float]] = defaultdict(list)
        ends = []
        for row in self.results:
            if row.method != self.method or (row.target, row.probe, row.metric) != readout or row.control not in PLAIN[:2]:
                continue
            if row.context_length == self.lengths[0] and (row.environment == environment or row.control == Control.EMPTY):
                start[row.seed].append(row.value)
            if row.context_length == self.lengths[-1] and row.environment == environment:
                ends.append(row)
        differences = [replace(row, value=row.value - float(np.mean(start[row.seed]))) for row in ends if row.seed in start]
        return summarise(differences)[0] if differences else None


def _told_apart(row: Result) -> Result:
    """The row, its target under a name of its own when it was read from predicted embeddings (`predicted-probe`)."""
    if not row.protocol.startswith("predicted-probe/") or row.target.startswith(_PREDICTED):
        return row
    return replace(row, target=_PREDICTED + row.target)


def _main_method(frame: pd.DataFrame) -> str:
    contextual = frame.loc[frame["environment"] != CONTEXT_FREE, "method"]
    candidates = list(contextual.unique()) or list(frame["method"].unique())
    return "context_ssl" if "context_ssl" in candidates else str(candidates[0])
