"""The look of the figures: one small panel size, one palette, direct labels, and files equal byte for byte.

The palette is Okabe and Ito's (2008), which survives the common colour-vision deficiencies; every colour also has
its own marker. Text is stored as outlines of a font that comes with matplotlib, so a figure looks the same anywhere.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

INK, SOFT, RULE, PAPER = "#1f2328", "#6b7280", "#d5d8dd", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "^", "D", "v", "P")
PANEL_INCHES, WIDE_INCHES = (3.6, 2.75), (6.4, 4.0)

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.2,
    "savefig.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "svg.fonttype": "path",
    "svg.hashsalt": "contextssl",
    "axes.unicode_minus": True,
}


@contextmanager
def house_style() -> Iterator[None]:
    """The settings above, whatever the reader's own matplotlib configuration says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def panel(
    title: str, subtitle: str, note: str | None = None, *, wide: bool = False, labelled: bool = True
) -> tuple[Figure, Axes]:
    """An empty panel: what is shown in bold, how it was measured in grey, and a note that must not be missed.

    `labelled` leaves room for labels right of the axes; `wide` panels take a whole line of a page.
    """
    width, height = WIDE_INCHES if wide else PANEL_INCHES
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    left, right, bottom, top = 0.46, 0.86 if labelled else 0.12, 0.43, 0.53 if subtitle else 0.34
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))
    figure.text(0.07 / width, 1 - 0.125 / height, title, fontsize=9, fontweight="bold", va="center")
    figure.text(0.07 / width, 1 - 0.315 / height, subtitle, fontsize=7.5, color=SOFT, va="center")
    if note:
        figure.text(1 - 0.05 / width, 1 - 0.125 / height, note, fontsize=7, color=COLOURS[1], va="center", ha="right")
    return figure, axes


def panel_row(titles: Sequence[str], subtitle: str, note: str | None = None) -> tuple[Figure, list[Axes]]:
    """Empty panels side by side in one figure, each under its title in bold; how all were measured stands in grey below the first."""
    width, height = PANEL_INCHES[0], PANEL_INCHES[1] + 0.1
    figure = Figure(figsize=(width * len(titles), height))
    FigureCanvasAgg(figure)
    left, right, bottom, top = 0.46, 0.9, 0.43, 0.68
    panels = []
    for place, title in enumerate(titles):
        x = place * width
        box = (
            (x + left) / (width * len(titles)),
            bottom / height,
            (width - left - right) / (width * len(titles)),
            1 - (bottom + top) / height,
        )
        panels.append(figure.add_axes(box))
        figure.text((x + 0.07) / (width * len(titles)), 1 - 0.125 / height, title, fontsize=9, fontweight="bold", va="center")
    figure.text(0.07 / (width * len(titles)), 1 - 0.315 / height, subtitle, fontsize=7.5, color=SOFT, va="center")
    if note:
        figure.text(
            1 - 0.05 / (width * len(titles)), 1 - 0.125 / height, note, fontsize=7, color=COLOURS[1], va="center", ha="right"
        )
    return figure, panels


def set_ticks(axis: Axis, count: int = 5) -> None:
    """Ticks at round numbers within the limits of a linear axis, all with as many decimals as the finest needs."""
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= tick <= high]
    decimals = next((d for d in range(6) if all(abs(round(tick, d) - tick) < 1e-9 * max(1.0, abs(high)) for tick in ticks)), 6)
    axis.set_ticks(ticks, [_tick(tick, decimals) for tick in ticks])


def _tick(value: float, decimals: int) -> str:
    if abs(value) < 1e-12:
        return "0"
    text = f"{abs(value):,.{decimals}f}"
    return ("−" if value < 0 else "") + (text[1:] if text.startswith("0.") else text)


_BESIDE = 1.03  # where labels begin, in widths of the axes
_TICKS_INCHES = 0.4  # what the labels of the next panel's ticks take


@dataclass(frozen=True, slots=True)
class LineLabel:
    """A label at the right-hand end of a line that ends at height `y`."""

    y: float
    text: str
    colour: str


def label_lines(axes: Axes, labels: Sequence[LineLabel], gap: float = 0.075) -> None:
    """Write labels right of the axes at their lines' heights, moved apart to at least `gap` of the axes' height, inside of it.

    The axes get narrower where a label would run over the edge of the figure or into the next panel.
    """
    ordered = sorted(labels, key=lambda label: (label.y, label.text))
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = within(spread([float(to_axes.transform((1.0, label.y))[1]) for label in ordered], gap), gap)
    texts = [
        axes.text(_BESIDE, height, label.text, color=label.colour, transform=axes.transAxes, va="center", fontsize=7.5)
        for label, height in zip(ordered, heights, strict=True)
    ]
    _make_room(axes, texts)


