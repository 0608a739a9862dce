"""The figures of a report: context curves, the plane of fairness or leakage against utility, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from contextssl.reporting import names
from contextssl.reporting.number_format import number
from contextssl.reporting.style import (
    COLOURS,
    INK,
    MARKERS,
    PAPER,
    RULE,
    SOFT,
    LineLabel,
    house_style,
    label_lines,
    label_points,
    panel,
    panel_row,
    set_ticks,
)
from contextssl.reporting.summary import Readout, Study

_BAND_REACH = 0.3  # how far bands may stretch the axis, as a share of what means and floors span
CONTROL_MARKERS = {"shuffled": "x", "noise": "+", "wrong-group": "1"}


def context_curves(study: Study, readout: Readout, note: str | None = None) -> Figure:
    """Metric against context length: a line with its interval per environment, the floor dashed, controls as marks."""
    with house_style():
        what = names.metric_name(readout.metric)
        title = what if readout.target == "-" else f"{names.target_name(readout.target)}: {what}"
        how = filter(None, (names.reader_name(readout.probe), names.direction(readout.metric)))
        figure, axes = panel(title, ", ".join(how), note)
        labels = _environment_lines(axes, study, readout, study.environments)
        labels += _floor_line(axes, study, readout) + _encoder_line(axes, study, readout)
        _control_key(axes, _control_marks(axes, study, readout, study.environments))
        _length_axis(axes, study, readout, labels)
    return figure


def context_story(study: Study, readouts: Sequence[Readout], note: str | None = None) -> Figure:
    """One panel for each read-out: a line per environment that tells something, the floor dashed, contexts that lie as marks."""
    with house_style():
        environments = study.telling
        probes = names.join([names.reader_name(probe) for probe in dict.fromkeys(readout.probe for readout in readouts)])
        titles = [f"{names.target_name(readout.target)}: {names.metric_name(readout.metric)}" for readout in readouts]
        figure, panels = panel_row(titles, probes, note)
        seen: list[str] = []
        for axes, readout in zip(panels, readouts, strict=True):
            labels = _environment_lines(axes, study, readout, environments) + _floor_line(axes, study, readout)
            seen += _control_marks(axes, study, readout, environments)
            _length_axis(axes, study, readout, labels)
        _control_key(panels[0], seen)
    return figure


def _length_axis(axes: Axes, study: Study, readout: Readout, labels: Sequence[LineLabel]) -> None:
    """Limits, labels at the ends of lines, and one tick a context length."""
    _set_limits(axes, study, readout)
    label_lines(axes, labels)
    axes.set_xticks(range(len(study.lengths)), [str(length) for length in study.lengths])
    axes.set_xlim(-0.25, len(study.lengths) - 0.4)
    axes.set_xlabel("context tokens")
    _finish(axes)


def _environment_lines(axes: Axes, study: Study, readout: Readout, environments: Sequence[str]) -> list[LineLabel]:
    """One line with markers and an interval band per environment; returns the labels for their ends."""
    labels = []
    for environment in environments:
        position, cells = study.environments.index(environment), study.curve(readout, environment)
        if cells.empty:
            continue
        colour, marker = _look(position)
        x = [study.lengths.index(length) for length in cells["context_length"]]
        mean, low, high = (cells[name].to_numpy() for name in ("mean", "low", "high"))
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)
        axes.plot(x, mean, color=colour, marker=marker, markeredgecolor=PAPER, markeredgewidth=0.7, zorder=3, label=environment)
        labels.append(LineLabel(float(mean[-1]), names.environment_name(environment), colour))
    return labels


def _floor_line(axes: Axes, study: Study, readout: Readout) -> list[LineLabel]:
    """What a constant predictor scores, dashed; returns its label."""
    if (floor := study.floor(readout)) is None:
        return []
    axes.axhline(floor, color=SOFT, linewidth=0.9, dashes=(4, 2.5), zorder=0, label="floor")
    return [LineLabel(floor, f"floor {number(floor)}", SOFT)]


def _encoder_line(axes: Axes, study: Study, readout: Readout) -> list[LineLabel]:
    """What the context-free encoder features hold, dotted; returns its label."""
    features = study.curve(readout, names.CONTEXT_FREE)["mean"]
    if features.empty:
        return []
    value = float(features.iloc[0])
    axes.axhline(value, color=SOFT, linewidth=0.9, linestyle=":", zorder=0, label="encoder")
    return [LineLabel(value, "encoder alone", SOFT)]


def _control_marks(axes: Axes, study: Study, readout: Readout, environments: Sequence[str]) -> list[str]:
    """Marks for what is no true context, a little right of the lengths they belong to; returns which controls there are."""
    seen = []
    for environment in environments:
        position = study.environments.index(environment)
        for control in CONTROL_MARKERS:
            cells = study.curve(readout, environment, control)
            cells = cells[cells["context_length"].isin(study.lengths)]
            if cells.empty:
                continue
            offset = 0.18 + 0.15 * list(CONTROL_MARKERS).index(control)
            x = [study.lengths.index(length) + offset for length in cells["context_length"]]
            axes.plot(
                x, cells["mean"], color=_look(position)[0], zorder=4, label=f"{environment} {control}", **_control_style(control)
            )
            seen.append(control)
    return seen


def _control_style(control: str) -> dict[str, Any]:
    return {"linestyle": "none", "marker": CONTROL_MARKERS[control], "markersize": 5.5, "markeredgewidth": 1.1}


def _control_key(axes: Axes, seen: Sequence[str]) -> None:
    """The meaning of the controls' marks, above the axes."""
    handles = [
        Line2D([], [], color=SOFT, label=names.control_name(control), **_control_style(control))
        for control in CONTROL_MARKERS
        if control in seen
    ]
    if handles:
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(-0.03, 0.985),
            ncols=len(handles),
            frameon=False,
            fontsize=6.2,
            labelcolor=SOFT,
            handletextpad=0.0,
            columnspacing=0.8,
            borderpad=0,
        )


