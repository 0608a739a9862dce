"""The figures of the 3DIEBench benchmark, from stored rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from iebench_rows import CONTEXTUAL, GROUPS, LENGTHS, LONGEST, Numbers, other
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from runs import Record

from contextssl.reporting.names import probe_name
from contextssl.reporting.style import COLOURS, MARKERS, PAPER, RULE, SOFT, LineLabel, house_style, label_lines, set_ticks

NAMES = {"rotation": "rotation", "color": "colour"}
LOOKS = {"rotation": (COLOURS[0], MARKERS[0]), "color": (COLOURS[1], MARKERS[1])}
HEADER, FOOTER = 0.62, 0.42  # inches
ACCURACY = "top-1"


class Point(NamedTuple):
    """A number of a curve with its interval; bounds are nan where there is none."""

    x: float
    mean: float
    low: float
    high: float


def context_curves(rows: Sequence[Record], probe: str) -> Figure:
    """Both groups against context length after both contexts, one column for each preset that was measured."""
    numbers = Numbers(rows)
    columns = {preset: preset for preset in CONTEXTUAL if numbers.measured(preset)}
    return _grid(numbers, columns, probe, "What is read of each group against context length")


def auxiliary_curves(rows: Sequence[Record], runs: Mapping[float, str], probe: str = "linear") -> Figure:
    """The same without and with the auxiliary predictor (Gupta et al. 2024, Figure 5); runs by its weight."""
    columns = {f"weight {weight:g}": run for weight, run in runs.items()}
    return _grid(Numbers(rows), columns, probe, "Auxiliary predictor")


def mask_points(rows: Sequence[Record], runs: Mapping[float, str], probe: str = "linear") -> dict[str, list[Point]]:
    """Against the mask probability: the told groups' R2 at the longest contexts, and top-1 (Gupta et al. 2024, Figure 4a)."""
    numbers = Numbers(rows)
    found: dict[str, list[Point]] = {}
    for probability, run in sorted(runs.items()):
        measured = {NAMES[group]: numbers.r2(run, group, group, LONGEST, probe) for group in GROUPS}
        measured |= {f"{NAMES[group]}, not told": numbers.r2(run, other(group), group, LONGEST, probe) for group in GROUPS}
        measured[ACCURACY] = numbers.top1(run, probe)
        for name, row in measured.items():
            if row is not None:
                found.setdefault(name, []).append(_point(probability, row))
    return found


def mask_curves(rows: Sequence[Record], runs: Mapping[float, str], probe: str = "linear") -> Figure:
    """Numbers against the mask probability, and each group against context length for every probability (Figure 4)."""
    with house_style():
        figure, panels = _panels(1, 3, 2.5, 2.3)
        _head(figure, "Mask probability", f"{probe_name(probe)} probe; right: solid where the group is told, dashed where not")
        _against_probability(panels[0][0], mask_points(rows, runs, probe))
        for axes, group in zip(panels[0][1:], GROUPS, strict=True):
            _for_every_probability(axes, Numbers(rows), runs, group, probe)
    return figure


def _against_probability(axes: Axes, curves: Mapping[str, Sequence[Point]]) -> None:
    axes.set_title(f"at {LONGEST} tokens", loc="left")
    labels = []
    for index, (name, points) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        _line(axes, points, colour, MARKERS[index % len(MARKERS)])
        labels.append(LineLabel(points[-1].mean, name, colour))
    axes.set_xlabel("mask probability")
    axes.set_ylim(-0.1, 1.05)
    _finish(axes)
    set_ticks(axes.xaxis)
    label_lines(axes, labels)


def _for_every_probability(axes: Axes, numbers: Numbers, runs: Mapping[float, str], group: str, probe: str) -> None:
    axes.set_title(f"R² of {NAMES[group]}", loc="left")
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(runs)))
    labels = []
    for shade, (probability, run) in zip(shades, sorted(runs.items()), strict=True):
        colour = matplotlib.colors.to_hex(shade)
        for told, dashes in ((group, (1, 0)), (other(group), (3, 1.5))):
            points = _context_points(numbers, run, told, group, probe)
            _line(axes, points, colour, "o", dashes=dashes, band=False)
            if told == group and points:
                labels.append(LineLabel(points[-1].mean, f"{probability:g}", colour))
    _length_axis(axes)
    axes.set_ylim(-0.1, 1.05)
    _finish(axes)
    label_lines(axes, labels)


