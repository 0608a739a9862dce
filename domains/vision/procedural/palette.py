"""Colours of an object's parts, drawn per object."""

from __future__ import annotations

import colorsys

import numpy as np

from domains.vision.procedural.mesh import Color

DARK: Color = (0.13, 0.13, 0.14)
METAL: Color = (0.68, 0.69, 0.71)
GLASS: Color = (0.35, 0.50, 0.62)
WHITE: Color = (0.93, 0.92, 0.89)
WOOD: Color = (0.60, 0.42, 0.25)
LAMP: Color = (0.98, 0.88, 0.45)
SIGNAL: Color = (0.80, 0.12, 0.10)


def paint(random: np.random.Generator) -> Color:
    """A strong colour of any hue (sRGB)."""
    return colorsys.hsv_to_rgb(random.random(), random.uniform(0.45, 0.85), random.uniform(0.55, 0.95))


def shade(color: Color, factor: float) -> Color:
    """The colour darkened, or lightened by a factor above 1."""
    red, green, blue = (min(1.0, part * factor) for part in color)
    return red, green, blue


def wood(random: np.random.Generator) -> Color:
    """A wood, from pale to dark."""
    return shade(WOOD, random.uniform(0.7, 1.4))
