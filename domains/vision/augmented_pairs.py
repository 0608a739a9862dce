"""A picture of augmented pairs: an image, its two views, and below them the parameters and the action in words.

N images, L latent width.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from contextssl.adapter import Split
from contextssl.adapters.items import as_float
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.reporting.pictures import Picture, write_picture
from contextssl.reporting.style import COLOURS, INK, SOFT, house_style, png_of
from contextssl.seeding import generator
from domains.vision.augmented_images import Augmentation
from domains.vision.augmented_retrieval import checked_transform, with_images
from domains.vision.parameter_words import Line, pair_lines
from domains.vision.picture_grid import draw_view, group_colour, pixels_of
from domains.vision.transforms import Compose, RandomResizedCrop

SIDE, SIDE_PIXELS, GAP = 0.96, 192, 0.06  # inches, pixels of the file, inches
ACTION, LINE, HEAD, PANEL_GAP, MARGIN, COLUMNS = 0.72, 0.125, 0.2, 0.3, 0.05, 2
NOTE = 56  # characters that fit beside a group's name
FRAMES = (COLOURS[5], COLOURS[4])  # of view x and view y
PANEL = 3 * (SIDE + GAP) + ACTION


class Pair(NamedTuple):
    """An image and two views of it [C, H, W], fractions of 1, with the views' parameters [L]."""

    image: Tensor
    x: Tensor
    y: Tensor
    t_x: Tensor
    t_y: Tensor


@dataclass(frozen=True)
class AugmentedPairs:
    """One picture of pairs as the domain makes them, of images drawn from a split.

    Attributes:
        transform: the domain's.
        split: whose images are shown.
        num_images: how many.
        seed: of images and parameters.

    Raises:
        ValueError: without a transform, for no image, and for an unknown split.
    """

    transform: Augmentation | None = None
    split: Split = Split.TEST
    num_images: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", Split(self.split))  # configs give it as a word
        checked_transform(self.transform)
        if self.num_images < 1:
            raise ValueError(f"augmented pairs: num_images must be at least 1, found {self.num_images}")

    def __call__(self, bank: EmbeddingBank, folder: Path) -> list[Path]:
        """Write `augmented-pairs.png` and its caption into a folder; returns its path."""
        transform = checked_transform(self.transform, bank.adapter)
        images = as_float(with_images(bank.adapter).untransformed(self.split).inputs)
        pairs = draw_pairs(transform, images, self.num_images, self.seed)
        caption = (
            f"Pairs as the model sees them, made of {len(pairs)} images of the {self.split} split: **the parameters of each view "
            "and, as action, their change from x to y.** A context shows pairs with the actions of the groups that it tells."
        )
        if crops_first(transform):
            caption += " A box on the original is what the view with the same frame was cut from."
        words = f"{len(pairs)} images, two augmented views of each, and the parameters of the augmentations"
        return [write_picture(folder, Picture("augmented-pairs", words, caption, draw(transform, pairs)))]


def draw_pairs(transform: Augmentation, images: Tensor, count: int, seed: int) -> list[Pair]:
    """Pairs of at most `count` different images [N, C, H, W]."""
    draws = generator(seed, "augmented pairs")
    chosen = images[torch.randperm(len(images), generator=draws)[:count]]
    t_x, t_y = (transform.draw(len(chosen), draws) for _ in range(2))
    x, y = (transform.apply(chosen, parameters) for parameters in (t_x, t_y))
    return [Pair(*parts) for parts in zip(chosen, x, y, t_x, t_y, strict=True)]


def crops_first(transform: Augmentation) -> bool:
    """Whether the first parameters are a box of the original image; after a flip, say, it would be one of the flipped image."""
    return isinstance(transform, Compose) and isinstance(transform.transforms[0], RandomResizedCrop)


def draw(transform: Augmentation, pairs: Sequence[Pair]) -> bytes:
    """The pairs as a PNG file, two beside each other."""
    lines = [pair_lines(transform, pair.t_x.tolist(), pair.t_y.tolist()) for pair in pairs]
    boxes = crops_first(transform)
    with house_style():
        page = _Page(len(pairs), max(map(len, lines)))
        for position, (pair, own) in enumerate(zip(pairs, lines, strict=True)):
            page.pair(position, pair, own, boxes)
        return png_of(page.figure)


class _Page:
    """A figure measured in inches from its lower left corner."""

    def __init__(self, num_pairs: int, num_lines: int) -> None:
        columns = min(COLUMNS, num_pairs)
        self.columns, self.panel_height = columns, HEAD + SIDE + 0.06 + num_lines * LINE + 0.16
        width = 2 * MARGIN + columns * PANEL + (columns - 1) * PANEL_GAP
        self.height = -(-num_pairs // columns) * self.panel_height
        self.figure = Figure(figsize=(width, self.height))
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, self.height))
        self.axes.axis("off")

    def pair(self, position: int, pair: Pair, lines: Sequence[Line], boxes: bool) -> None:
        """One panel: headings, three images, and the lines below them."""
        row, column = divmod(position, self.columns)
        left, top = MARGIN + column * (PANEL + PANEL_GAP), self.height - row * self.panel_height - HEAD
        edges = [left + place * (SIDE + GAP) for place in range(4)]
        headings = ("original", "view x", "view y", "action x → y")
        for edge, heading, image in zip(edges, headings, (pair.image, pair.x, pair.y, None), strict=True):
            if image is not None:
                self.text(edge, top + 0.06, heading, color=SOFT)
                draw_view(self.axes, pixels_of(image), edge, top, SIDE, SIDE_PIXELS)
            else:
                self.text(edge, top - SIDE + 0.02, heading, color=SOFT)
        if boxes:
            for edge, parameters, colour in zip(
                edges[1:], (pair.t_x, pair.t_y), FRAMES, strict=False
            ):  # the last edge has no view
                self.box(edges[0], top, parameters[:4].tolist(), colour)
                self.box(edge, top, (0.5, 0.5, 1, 1), colour)
        for place, line in enumerate(lines):
            self.line(edges, top - SIDE - 0.06 - (place + 0.7) * LINE, line)

    def line(self, edges: Sequence[float], y: float, line: Line) -> None:
        """A label and what belongs below each view; a group's first line is in its colour."""
        colour = group_colour(line.group)
        if line.opens:
            self.text(edges[0], y, line.label, color=colour, fontweight="bold")
        else:
            self.text(edges[0] + 0.08, y, line.label, color=SOFT)
        if line.opens and not line.change:
            self.text(edges[1], y, textwrap.shorten(line.x, NOTE, placeholder=" …"), color=SOFT)
            return
        for edge, words in zip(edges[1:], (line.x, line.y, line.change), strict=True):
            self.text(edge, y, words)

    def box(self, left: float, top: float, parameters: Sequence[float], colour: str) -> None:
        """A box on an image: centre row and column, height and width, as fractions of the sides."""
        row, column, tall, wide = (SIDE * number for number in parameters)
        corner = (left + column - wide / 2, top - row - tall / 2)
        for width, edge in ((2.2, INK), (1.2, colour)):
            self.axes.add_patch(Rectangle(corner, wide, tall, fill=False, edgecolor=edge, linewidth=width, zorder=3))

    def text(self, x: float, y: float, words: str, **how: object) -> None:
        """Small text at a place."""
        self.axes.text(x, y, words, **({"fontsize": 6.5, "color": INK, "va": "baseline"} | how))  # type: ignore[arg-type]