def _set_limits(axes: Axes, study: Study, readout: Readout) -> None:
    """Room for all lines, bands, marks and the floor, the same for all probes; differences between groups start at zero."""
    rows = pd.concat([study.rows(other) for other in study.readouts(readout.target, readout.metric)])
    drawn, bands = (rows[columns].to_numpy(dtype=float) for columns in (["mean", "floor"], ["low", "high"]))
    if not np.isfinite(drawn).any():
        return
    if rows["mean"].max() <= 1:  # t intervals of bounded metrics may reach past the bound
        bands = bands.clip(max=1)
    bottom, top = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    # The bands of two draws can be wider than everything there is to see: they are cut off.
    reach = _BAND_REACH * max(top - bottom, 0.02)
    bands = bands[np.isfinite(bands)].clip(bottom - reach, top + reach)
    bottom, top = min([bottom, *bands]), max([top, *bands])
    if names.lower_is_better(readout.metric):
        bottom = min(bottom, 0.0)
    span = max(top - bottom, 0.02)
    axes.set_ylim(
        bottom - (0 if bottom == 0 and names.base_metric(readout.metric).endswith("difference") else 0.06 * span),
        top + 0.06 * span,
    )


@dataclass(frozen=True, slots=True)
class PlanePoint:
    """One point of the plane: a method under one context, with its cells on both axes.

    Attributes:
        label: what stands beside the point; empty for the points on the way.
        path: points of one path are joined, in order; empty for none.
        x, y: (mean, low, high), NaN bounds where there is no interval.
        series: position of its colour and marker; None for baselines.
    """

    label: str
    path: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    series: int | None


