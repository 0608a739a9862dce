"""Furniture and buildings. Front is +y, up is z; each function draws one object of its category as coloured solids."""

from __future__ import annotations

import numpy as np

from domains.vision.procedural.mesh import Part
from domains.vision.procedural.palette import DARK, GLASS, LAMP, METAL, SIGNAL, WHITE, paint, shade, wood
from domains.vision.procedural.solids import arc, box, ellipsoid, frustum, prism, rod


def bench(random: np.random.Generator) -> list[Part]:
    """A garden bench: slats, a leaning back, arm rests."""
    width, depth, height = random.uniform(1.2, 1.9), random.uniform(0.5, 0.65), random.uniform(0.4, 0.5)
    slat, iron = wood(random), paint(random)
    parts = [(box(width, depth / 4, 0.06).at(y=(row - 1) * depth / 3, z=height), slat) for row in range(3)]
    back = shade(slat, 0.75)
    for row in range(int(random.integers(2, 4))):
        parts.append((box(width, 0.05, 0.1).at(y=-depth / 2 - 0.05 * row, z=height + 0.18 + 0.17 * row), back))
    for side in (-1, 1):
        x = side * (width / 2 - 0.12)
        parts.append((rod((x, depth / 2, 0), (x, depth / 2, height + 0.24), 0.035), iron))
        parts.append((rod((x, -depth / 2 + 0.05, 0), (x, -depth / 2 - 0.12, height + 0.6), 0.035), iron))
        parts.append((box(0.08, depth, 0.04).at(x, 0, height + 0.25), iron))
    return parts


def bed(random: np.random.Generator) -> list[Part]:
    """A bed with head board, pillows and a blanket; slats and legs below."""
    width, length, board = random.uniform(0.9, 1.5), random.uniform(1.7, 2.0), random.uniform(0.6, 1.0)
    frame, blanket = wood(random), paint(random)
    parts = [
        (box(width, length, 0.18).at(z=0.3), frame),
        (box(width * 0.95, length * 0.96, 0.2).at(z=0.48), WHITE),
        (box(width * 1.02, length * 0.6, 0.22).at(y=length * 0.19, z=0.49), blanket),
        (box(width * 1.03, length * 0.1, 0.23).at(y=-length * 0.12, z=0.49), shade(blanket, 0.6)),
        (box(width * 1.05, 0.1, board + 0.2).at(y=-length / 2, z=board / 2 + 0.1), shade(frame, 0.7)),
        (box(width * 1.05, 0.08, 0.45).at(y=length / 2, z=0.25), shade(frame, 0.7)),
    ]
    num_pillows = 2 if width > 1.15 else 1
    for number in range(num_pillows):
        x = (number - (num_pillows - 1) / 2) * width * 0.45
        parts.append((ellipsoid(width * 0.38 / num_pillows + 0.05, 0.17, 0.1).at(x, -length * 0.36, 0.62), shade(blanket, 1.4)))
    for row in range(4):
        parts.append((box(width * 0.9, 0.1, 0.06).at(y=(row - 1.5) * length / 4.5, z=0.19), DARK))
    return parts


