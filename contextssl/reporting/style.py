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

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

INK, SOFT, RULE, PAPER = "#1f2328", "#6b7280", "#d5d8dd", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "^", "D", "v", "P")
PANEL_INCHES = (3.6, 2.75)

_RC = {
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


def panel(title: str, subtitle: str, note: str | None = None) -> tuple[Figure, Axes]:
    """An empty panel: what is shown in bold, how it was measured in grey, and a note that must not be missed."""
    figure = Figure(figsize=PANEL_INCHES)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.115, 0.155, 0.645, 0.655))
    figure.text(0.02, 0.955, title, fontsize=9, fontweight="bold", va="center")
    figure.text(0.02, 0.885, subtitle, fontsize=7.5, color=SOFT, va="center")
    if note:
        figure.text(0.985, 0.955, note, fontsize=7, color=COLOURS[1], va="center", ha="right")
    return figure, axes


@dataclass(frozen=True, slots=True)
class LineLabel:
    """A label at the right-hand end of a line that ends at height `y`."""

    y: float
    text: str
    colour: str


def label_lines(axes: Axes, labels: Sequence[LineLabel], gap: float = 0.075) -> None:
    """Write labels right of the axes at their lines' heights, moved apart to at least `gap` of the axes' height."""
    bottom, top = axes.get_ylim()
    ordered = sorted(labels, key=lambda label: (label.y, label.text))
    heights = spread([(label.y - bottom) / (top - bottom) for label in ordered], gap)
    for label, height in zip(ordered, heights, strict=True):
        axes.text(1.03, height, label.text, color=label.colour, transform=axes.transAxes, va="center", fontsize=7.5)


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


def label_points(axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write a label (x, y, text, colour) beside each point, on the side where it overlaps least."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    marks = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in marks]
    frame = figure.bbox
    for x, y, text, colour in points:
        best: tuple[float, Bbox, tuple[float, float, str, str]] | None = None
        for dx, dy, ha, va in _SIDES:
            label = axes.annotate(text, (x, y), (dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=7)
            box = label.get_window_extent(renderer).padded(1)
            label.remove()
            outside = max(0.0, frame.x0 - box.x0) + max(0.0, box.x1 - frame.x1) + max(0.0, axes.bbox.y0 - box.y0)
            cost = sum(_overlap(box, other) for other in taken) + 200 * outside
            if best is None or cost < best[0]:
                best = (cost, box, (dx, dy, ha, va))
        assert best is not None
        taken.append(best[1])
        dx, dy, ha, va = best[2]
        axes.annotate(text, (x, y), (dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=7, color=colour)


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


def _overlap(one: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else float(shared.width * shared.height)


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