def _grid(numbers: Numbers, columns: Mapping[str, str], probe: str, title: str) -> Figure:
    """A row for each group that is read, a column for each run, a line for each group that a context tells."""
    with house_style():
        figure, panels = _panels(len(GROUPS), len(columns), max(1.42, 6.6 / len(columns)), 1.25)  # room for the header
        _head(
            figure, title, f"{probe_name(probe)} probe; bands: 95 % intervals over training seeds; dotted: a constant predictor"
        )
        _key(figure)
        for line, read in zip(panels, GROUPS, strict=True):
            for axes, (label, run) in zip(line, columns.items(), strict=True):
                for told in GROUPS:
                    _line(axes, _context_points(numbers, run, told, read, probe), *LOOKS[told])
                if (row := numbers.r2(run, read, read, 0, probe)) is not None:
                    axes.axhline(row["floor"], color=SOFT, linewidth=0.9, linestyle=":", zorder=0)
                axes.set_ylim(-0.15, 1.05)
                _length_axis(axes, labelled=read == GROUPS[-1])
                _finish(axes)
                if read == GROUPS[0]:
                    axes.set_title(label, loc="left")
                if axes is line[0]:
                    axes.set_ylabel(f"R² of {NAMES[read]}")
                else:
                    axes.set_yticklabels([])
    return figure


def _panels(num_lines: int, num_columns: int, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure of panels of that size in inches, with room for a header; labels stand right of single lines of panels."""
    left, gap = 0.5, 0.12 if num_lines > 1 else 1.15
    size = (left + num_columns * (width + gap), HEADER + num_lines * (height + 0.12) + FOOTER)
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    panels = []
    for line in range(num_lines):
        bottom = FOOTER + (num_lines - 1 - line) * (height + 0.12)
        places = [(left + column * (width + gap), bottom) for column in range(num_columns)]
        panels.append([figure.add_axes((x / size[0], y / size[1], width / size[0], height / size[1])) for x, y in places])
    return figure, panels


def _head(figure: Figure, title: str, subtitle: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(0.07 / width, 1 - 0.125 / height, title, fontsize=9, fontweight="bold", va="center")
    figure.text(0.07 / width, 1 - 0.3 / height, subtitle, fontsize=7.5, color=SOFT, va="center")


def _key(figure: Figure) -> None:
    """Which line is which context, above the panels on the right."""
    width, height = figure.get_size_inches()
    for place, group in enumerate(GROUPS):
        colour, marker = LOOKS[group]
        x, y = 1 - 1.6 / width, 1 - (0.125 + 0.16 * place) / height
        figure.add_artist(matplotlib.lines.Line2D([x], [y], color=colour, marker=marker, markersize=4.2, linestyle="none"))
        figure.text(x + 0.1 / width, y, f"context tells {NAMES[group]}", fontsize=7.5, color=colour, va="center")


def _context_points(numbers: Numbers, run: str, told: str, read: str, probe: str) -> list[Point]:
    return [_point(LENGTHS.index(length), row) for length, row in numbers.curve(run, told, read, probe)]


def _point(x: float, row: Record) -> Point:
    return Point(x, *(np.nan if row[name] is None else row[name] for name in ("mean", "low", "high")))


def _line(
    axes: Axes, points: Sequence[Point], colour: str, marker: str, dashes: tuple[float, float] = (1, 0), band: bool = True
) -> None:
    if not points:
        return
    x, mean, low, high = np.array(points).T
    if band:
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)
    axes.plot(x, mean, color=colour, marker=marker, dashes=dashes, markeredgecolor=PAPER, markeredgewidth=0.7, zorder=3)


def _length_axis(axes: Axes, labelled: bool = True) -> None:
    axes.set_xticks(range(len(LENGTHS)), [str(length) for length in LENGTHS] if labelled else [""] * len(LENGTHS))
    axes.set_xlim(-0.3, len(LENGTHS) - 0.7)
    if labelled:
        axes.set_xlabel("context tokens")


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", color=RULE, linewidth=0.4)
    axes.set_axisbelow(True)
    set_ticks(axes.yaxis)