def cabinet(random: np.random.Generator) -> list[Part]:
    """A dresser: drawers beside a door in front, a raised plank and things on top, a cross at the back."""
    width, depth, height = random.uniform(0.8, 1.2), random.uniform(0.4, 0.55), random.uniform(0.8, 1.1)
    body, front = wood(random), paint(random)
    parts = [(box(width, depth, height).at(z=height / 2 + 0.12), body)]
    num_drawers = int(random.integers(2, 5))
    for row in range(num_drawers):
        z = 0.12 + height * (row + 0.5) / num_drawers
        parts.append((box(width * 0.44, 0.04, height / num_drawers * 0.85).at(width * 0.24, depth / 2, z), front))
        parts.append((box(width * 0.16, 0.08, 0.05).at(width * 0.24, depth / 2 + 0.03, z), METAL))
    parts.append((box(width * 0.44, 0.04, height * 0.93).at(-width * 0.24, depth / 2, height / 2 + 0.12), shade(front, 0.65)))
    parts.append((ellipsoid(0.04, 0.05, 0.04).at(-width * 0.06, depth / 2 + 0.05, height / 2 + 0.12), METAL))
    parts.append((box(width, 0.05, 0.25).at(y=-depth / 2 + 0.03, z=height + 0.22), shade(body, 0.6)))
    parts.append((frustum(0.05, 0.11, 0.26).at(-width * 0.3, 0, height + 0.24), paint(random)))
    for tilt in (-1, 1):
        plank = box(0.07, 0.04, 1.1 * np.hypot(width * 0.7, height * 0.7)).turned(
            "y", tilt * np.degrees(np.arctan2(width, height))
        )
        parts.append((plank.at(y=-depth / 2 - 0.01, z=height / 2 + 0.12), shade(body, 0.5)))
    parts += [(frustum(0.03, 0.05, 0.14).at(x * width * 0.42, y * depth * 0.38, 0.06), DARK) for x in (-1, 1) for y in (-1, 1)]
    return parts


def chair(random: np.random.Generator) -> list[Part]:
    """A chair with a cushion, a barred back and, often, arms."""
    width, depth, seat, back = (
        random.uniform(0.45, 0.6),
        random.uniform(0.45, 0.55),
        random.uniform(0.4, 0.5),
        random.uniform(0.5, 0.75),
    )
    frame, cushion = wood(random), paint(random)
    parts = [
        (box(width, depth, 0.07).at(z=seat), frame),
        (box(width * 0.85, depth * 0.8, 0.08).at(y=0.03, z=seat + 0.06), cushion),
        (box(width, 0.05, 0.15).at(y=-depth / 2 - 0.04, z=seat + back), shade(frame, 0.6)),
    ]
    for side in (-1, 1):
        x = side * (width / 2 - 0.03)
        parts.append((rod((x, depth / 2 - 0.04, 0), (x, depth / 2 - 0.04, seat), 0.03), frame))
        parts.append((rod((x, -depth / 2 - 0.03, 0), (x, -depth / 2 + 0.03, seat), 0.03), shade(frame, 0.6)))
        parts.append((rod((x, -depth / 2 + 0.03, seat), (x, -depth / 2 - 0.05, seat + back), 0.03), shade(frame, 0.6)))
    for x in np.linspace(-0.3, 0.3, int(random.integers(2, 5))) * width:
        parts.append((rod((x, -depth / 2 + 0.03, seat), (x, -depth / 2 - 0.04, seat + back), 0.02), cushion))
    if random.random() < 0.6:
        for side in (-1, 1):
            x = side * width / 2
            parts.append((box(0.06, depth * 0.95, 0.04).at(x, 0, seat + 0.24), shade(cushion, 0.6)))
            parts.append((rod((x, depth * 0.35, seat), (x, depth * 0.35, seat + 0.24), 0.025), frame))
    return parts


def desk_lamp(random: np.random.Generator) -> list[Part]:
    """A jointed desk lamp that leans forward, with a shade open to the front and a switch on its foot."""
    color, other = paint(random), paint(random)
    knee, reach = random.uniform(0.5, 0.75), random.uniform(0.45, 0.7)
    back, tilt, size = -random.uniform(0.2, 0.4), random.uniform(35, 65), random.uniform(0.2, 0.28)
    head = (0.0, back + reach, knee + random.uniform(0.15, 0.35))
    hood = frustum(size, 0.09, 0.3).turned("x", tilt)
    bulb = ellipsoid(size * 0.75, size * 0.75, 0.08).at(z=-0.15).turned("x", tilt)
    return [
        (frustum(0.28, 0.24, 0.09).at(z=0.045), other),
        (box(0.1, 0.08, 0.05).at(0.12, 0.14, 0.1), SIGNAL),
        (rod((0, 0, 0.05), (0, back, knee), 0.045), METAL),
        (ellipsoid(0.08, 0.08, 0.08).at(0, back, knee), DARK),
        (rod((0, back, knee), head, 0.045), METAL),
        (hood.at(head[0], head[1] + 0.08, head[2]), color),
        (bulb.at(head[0], head[1] + 0.08, head[2]), LAMP),
    ]


