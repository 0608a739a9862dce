"""How many examples are needed: accuracy against the number of context pairs, beside the ideal observer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from label_shift_rows import LENGTHS, SHIFTED, SINGLE, TITLES, Numbers
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from runs import Record

from contextssl.reporting.names import environment_name
from contextssl.reporting.style import (
    COLOURS,
    MARKERS,
    PAPER,
    RULE,
    SOFT,
    LineLabel,
    house_style,
    label_lines,
    panel_row,
    set_ticks,
)

TOLD = ("supervised/label_shift", "supervised/adult_income_flip")
SUBTITLE = "Labels of the context's own rule. Solid: the model, band: 95 % over seeds; dashed: the ideal observer; dotted: one fixed rule"
DASHED = (4.0, 2.5)


@dataclass(frozen=True)
class Line:
    """One line: [P] mean, low and high, nan where it was not measured."""

    mean: list[float]
    low: list[float]
    high: list[float]

    @property
    def measured(self) -> bool:
        """Whether there is anything to draw."""
        return bool(np.isfinite(self.mean).any())


def examples(numbers: Numbers) -> Figure:
    """Three panels: rules told by actions on pictures and on Adult, and permutations read from labelled examples."""
    with house_style():
        titles = [f"{TITLES[name]}: accuracy" for name in TOLD]
        figure, panels = panel_row([*titles, "Permutations, read from labels: accuracy"], SUBTITLE)
        for axes, experiment in zip(panels[:2], TOLD, strict=True):
            _finish(axes, _rules(axes, numbers, experiment))
        _finish(panels[2], _permutations(panels[2], numbers))
    return figure


def _rules(axes: Axes, numbers: Numbers, experiment: str) -> list[LineLabel]:
    """A line for each rule with its observer and its reference; the labels for their ends."""
    labels = []
    for series, rule in enumerate(SHIFTED[experiment]):
        own, observer, fixed = (
            _line([numbers.label(name, rule, length, probe=probe) for length in LENGTHS])
            for name, probe in ((experiment, "head"), (experiment, "observer"), (f"{SINGLE[experiment]}/{rule}", "head"))
        )
        labels += _draw(axes, own, observer, series, environment_name(rule))
        if fixed.measured:
            axes.plot(fixed.mean, color=COLOURS[series], linewidth=1.1, linestyle=":", zorder=2)
    return labels


def _permutations(axes: Axes, numbers: Numbers) -> list[LineLabel]:
    labels = []
    for series, (name, control) in enumerate((("trained on", "true"), ("never seen", "unseen-rule"))):
        own, observer = (
            _line([{"mean": found.mean} for length in LENGTHS for found in [numbers.permutations(control, probe, length)]])
            for probe in ("head", "observer")
        )
        labels += _draw(axes, own, observer, series, name)
    return labels


def _line(rows: Sequence[Record | None]) -> Line:
    bounds = [[np.nan if (value := (row or {}).get(name)) is None else value for row in rows] for name in ("mean", "low", "high")]
    return Line(*bounds)


def _draw(axes: Axes, own: Line, observer: Line, series: int, name: str) -> list[LineLabel]:
    """The model's line with its band, the observer's dashed; the label for its end, if there is one."""
    if not own.measured:
        return []
    colour, places = COLOURS[series], np.arange(len(LENGTHS))
    axes.fill_between(places, own.low, np.minimum(own.high, 1.0), color=colour, alpha=0.16, linewidth=0, zorder=1)
    axes.plot(observer.mean, color=colour, linewidth=0.9, dashes=DASHED, zorder=2)
    axes.plot(own.mean, color=colour, marker=MARKERS[series], markeredgecolor=PAPER, markeredgewidth=0.7, zorder=3)
    return [LineLabel([value for value in own.mean if np.isfinite(value)][-1], name, colour)]


def _finish(axes: Axes, labels: Sequence[LineLabel]) -> None:
    axes.set_xticks(range(len(LENGTHS)), [str(length // 2) for length in LENGTHS])
    axes.set_xlim(-0.25, len(LENGTHS) - 0.4)
    axes.set_xlabel("context pairs")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(axis="y", color=RULE, linewidth=0.4)
    axes.set_axisbelow(True)
    set_ticks(axes.yaxis)
    if labels:
        label_lines(axes, labels)
    else:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", fontsize=8, color=SOFT)
