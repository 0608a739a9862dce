"""Every method in one table, and its place in the plane of fairness or leakage against utility."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from contextssl.reporting import names
from contextssl.reporting.figures import PlanePoint
from contextssl.reporting.summary import PLAIN, Readout, Study, environment_rank
from contextssl.reporting.tables import Cell, Table

_FAIRNESS = (
    "demographic_parity_difference",
    "equal_opportunity_difference",
    "equalized_odds_difference",
    "equalized_odds_difference_mean",
    "calibration_error_difference",
)
_NAN = float("nan")
# Methods this close to a constant predictor's utility are fair for no good reason and would only stretch the plane.
_TRIVIAL = 0.005


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of the comparison: a method under one context, or without any.

    Attributes:
        label: what it is called in print.
        method, environment, length: where its rows stand in the frame.
    """

    label: str
    method: str
    environment: str
    length: int


def contenders(study: Study) -> list[Contender]:
    """Contextual methods at c = 0 and at the longest context of each environment, then context-free ones."""
    found = []
    for method in dict.fromkeys([study.method, *study.frame["method"]]):
        rows = study.frame[(study.frame["method"] == method) & study.frame["control"].isin(PLAIN)]
        contextual = rows[rows["environment"] != names.CONTEXT_FREE]
        name = names.method_name(method)
        if contextual.empty:
            found.append(Contender(name, method, names.CONTEXT_FREE, int(rows["context_length"].min())))
            continue
        longest = int(contextual["context_length"].max())
        if (contextual["context_length"] == 0).any():
            start = contextual.loc[contextual["context_length"] == 0, "environment"].iloc[0]
            found.append(Contender(f"{name}, c = 0", method, start, 0))
        told = sorted(contextual.loc[contextual["context_length"] == longest, "environment"].unique(), key=environment_rank)
        if longest:
            found += [Contender(f"{name}, {names.environment_name(e)}, c = {longest}", method, e, longest) for e in told]
    return found


def lookup(study: Study, contender: Contender, readout: Readout, exact: bool = False) -> pd.Series | None:
    """The contender's cell for a readout; unless `exact`, by its only probe where it was not read by that one."""
    where = (contender.method, contender.environment, contender.length, readout.target, readout.metric)
    probes = study.cells.get(where, {})
    if readout.probe in probes:
        return probes[readout.probe]
    return next(iter(probes.values())) if len(probes) == 1 and not exact else None


def columns(study: Study) -> list[Readout]:
    """What methods are compared on: utility and fairness of each target, what every probe reads of each group."""
    found = []
    for target in study.headline_targets:
        if study.group_of(target) is None:
            measured = study.own.loc[study.own["target"] == target, "metric"]
            wanted = [
                study.metric(target),
                *(metric for base in ("auroc", *_FAIRNESS) for metric in names.versions_of(base, measured)),
            ]
            found += [study.readout(target, metric) for metric in dict.fromkeys(wanted)]
    for target in study.headline_targets:
        if study.group_of(target) is not None:
            found += study.readouts(target) or [study.readout(target)]
    return found


def comparison_table(study: Study) -> Table:
    """One line per contender, one column per readout."""
    readouts = columns(study)
    lines = contenders(study)
    return Table(
        corner=("method",),
        columns=tuple(_heading(study, readout) for readout in readouts),
        rows=tuple((contender.label,) for contender in lines),
        cells=tuple(
            tuple(
                _cell(lookup(study, contender, readout, exact=study.group_of(readout.target) is not None)) for readout in readouts
            )
            for contender in lines
        ),
    )


def _heading(study: Study, readout: Readout) -> tuple[str, str]:
    if study.group_of(readout.target) is None:
        return names.target_name(readout.target), names.metric_name(readout.metric)
    return f"{names.target_name(readout.target)} {names.metric_name(readout.metric)}", names.probe_name(readout.probe)


def _cell(row: pd.Series | None) -> Cell:
    if row is None:
        return Cell()
    mean, low, high = _bounds(row)
    return Cell(mean, None if pd.isna(low) else low, None if pd.isna(high) else high)


def fairness_points(study: Study, target: str, metric: str) -> list[PlanePoint]:
    """Points of utility (headline metric of `target`) against a fairness metric of the same target."""
    return _points(study, study.readout(target, metric), study.readout(target))


def leakage_points(study: Study, target: str, leaked: Readout) -> list[PlanePoint]:
    """Points of utility (headline metric of `target`) against how well one probe reads a group's target."""
    return _points(study, leaked, study.readout(target), exact=True)


def strongest_shared_probe(study: Study, target: str) -> Readout | None:
    """The probe that reads the most of `target`, among those measured for every contender that has any; None if none."""
    lines = [
        [readout for readout in study.readouts(target) if lookup(study, contender, readout, exact=True) is not None]
        for contender in contenders(study)
    ]
    lines = [line for line in lines if line]
    shared = [readout for readout in study.readouts(target) if all(readout in line for line in lines)]
    untold = study.untold(target)
    if not lines or not shared or not untold:
        return None
    cells = {readout: study.cell(readout, untold[-1], study.lengths[-1]) for readout in shared}
    return max(shared, key=lambda readout: -1.0 if cells[readout] is None else float(cells[readout]["mean"]))  # type: ignore[index]


def _points(study: Study, x: Readout, y: Readout, exact: bool = False) -> list[PlanePoint]:
    points = []
    for series, environment in enumerate(study.environments):
        points += _path(study, x, y, environment, series)
    for contender in contenders(study):
        if contender.method != study.method:
            points += _point(study, contender, x, y, exact)
    return points


def _path(study: Study, x: Readout, y: Readout, environment: str, series: int) -> list[PlanePoint]:
    """The method's own points in one environment, from c = 0 on; only the longest context is named."""
    shared: Sequence[int] = [n for n in study.lengths if all(study.cell(r, environment, n) is not None for r in (x, y))]
    points = []
    for length in shared:
        label = f"{names.environment_name(environment)}, c = {length}" if length == shared[-1] else ""
        cells = [study.cell(readout, environment, length) for readout in (x, y)]
        points.append(PlanePoint(label, environment, _bounds(cells[0]), _bounds(cells[1]), series))
    return points


def _point(study: Study, contender: Contender, x: Readout, y: Readout, exact: bool) -> list[PlanePoint]:
    cells = (lookup(study, contender, x, exact), lookup(study, contender, y))
    if cells[0] is None or cells[1] is None:
        return []
    floor = study.floor(y)
    if floor is not None and cells[1]["mean"] <= floor + _TRIVIAL:
        return []
    return [PlanePoint(contender.label, "", _bounds(cells[0]), _bounds(cells[1]), None)]


def _bounds(row: pd.Series | None) -> tuple[float, float, float]:
    return (_NAN, _NAN, _NAN) if row is None else (float(row["mean"]), float(row["low"]), float(row["high"]))