def house(random: np.random.Generator) -> list[Part]:
    """A house with a gabled roof, a chimney and a dormer to one side, a door and a porch in front."""
    width, depth, wall, roof = (
        random.uniform(1.0, 1.5),
        random.uniform(0.8, 1.0),
        random.uniform(0.5, 0.8),
        random.uniform(0.35, 0.6),
    )
    walls, tiles = shade(paint(random), 1.2), shade(paint(random), 0.7)
    gable = prism([(-depth * 0.58, wall), (depth * 0.58, wall), (0, wall + roof)], width * 1.08, axis="x")
    parts = [
        (box(width, depth, wall).at(z=wall / 2), walls),
        (gable, tiles),
        (box(0.16, 0.16, roof).at(width * 0.3, -depth * 0.2, wall + roof * 0.75), SIGNAL),
        (box(0.22, 0.05, wall * 0.65).at(-width * 0.22, depth / 2, wall * 0.33), shade(tiles, 0.6)),
        (box(0.4, 0.3, 0.05).at(-width * 0.22, depth / 2 + 0.15, wall * 0.75), tiles),
        (rod((-width * 0.22 - 0.16, depth / 2 + 0.26, 0), (-width * 0.22 - 0.16, depth / 2 + 0.26, wall * 0.75), 0.03), WHITE),
        (rod((-width * 0.22 + 0.16, depth / 2 + 0.26, 0), (-width * 0.22 + 0.16, depth / 2 + 0.26, wall * 0.75), 0.03), WHITE),
        (box(width * 0.3, 0.05, wall * 0.35).at(width * 0.22, depth / 2, wall * 0.6), GLASS),
        (box(width * 1.02, depth * 1.02, 0.05).at(z=0.02), DARK),
        (box(0.3, 0.04, 0.15).at(0, -depth / 2, wall * 0.75), GLASS),
    ]
    if random.random() < 0.5:
        parts.append((box(0.28, 0.5, 0.25).at(width * 0.2, depth * 0.22, wall + roof * 0.4), walls))
    if random.random() < 0.5:
        parts.append((box(width * 0.4, depth * 0.7, wall * 0.6).at(-width * 0.68, -depth * 0.1, wall * 0.3), shade(walls, 0.8)))
    return parts


def piano(random: np.random.Generator) -> list[Part]:
    """An upright piano: keys in front, a music stand, a candle, ribs at the back, pedals."""
    width, depth, height = random.uniform(1.2, 1.5), random.uniform(0.35, 0.5), random.uniform(0.9, 1.2)
    body = shade(paint(random), random.uniform(0.5, 0.9))
    desk = height * 0.58
    parts = [
        (box(width, depth, height).at(z=height / 2), body),
        (box(width, 0.34, 0.1).at(y=depth / 2 + 0.15, z=desk), shade(body, 0.7)),
        (box(width * 0.9, 0.22, 0.06).at(y=depth / 2 + 0.18, z=desk + 0.06), WHITE),
        (box(width * 0.45, 0.04, 0.26).turned("x", 15).at(y=depth / 2 + 0.05, z=desk + 0.3), WHITE),
        (box(width * 1.04, depth * 1.08, 0.06).at(z=height), shade(body, 1.3)),
        (frustum(0.05, 0.05, 0.22).at(width * 0.36, 0, height + 0.12), LAMP),
        (box(width * 0.2, 0.12, 0.04).at(y=depth / 2 + 0.05, z=0.06), METAL),
    ]
    parts += [(box(0.04, 0.12, 0.05).at(x * width, depth / 2 + 0.13, desk + 0.1), DARK) for x in np.linspace(-0.4, 0.4, 9)]
    parts += [
        (box(0.08, 0.05, height * 0.9).at(x * width, -depth / 2, height / 2), shade(body, 0.45)) for x in (-0.4, -0.1, 0.25)
    ]
    parts += [(rod((x, depth / 2 + 0.28, 0), (x, depth / 2 + 0.28, desk), 0.045), body) for x in (-width * 0.45, width * 0.45)]
    return parts


