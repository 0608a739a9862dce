"""The figures of the fairness study, from stored rows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from fairness_rows import (
    CALIBRATION,
    GROUP_METRICS,
    LENGTHS,
    LONGEST,
    ODDS,
    SHORT_PROBES,
    UTILITY_PROBE,
    Numbers,
    Place,
    StudySet,
    own_place,
    target_words,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from runs import Record

from contextssl.reporting.names import environment_name, metric_name
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
    svg_of,
)


def curves(study: StudySet, numbers: Numbers, note: str | None = None) -> list[Figure]:
    """Leakage, utility, equalized odds and calibration against context length, a line for each thing told."""
    wanted = (
        ("sex: strongest AUROC", lambda place: numbers.leakage(place, ("sex",), SHORT_PROBES)),
        (f"{target_words(study.target)}: AUROC", lambda place: numbers.utility(place, study.target, "auroc")),
        ("equalized-odds difference", lambda place: numbers.utility(place, study.target, f"{ODDS}(sex)")),
        ("calibration difference", lambda place: numbers.utility(place, study.target, f"{CALIBRATION}(sex)")),
    )
    with house_style():
        subtitle = f"{study.title}. First: linear and MLP probes; others: linear, standardised. Lower is fairer in the last two."
        rows_of_panels, panels = _rows([title for title, _ in wanted], subtitle, note)
        for axes, (_, read) in zip(panels, wanted, strict=True):
            labels = []
            for series, environment in enumerate(("sex", "none")):
                rows = [(x, read(own_place(study.experiment, environment, length))) for x, length in enumerate(LENGTHS)]
                labels += _line(axes, [(x, row) for x, row in rows if row is not None], series, environment_name(environment))
            axes.set_xticks(range(len(LENGTHS)), [str(length) for length in LENGTHS])
            axes.set_xlim(-0.25, len(LENGTHS) - 0.4)
            axes.set_xlabel("context tokens")
            axes.margins(y=0.1)
            axes.autoscale_view(scalex=False)
            _finish(axes)
            label_lines(axes, labels)
    return rows_of_panels


def _rows(titles: Sequence[str], subtitle: str, note: str | None) -> tuple[list[Figure], list[Axes]]:
    """Panels two by two, a figure for each row of them."""
    found, panels = [], []
    for start in range(0, len(titles), 2):
        figure, row = panel_row(titles[start : start + 2], "" if start else subtitle, None if start else note)
        found.append(figure)
        panels += row
    return found, panels


def stacked(rows: Sequence[Figure]) -> str:
    """Figures one above the other as one SVG."""
    pieces, width, height = [], 0.0, 0.0
    for figure in rows:
        size = tuple(72 * inches for inches in figure.get_size_inches())
        text = svg_of(figure)
        inner = re.sub(r'width="([\d.]+)pt" height="([\d.]+)pt"', r'width="\1" height="\2"', text[text.index("<svg") :], count=1)
        pieces.append(inner.replace("<svg", f'<svg y="{height:g}"', 1))
        width, height = max(width, size[0]), height + size[1]
    box = f'width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>\n' + "".join(pieces) + "</svg>\n"


def _line(axes: Axes, rows: Sequence[tuple[int, Record]], series: int, name: str) -> list[LineLabel]:
    """A line with its band; the label for its end."""
    if not rows:
        return []
    x, colour = [place for place, _ in rows], COLOURS[series]
    mean, low, high = (np.array([_bounds(row)[part] for _, row in rows]) for part in range(3))
    axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)
    axes.plot(x, mean, color=colour, marker=MARKERS[series], markeredgecolor=PAPER, markeredgewidth=0.7, zorder=3)
    return [LineLabel(float(mean[-1]), name, colour)]


def group_bars(study: StudySet, numbers: Numbers, note: str | None = None) -> list[Figure]:
    """Rates and calibration errors of both sexes: bars with intervals, told sex, told nothing, and all columns."""
    groups = _groups(numbers, study.target)
    places = [
        (environment_name("sex"), own_place(study.experiment, "sex")),
        (environment_name("none"), own_place(study.experiment, "none")),
        ("all columns", Place(study.baselines, "columns", "-", "-", 0)),
    ]
    with house_style():
        subtitle = f"{study.title}: {target_words(study.target)} by the linear probe, standardised, at c = {LONGEST}; dotted: a calibrated one on so few rows"
        rows_of_panels, panels = _rows([metric_name(metric) for metric in GROUP_METRICS], subtitle, note)
        for axes, metric in zip(panels, GROUP_METRICS, strict=True):
            for position, (_, place) in enumerate(places):
                for series, group in enumerate(groups):
                    row = numbers.row(place, study.target, UTILITY_PROBE, f"{metric}(sex={group})")
                    if row is not None:
                        _bar(axes, position + (series - 0.5) * 0.36, row, series, floor=metric == "calibration_error")
            axes.set_xticks(range(len(places)), [name.replace(" ", "\n", 1) for name, _ in places])
            axes.set_xlim(-0.55, len(places) - 0.45)
            _finish(axes)
        panels[-1].legend(
            handles=[Line2D([], [], color=COLOURS[i], marker="s", linestyle="none", label=g) for i, g in enumerate(groups)],
            loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=7.5,
        )  # fmt: skip
    return rows_of_panels


def _bar(axes: Axes, x: float, row: Record, series: int, floor: bool) -> None:
    mean, low, high = _bounds(row)
    axes.bar(x, mean, width=0.34, color=COLOURS[series], alpha=0.75, linewidth=0, zorder=1)
    axes.plot([x, x], [max(low, 0.0), high], color=SOFT, linewidth=1.1, zorder=3)
    if floor and row["floor"] is not None:
        axes.plot([x - 0.17, x + 0.17], [row["floor"]] * 2, color=SOFT, linewidth=1.1, linestyle=":", zorder=4)


def _groups(numbers: Numbers, target: str) -> list[str]:
    """The values of sex, as metrics name them."""
    names = [metric for metric in numbers.metrics(target) if metric.startswith("selection_rate(sex=")]
    return sorted(metric.removeprefix("selection_rate(sex=").removesuffix(")") for metric in names)


def _bounds(row: Record) -> tuple[float, float, float]:
    """Mean and bounds; nan for those that are not there."""
    low, high = (float("nan") if row[name] is None else row[name] for name in ("low", "high"))
    return row["mean"], low, high


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", color=RULE, linewidth=0.4)
    axes.set_axisbelow(True)
    set_ticks(axes.yaxis)
