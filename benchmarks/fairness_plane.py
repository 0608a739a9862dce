"""The plane of leakage and utility: one model's contexts, what was trained or fitted for its one point, and the front of the latter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from fairness_rows import (
    LONGEST,
    OURS,
    Numbers,
    Place,
    Point,
    StudySet,
    baseline_places,
    decided_places,
    own_place,
    pareto_front,
    plane_point,
    target_words,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from runs import Record

from contextssl.reporting.names import environment_name, target_name
from contextssl.reporting.style import COLOURS, MARKERS, PAPER, RULE, SOFT, house_style, label_points, panel, set_ticks

FRONT = "#a6acb5"
KEY_INCHES = 1.75


class Family(NamedTuple):
    """Methods that share a mark: those whose name begins so."""

    start: str
    title: str
    marker: str


# The first that fits counts.
FAMILIES = (
    Family("columns-without", "columns without sex", "h"),
    Family("columns", "all columns", "o"),
    Family("correlation-remover", "CorrelationRemover", "^"),
    Family("adversarial", "adversarial encoder", "D"),
    Family("exponentiated-gradient", "ExponentiatedGradient", "v"),
    Family("threshold-optimizer", "ThresholdOptimizer", "P"),
    Family("simclr", "SimCLR", "X"),
    Family("vicreg", "VICReg", "*"),
)


def family(method: str) -> Family:
    """Whose mark a method has; of what stands on our embeddings that of the classifier."""
    name = method.removeprefix(f"{OURS}+")
    return next(known for known in FAMILIES if name.startswith(known.start))


def plane(study: StudySet, numbers: Numbers, note: str | None = None) -> Figure:
    """Leakage of sex against accuracy: coloured paths and labels for our contexts, grey marks with a key for all others."""
    with house_style():
        figure, axes = panel(f"{study.title}: leakage and utility", "up and to the left is better", note, wide=True)
        box, width = axes.get_position(), figure.get_figwidth()
        axes.set_position((box.x0, box.y0, 1 - box.x0 - KEY_INCHES / width, box.height))
        found = [
            (place.method, point) for _, place in baseline_places(study, numbers) if (point := plane_point(study, numbers, place))
        ]
        drawn = _others(axes, found, SOFT, SOFT) + _on_ours(axes, study, numbers)
        labels, places = _own(axes, study, numbers)
        axes.margins(0.08)
        axes.autoscale_view()
        _front(axes, pareto_front(point for _, point in found))
        axes.grid(axis="y", color=RULE, linewidth=0.4)
        axes.set_axisbelow(True)
        set_ticks(axes.yaxis)
        set_ticks(axes.xaxis, 7)
        axes.set_xlabel("AUROC of sex by the strongest probe")
        axes.set_ylabel(f"accuracy of {target_words(study.target)}")
        label_points(axes, labels, avoid=[*places, *((point.leakage, point.utility) for _, point in found)])
        _key(axes, [name for name, _ in found], drawn)
    return figure


def _own(axes: Axes, study: StudySet, numbers: Numbers) -> tuple[list[tuple[float, float, str, str]], list[tuple[float, float]]]:
    """A path for each thing told, from no context to the longest; labels, and what is covered by lines."""
    labels: list[tuple[float, float, str, str]] = []
    covered: list[tuple[float, float]] = []
    for series, (experiment, environment) in enumerate(_shown(study)):
        # Boosting is measured at the ends, so points between are left out of the path.
        rows = [_rows(study, numbers, own_place(experiment, environment, length)) for length in (0, LONGEST)]
        if rows[0] is None or rows[1] is None:
            continue
        colour, ends = COLOURS[series], [(x["mean"], y["mean"]) for x, y in (rows[0], rows[1])]
        axes.plot(*zip(*ends, strict=True), color=colour, linewidth=0.9, alpha=0.6, zorder=2)
        covered += [tuple(place) for place in np.linspace(ends[0], ends[1], 12)]
        for (x, y), place, filled in zip((rows[0], rows[1]), ends, (False, True), strict=True):
            if filled or series % 2 == 0:  # both paths of a model begin at the same place
                face, edge, marker = (colour, PAPER, MARKERS[series]) if filled else (PAPER, SOFT, "o")
                covered += _cross(axes, x, y, colour if filled else SOFT)
                style = {"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": 0.8}
                axes.plot(*place, marker=marker, markersize=5.2, zorder=4, **style)
        told = environment_name(environment).replace(target_name(study.target), target_words(study.target))
        labels.append((*ends[1], told, colour))
        if series % 2 == 0:
            labels.append((*ends[0], "no context" if series == 0 else "told the target: no context", SOFT))
    return labels, covered


def _shown(study: StudySet) -> list[tuple[str, str]]:
    """Experiment and environment of each path, in the order of colours."""
    return [(model.experiment, environment) for model in study.models for environment in (model.telling, model.hiding)]


def _rows(study: StudySet, numbers: Numbers, place: Place) -> tuple[Record, Record] | None:
    leakage, utility = numbers.leakage(place, ("sex",)), numbers.utility(place, study.target)
    return None if leakage is None or utility is None else (leakage, utility)


def _cross(axes: Axes, x: Record, y: Record, colour: str) -> list[tuple[float, float]]:
    """The intervals on both axes, where there are any; places along them."""
    covered = []
    for row, other, across in ((x, y["mean"], True), (y, x["mean"], False)):
        if row["low"] is not None and row["high"] is not None:
            ends = [(end, other) if across else (other, end) for end in (row["low"], row["high"])]
            axes.plot(*zip(*ends, strict=True), color=colour, linewidth=0.8, alpha=0.5, zorder=1)
            covered += [tuple(place) for place in np.linspace(ends[0], ends[1], 9)]
    return covered


def _others(axes: Axes, found: Iterable[tuple[str, Point]], face: str, edge: str) -> list[str]:
    """A mark for each method; returns whose."""
    names = []
    for method, point in found:
        style = {"markersize": 5.0, "markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": 0.8, "alpha": 0.9}
        axes.plot(*point, marker=family(method).marker, linestyle="none", zorder=3, **style)
        names.append(method)
    return names


def _on_ours(axes: Axes, study: StudySet, numbers: Numbers) -> list[str]:
    """Open marks for classifiers on our embeddings, in the context's colour; returns them."""
    names: list[str] = []
    for _, place in decided_places(study, numbers):
        point, series = plane_point(study, numbers, place), _shown(study).index((place.experiment, place.environment))
        names += _others(axes, [(place.method, point)] if point else [], PAPER, COLOURS[series])
    return names