def utility_plane(points: Sequence[PlanePoint], title: str, x_label: str, y_label: str, note: str | None = None) -> Figure:
    """Utility (up) against unfairness or leakage (right): upper left is better; paths run from c = 0 to the longest."""
    with house_style():
        figure, axes = panel(title, "up and to the left is better", note, wide=True, labelled=False)
        for path in dict.fromkeys(point.path for point in points if point.path):
            joined = [point for point in points if point.path == path]
            colour = _look(joined[0].series or 0)[0]
            axes.plot(
                [p.x[0] for p in joined], [p.y[0] for p in joined], color=colour, linewidth=0.9, alpha=0.6, zorder=2, label=path
            )
        for point in points:
            _plane_point(axes, point)
        axes.margins(0.1)
        axes.autoscale_view()
        _finish(axes)
        set_ticks(axes.xaxis, 7)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        named = sorted((point for point in points if point.label), key=lambda point: (point.series is None, point.series))
        label_points(
            axes,
            [(p.x[0], p.y[0], p.label, SOFT if p.series is None else _look(p.series)[0]) for p in named],
            avoid=[place for point in points for place in _covered(point)] + _along_paths(points),
        )
    return figure


def _along_paths(points: Sequence[PlanePoint]) -> list[tuple[float, float]]:
    """Places along the lines that join the points of each path."""
    joined = [(one, other) for one, other in zip(points, points[1:], strict=False) if one.path and one.path == other.path]
    shares = np.linspace(0, 1, 12)
    return [
        (float(one.x[0] + share * (other.x[0] - one.x[0])), float(one.y[0] + share * (other.y[0] - one.y[0])))
        for one, other in joined
        for share in shares
    ]


def _covered(point: PlanePoint) -> list[tuple[float, float]]:
    """Places under a point's mark and along its interval cross."""
    places = [(point.x[0], point.y[0])]
    if point.label and np.isfinite([point.x, point.y]).all():
        places += [(float(x), point.y[0]) for x in np.linspace(point.x[1], point.x[2], 7)]
        places += [(point.x[0], float(y)) for y in np.linspace(point.y[1], point.y[2], 7)]
    return places


def _plane_point(axes: Axes, point: PlanePoint) -> None:
    """A filled mark with its interval cross where the point has a label, a small open one on the way."""
    colour, marker = (SOFT, "o") if point.series is None else _look(point.series)
    bounds = np.array([point.x, point.y])
    if point.label and np.isfinite(bounds).all():
        for axis, (_, low, high) in enumerate(bounds):
            style: dict[str, Any] = {"color": colour, "linewidth": 0.8, "alpha": 0.55, "zorder": 1}
            other = bounds[1 - axis, 0]
            axes.plot([low, high] if axis == 0 else [other] * 2, [other] * 2 if axis == 0 else [low, high], **style)
    size, face = (4.6, colour) if point.label else (2.6, PAPER)
    edge = PAPER if point.label else colour
    axes.plot(
        *bounds[:, 0], marker=marker, markersize=size, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=0.7, zorder=3
    )


def training_curves(title: str, series: Mapping[str, tuple[Sequence[float], Sequence[float]]], note: str | None = None) -> Figure:
    """Training quantities against the step: one line per entry, name to (steps, values); log axis for wide positive ranges."""
    with house_style():
        figure, axes = panel(title, "", note, labelled=len(series) > 1)
        ends = []
        for position, (name, (steps, values)) in enumerate(series.items()):
            colour = INK if len(series) == 1 else _look(position)[0]
            axes.plot(steps, values, color=colour, linewidth=1.2, marker="o" if len(steps) == 1 else "", label=name)
            if finite := [value for value in values if np.isfinite(value)]:
                ends.append(LineLabel(finite[-1], name, colour))
        everything = np.array([value for _, values in series.values() for value in values], dtype=float)
        everything = everything[np.isfinite(everything)]
        if everything.size and everything.min() > 0 and everything.max() > 30 * everything.min():
            axes.set_yscale("log")
        axes.autoscale_view()
        _finish(axes)
        set_ticks(axes.xaxis, 4)
        axes.set_xlabel("step")
        if len(series) > 1:
            label_lines(axes, ends)
    return figure


def _look(position: int) -> tuple[str, str]:
    return COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)]


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", color=RULE, linewidth=0.4)
    axes.set_axisbelow(True)
    if axes.get_yscale() == "linear":
        set_ticks(axes.yaxis)