def sofa(random: np.random.Generator) -> list[Part]:
    """A sofa with a chaise on one side, coloured cushions, feet, and straps across its back."""
    width, depth, back = random.uniform(1.4, 1.9), random.uniform(0.65, 0.8), random.uniform(0.35, 0.5)
    cloth, pillow, side = paint(random), paint(random), float(random.choice((-1, 1)))
    chaise = random.uniform(0.3, 0.6)
    parts = [
        (box(width, depth, 0.24).at(z=0.24), cloth),
        (box(width * 0.36, chaise, 0.24).at(side * width * 0.32, depth / 2 + chaise / 2 - 0.01, 0.24), cloth),
        (box(width * 0.34, depth + chaise - 0.1, 0.1).at(side * width * 0.32, chaise / 2, 0.4), shade(cloth, 1.3)),
        (box(width * 0.55, depth * 0.85, 0.1).at(-side * width * 0.16, 0.05, 0.4), shade(cloth, 1.3)),
        (box(width, 0.2, back + 0.3).at(y=-depth / 2 + 0.05, z=0.3 + back / 2), shade(cloth, 0.75)),
        (box(0.16, depth, 0.3).at(-side * width / 2, 0, 0.42), shade(cloth, 0.75)),
        (box(0.3, 0.1, 0.28).turned("x", 20).at(-side * width * 0.3, -depth * 0.22, 0.6), pillow),
        (box(width * 0.95, 0.04, 0.1).at(y=-depth / 2 - 0.06, z=0.3 + back * 0.75), pillow),
        (box(0.12, 0.04, back + 0.2).at(side * width * 0.3, -depth / 2 - 0.06, 0.35 + back / 2), pillow),
    ]
    feet = [(-0.45, -0.4), (0.45, -0.4), (-0.45 * side, 0.4)]
    parts += [(frustum(0.03, 0.06, 0.14).at(x * width, y * depth, 0.06), DARK) for x, y in feet]
    parts.append((frustum(0.03, 0.06, 0.14).at(side * width * 0.42, depth / 2 + chaise * 0.85, 0.06), DARK))
    return parts


def mailbox(random: np.random.Generator) -> list[Part]:
    """A mailbox on a post, with a flag on one side, a handle in front and an address plate."""
    length, width, post = random.uniform(0.6, 0.9), random.uniform(0.3, 0.42), random.uniform(0.5, 0.9)
    color = paint(random)
    angles = np.linspace(0, np.pi, 13)
    low, lid = 0.22, width / 2
    outline = [(low - 0.2, -lid), *((low + lid * np.sin(a), -lid * np.cos(a)) for a in angles), (low - 0.2, lid)]
    tall = post + 0.02
    return [
        (prism(outline, length, axis="y").at(z=tall), color),
        (prism(outline, 0.04, axis="y").scaled(1.03, 1, 1).at(y=length / 2, z=tall), shade(color, 0.55)),
        (arc(0.06, 0.02, 0, 180).turned("x", 90).at(0, length / 2 + 0.02, tall + low + 0.02), METAL),
        (box(0.04, 0.07, 0.36).at(width / 2 + 0.03, length * 0.2, tall + 0.35), SIGNAL),
        (box(0.04, 0.18, 0.12).at(width / 2 + 0.03, length * 0.2 - 0.05, tall + 0.5), SIGNAL),
        (box(0.03, length * 0.5, 0.13).at(-width / 2 - 0.01, 0, tall + 0.16), WHITE),
        (box(0.13, 0.13, post).at(y=-0.05, z=post / 2), wood(random)),
        (box(0.32, 0.32, 0.06).at(y=-0.05, z=0.03), DARK),
    ]