def _front(axes: Axes, front: Sequence[Point]) -> None:
    """The front as stairs: at each leakage the best utility that leaks no more."""
    if front:
        limits = axes.get_xlim(), axes.get_ylim()
        x = [*(point.leakage for point in front), limits[0][1]]
        y = [*(point.utility for point in front), front[-1].utility]
        axes.step(x, y, where="post", color=FRONT, linewidth=0.9, dashes=(4, 2.5), zorder=0)
        axes.set_xlim(limits[0])
        axes.set_ylim(limits[1])


def _key(axes: Axes, baselines: Sequence[str], on_ours: Sequence[str]) -> None:
    """What the marks mean, right of the axes."""
    style = {"linestyle": "none", "markersize": 5.0, "markeredgewidth": 0.8}
    shown = {family(method) for method in (*baselines, *on_ours)}
    handles = [
        Line2D([], [], color=SOFT, marker=known.marker, label=known.title, **style) for known in FAMILIES if known in shown
    ]
    handles.append(Line2D([], [], color=FRONT, linewidth=0.9, dashes=(4, 2.5), label="front of the grey marks"))
    if any(method.startswith(f"{OURS}+") for method in on_ours):
        title = "open: on our embeddings"
        handles.append(Line2D([], [], marker="v", markerfacecolor=PAPER, markeredgecolor=COLOURS[1], label=title, **style))
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=7, labelcolor=SOFT, handletextpad=0.4,
    )  # fmt: skip
