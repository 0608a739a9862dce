"""Drawing retrieval as a grid: source and target, then the nearest views under each heading, marked by what they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from torch import Tensor

from contextssl.reporting.style import COLOURS, INK, RULE, SOFT, house_style, png_of
from domains.vision.retrieved import Answer, Query

# Inches. Views are a multiple of 32 pixels wide, at whole pixels, so that the pixels of small images stay equal squares.
SIDE, GAP, ROW_GAP, BLOCK_GAP, MARK, HEAD, KEY = 0.64, 0.05, 0.11, 0.2, 0.055, 0.42, 0.17
ROW = SIDE + GAP + MARK + ROW_GAP
LABEL = 0.5  # where rows have labels
SIDE_PIXELS = 128


class Row(NamedTuple):
    """One row of the grid: its label, which may be empty, its query, and the answer under each heading."""

    label: str
    query: Query
    answers: Sequence[Answer]


def draw_grid(inputs: Tensor, rows: Sequence[Row], headings: Sequence[str], marks: Sequence[str]) -> bytes:
    """The grid as a PNG file.

    Args:
        inputs: [N, C, H, W] views, bytes or fractions of 1, one channel or three.
        rows: what is shown.
        headings: one for each answer of a row.
        marks: what the mark of each group [G] means; group g has colour g.
    """
    with house_style():
        page = _Page(len(rows), len(headings), len(rows[0].answers[0].rows), any(row.label for row in rows), marks)
        page.head(headings)
        for position, row in enumerate(rows):
            page.text(0.04, page.top(position) - SIDE / 2, row.label, va="center")
            page.view(pixels_of(inputs[row.query.source]), page.left(0, 0), position)
            page.view(pixels_of(inputs[row.query.target]), page.left(0, 1), position, framed=True)
            for block, answer in enumerate(row.answers, start=1):
                for place, (found, close) in enumerate(zip(answer.rows.tolist(), answer.close.tolist(), strict=True)):
                    page.view(pixels_of(inputs[found]), page.left(block, place), position, found == row.query.target)
                    page.marks(close, page.left(block, place), position)
        page.key()
        return png_of(page.figure)


class _Page:
    """A figure measured in inches from its lower left corner."""

    def __init__(self, num_rows: int, num_blocks: int, num_views: int, labelled: bool, marks: Sequence[str] = ()) -> None:
        self.start, self.num_views, self.num_rows = LABEL if labelled else 0.04, num_views, num_rows
        width = self.left(num_blocks, num_views - 1) + SIDE + 0.04
        self.keys = self._key_places(marks, width)
        self.height = HEAD + num_rows * ROW + 0.03 + KEY * (1 + self.keys[-1][1])
        self.figure = Figure(figsize=(width, self.height))
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, self.height))
        self.axes.axis("off")

    def left(self, block: int, place: int) -> float:
        """Where a view begins; block 0 holds source and target."""
        views = place + (block and 2 + (block - 1) * self.num_views)
        return self.start + views * (SIDE + GAP) + block * BLOCK_GAP

    def top(self, position: int) -> float:
        """The upper edge of a row's views."""
        return self.height - HEAD - position * ROW

    def text(self, x: float, y: float, text: str, **how: object) -> None:
        """Small text at a place."""
        self.axes.text(x, y, text, **({"fontsize": 7.5, "color": INK, "va": "baseline"} | how))  # type: ignore[arg-type]

    def head(self, headings: Sequence[str]) -> None:
        """What the columns are."""
        for place, word in enumerate(("source", "target")):
            self.text(self.left(0, place) + SIDE / 2, self.top(0) + 0.07, word, ha="center", color=SOFT)
        for block, heading in enumerate(headings, start=1):
            self.text(self.left(block, 0), self.top(0) + 0.22, heading, fontsize=8.5, fontweight="bold")
            said = "nearest views, the nearest first" if self.num_views > 2 else "nearest first"
            self.text(self.left(block, 0), self.top(0) + 0.07, said, color=SOFT)

    def view(self, pixels: npt.NDArray[np.uint8], left: float, position: int, framed: bool = False) -> None:
        """One view; the frame says that it is the target."""
        top = self.top(position)
        draw_view(self.axes, pixels, left, top, SIDE, SIDE_PIXELS)
        if framed:
            self.axes.add_patch(Rectangle((left, top - SIDE), SIDE, SIDE, fill=False, edgecolor=INK, linewidth=1.6, zorder=2))

    def marks(self, close: Sequence[bool], left: float, position: int) -> None:
        """A bar for each group below a view, coloured where it is close to the target."""
        width = (SIDE - GAP * (len(close) - 1)) / len(close)
        for group, is_close in enumerate(close):
            corner = (left + group * (width + GAP), self.top(position) - SIDE - GAP - MARK)
            colour = group_colour(group) if is_close else RULE
            self.axes.add_patch(Rectangle(corner, width, MARK, facecolor=colour, linewidth=0))

    def key(self) -> None:
        """What the bars and the frame mean."""
        for place, (text, line, x) in enumerate(self.keys):
            y = 0.055 + KEY * (self.keys[-1][1] - line)
            if place < len(self.keys) - 1:
                bar = Rectangle((x, y + 0.025), 0.22, MARK, facecolor=group_colour(place), linewidth=0)
                self.text(x + 0.27, y + 0.015, text)
            else:
                bar = Rectangle((x, y), 0.11, 0.11, fill=False, edgecolor=INK, linewidth=1.2)
                self.text(x + 0.17, y + 0.015, text)
            self.axes.add_patch(bar)

    def _key_places(self, marks: Sequence[str], width: float) -> list[tuple[str, int, float]]:
        """Each text of the key with its line and its left edge; texts that do not fit go to the next line."""
        places: list[tuple[str, int, float]] = []
        line, x = 0, self.left(0, 0)
        for text in (*marks, "the target itself"):
            wide = 0.27 + text_width(text, 7.5)
            if places and x + wide > width:
                line, x = line + 1, self.left(0, 0)
            places.append((text, line, x))
            x += wide + 0.25
        return places


def group_colour(group: int) -> str:
    """The colour of a group's marks; the first seven differ."""
    return (*COLOURS, INK)[group % (len(COLOURS) + 1)]


def draw_view(axes: Axes, pixels: npt.NDArray[np.uint8], left: float, top: float, side: float, side_pixels: int) -> None:
    """A view at a place, `side_pixels` wide in the file; small ones are enlarged without smoothing, which would look like blur."""
    interpolation = "nearest" if 2 * pixels.shape[1] <= side_pixels else "bicubic"
    axes.imshow(pixels, extent=(left, left + side, top - side, top), interpolation=interpolation, aspect="auto", zorder=1)


def text_width(text: str, size: float) -> float:
    """Inches that a text takes, at a size in points."""
    return float(TextPath((0, 0), text, size=size).get_extents().width) / 72


def pixels_of(view: Tensor) -> npt.NDArray[np.uint8]:
    """uint8 [H, W, 3] of a view [C, H, W]."""
    colours = view.expand(3, *view.shape[1:]) if len(view) == 1 else view
    if colours.is_floating_point():
        colours = (colours * 255).round().clamp(0, 255).to(torch.uint8)
    array: npt.NDArray[np.uint8] = colours.cpu().permute(1, 2, 0).numpy()
    return array