def _make_room(axes: Axes, texts: Sequence[Text]) -> None:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    longest = max((text.get_window_extent(renderer).width for text in texts), default=0.0) / figure.bbox.width
    box, inch = axes.get_position(), 1 / figure.get_figwidth()
    next_panels = [other.get_position().x0 - _TICKS_INCHES * inch for other in figure.axes if other.get_position().x0 > box.x1]
    room = min([1 - 0.1 * inch, *next_panels]) - box.x0 - longest
    if _BESIDE * box.width > room:
        axes.set_position((box.x0, box.y0, max(room / _BESIDE, box.width / 2), box.height))


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Ascending positions moved as little as a sweep can so that neighbours are at least `gap` apart.

    Positions that run into each other form a block around their mean, as in pool-adjacent-violators regression.
    """
    blocks: list[tuple[float, int]] = []  # centre, members
    for position in positions:
        blocks.append((position, 1))
        while len(blocks) > 1 and blocks[-1][0] - blocks[-2][0] < gap * (blocks[-1][1] + blocks[-2][1]) / 2:
            (right, right_size), (left, left_size) = blocks.pop(), blocks.pop()
            blocks.append(((right * right_size + left * left_size) / (right_size + left_size), right_size + left_size))
    return [centre + gap * (index - (size - 1) / 2) for centre, size in blocks for index in range(size)]


def within(positions: Sequence[float], gap: float) -> list[float]:
    """Ascending positions at least `gap` apart, pushed into 0..1 - gap / 2 as far as they fit there, keeping order and gaps.

    The space above belongs to the key of the marks.
    """
    moved = list(positions)
    for above, index in enumerate(reversed(range(len(moved)))):
        moved[index] = min(moved[index], 1 - gap * (above + 0.5))
    for index in range(len(moved)):
        moved[index] = max(moved[index], gap * index)
    return moved


def label_points(axes: Axes, points: Sequence[tuple[float, float, str, str]], avoid: Sequence[tuple[float, float]]) -> None:
    """Write a label (x, y, text, colour) beside each point, on the side where it covers least of what is there.

    `avoid` are other places (x, y) where something is drawn. The limits of the axes must be final.
    """
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    places = np.array([*((x, y) for x, y, _, _ in points), *avoid])
    centres = axes.transData.transform(places)
    taken = np.hstack([centres - 3, centres + 3])  # x0, y0, x1, y1 in pixels
    frame = axes.bbox.extents
    for x, y, text, colour in points:
        found = []
        for rank, (dx, dy, ha, va) in enumerate(_SIDES):
            label = axes.annotate(text, (x, y), (dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=7, color=colour)
            box = np.asarray(label.get_window_extent(renderer).extents)
            label.remove()
            outside = np.clip([*(frame[:2] - box[:2]), *(box[2:] - frame[2:])], 0, None).sum()
            found.append((_overlap(box + np.array([-1.5, -1.5, 1.5, 1.5]), taken) + 100 * float(outside), rank, box))
        _, rank, box = min(found, key=lambda entry: entry[:2])
        dx, dy, ha, va = _SIDES[rank]
        axes.annotate(text, (x, y), (dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=7, color=colour)
        taken = np.vstack([taken, box])


_SIDES = (
    (6, 0, "left", "center"),
    (0, 6, "center", "bottom"),
    (0, -6, "center", "top"),
    (-6, 0, "right", "center"),
    (5, 5, "left", "bottom"),
    (5, -5, "left", "top"),
    (-5, 5, "right", "bottom"),
    (-5, -5, "right", "top"),
    (0, 15, "center", "bottom"),
    (0, -15, "center", "top"),
    (12, 12, "left", "bottom"),
    (12, -12, "left", "top"),
    (-12, 12, "right", "bottom"),
    (-12, -12, "right", "top"),
)


def _overlap(box: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Area of a box [4] that the others [M, 4] cover, those covered twice counted twice."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(sides.clip(min=0).prod(axis=1).sum())


def svg_of(figure: Figure) -> str:
    """The figure as SVG text; equal figures give equal text."""
    buffer = io.StringIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    # matplotlib leaves trailing blanks in path data
    return re.sub(r"[ \t]+$", "", buffer.getvalue(), flags=re.MULTILINE)


def png_of(figure: Figure) -> bytes:
    """The figure as PNG at 200 dots per inch; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()
