"""Vehicles. Front is +y, up is z; each function draws one object of its category as coloured solids."""

from __future__ import annotations

import numpy as np

from domains.vision.procedural.mesh import Part
from domains.vision.procedural.palette import DARK, GLASS, LAMP, METAL, SIGNAL, WHITE, paint, shade
from domains.vision.procedural.solids import box, ellipsoid, frustum, prism, rod, tube


def _wheel(radius: float, width: float, x: float, y: float) -> list[Part]:
    """A wheel with its hub, standing on the ground."""
    side = 1 if x > 0 else -1
    return [
        (frustum(radius, radius, width).turned("y", 90).at(x, y, radius), DARK),
        (frustum(radius * 0.5, radius * 0.5, 0.04).turned("y", 90).at(x + side * width / 2, y, radius), METAL),
    ]


def airplane(random: np.random.Generator) -> list[Part]:
    """An airliner: swept wings with engines, a tall fin, a dark nose."""
    length, span, thick = random.uniform(1.7, 2.2), random.uniform(0.8, 1.1), random.uniform(0.13, 0.19)
    sweep, body, tail = random.uniform(0.2, 0.5), shade(paint(random), 1.3), paint(random)
    parts = [
        (ellipsoid(thick, length / 2, thick), body),
        (ellipsoid(thick * 0.75, 0.14, thick * 0.7).at(y=length / 2 - 0.18, z=0.04), DARK),
        (
            prism([(-length * 0.48, 0.02), (-length * 0.3, 0.02), (-length * 0.44, 0.5), (-length * 0.55, 0.5)], 0.05, axis="x"),
            tail,
        ),
    ]
    for side in (-1, 1):
        wing = [(0.0, 0.25), (0.0, -0.15), (side * span, -sweep - 0.12), (side * span, -sweep + 0.04)]
        parts.append((prism(wing, 0.05).at(z=-0.05), tail if span < 0.95 else shade(body, 0.7)))
        tailplane = [(0.0, -length * 0.36), (0.0, -length * 0.48), (side * 0.36, -length * 0.52), (side * 0.36, -length * 0.46)]
        parts.append((prism(tailplane, 0.04).at(z=0.06), tail))
        engine = frustum(0.08, 0.1, 0.3).turned("x", -90).at(side * span * 0.45, -sweep * 0.3 + 0.08, -0.14)
        parts.append((engine, DARK))
    return parts


def boat(random: np.random.Generator) -> list[Part]:
    """A trawler: pointed bow, a cabin at the stern, a funnel, a mast with a boom."""
    length, width, depth = random.uniform(1.6, 2.2), random.uniform(0.5, 0.7), random.uniform(0.25, 0.4)
    hull, cabin, bow = paint(random), shade(paint(random), 1.3), random.uniform(0.3, 0.5)
    half, w = length / 2, width / 2
    outline = [(-w, -half), (w, -half), (w, half - bow * 1.6), (0.0, half), (-w, half - bow * 1.6)]
    keel = [(-half * 0.95, 0.0), (half * 0.5, 0.0), (half * 0.75, -0.16), (-half * 0.9, -0.16)]
    height = random.uniform(0.3, 0.45)
    return [
        (prism(outline, depth).at(z=depth / 2), hull),
        (prism(outline, 0.06).scaled(1.08, 1.04, 1).at(z=depth), shade(hull, 0.5)),
        (prism(keel, 0.12, axis="x"), SIGNAL),
        (box(width * 0.7, length * 0.3, height).at(y=-half * 0.5, z=depth + height / 2), cabin),
        (box(width * 0.6, 0.04, height * 0.4).at(y=-half * 0.5 + length * 0.15, z=depth + height * 0.65), GLASS),
        (frustum(0.09, 0.08, 0.3).at(0, -half * 0.7, depth + height + 0.13), SIGNAL),
        (rod((0, half * 0.25, depth), (0, half * 0.25, depth + 0.9), 0.035), METAL),
        (rod((0, half * 0.25, depth + 0.35), (0, half * 0.85, depth + 0.75), 0.025), METAL),
    ]


def car(random: np.random.Generator) -> list[Part]:
    """A car: bonnet lower than the boot or cabin, bright lamps in front, red ones and a spoiler behind, a dark underside."""
    length, width = random.uniform(1.7, 2.1), random.uniform(0.75, 0.9)
    half, hood, roof = length / 2, random.uniform(0.35, 0.42), random.uniform(0.72, 0.9)
    color, rear = paint(random), random.uniform(0.35, 0.8)
    side = [
        (-half, 0.14),
        (half, 0.14),
        (half, hood - 0.06),
        (half * 0.35, hood + 0.06),
        (-half * rear, hood + 0.14),
        (-half, hood + 0.1),
    ]
    top = [(half * 0.35, hood), (half * 0.02, roof), (-half * rear * 0.9, roof), (-half * rear - 0.08, hood + 0.1)]
    parts = [
        (prism(side, width, axis="x"), color),
        (prism(top, width * 0.86, axis="x"), GLASS),
        (box(width * 0.88, half * rear * 0.75, 0.05).at(y=-half * rear * 0.5, z=roof), shade(color, 0.7)),
        (box(width * 0.95, 0.05, 0.1).at(y=half, z=0.2), METAL),
        (box(width * 0.8, 0.04, 0.1).at(y=-half, z=hood), SIGNAL),
        (box(width, 0.14, 0.04).at(y=-half + 0.05, z=hood + 0.24), shade(color, 0.5)),
        (box(width * 0.8, length * 0.85, 0.06).at(z=0.13), DARK),
        (box(width * 0.25, half * 0.5, 0.03).at(y=half * 0.65, z=hood + 0.02), shade(color, 0.5)),
    ]
    for x in (-1, 1):
        parts.append((ellipsoid(0.1, 0.05, 0.08).at(x * width * 0.36, half, hood - 0.08), LAMP))
        parts += [part for y in (-0.6, 0.62) for part in _wheel(0.18, 0.16, x * width * 0.45, y * half)]
    return parts


def helicopter(random: np.random.Generator) -> list[Part]:
    """A helicopter: glass nose, tail boom with its rotor on one side, main rotor, skids."""
    body, blade, length = paint(random), paint(random), random.uniform(0.9, 1.3)
    wide, reach, turn = random.uniform(0.26, 0.34), random.uniform(0.75, 1.0), random.uniform(0, 90)
    parts = [
        (ellipsoid(wide, 0.5, 0.32), body),
        (ellipsoid(wide * 0.8, 0.3, 0.24).at(y=0.27, z=0.04), GLASS),
        (rod((0, -0.35, 0.08), (0, -0.4 - length, 0.16), 0.12, 0.05), shade(body, 0.75)),
        (box(0.05, 0.2, 0.42).at(y=-0.4 - length, z=0.28), blade),
        (box(0.03, 0.06, 0.5).turned("x", turn).at(0.1, -0.4 - length, 0.2), DARK),
        (box(0.36, 0.14, 0.03).at(y=-0.1 - length * 0.75, z=0.12), blade),
        (rod((0, -0.05, 0.25), (0, -0.05, 0.46), 0.05), METAL),
    ]
    blades = int(random.integers(2, 4))
    parts += [
        (box(0.1, reach, 0.03).at(y=reach / 2).turned("z", turn + 360 * number / blades).at(0, -0.05, 0.46), DARK)
        for number in range(blades)
    ]
    for side in (-1, 1):
        parts.append((rod((side * 0.28, -0.45, -0.48), (side * 0.28, 0.5, -0.48), 0.03), METAL))
        parts += [(rod((side * 0.28, y, -0.48), (side * 0.15, y, -0.2), 0.025), METAL) for y in (-0.2, 0.25)]
    return parts


def locomotive(random: np.random.Generator) -> list[Part]:
    """A steam engine: boiler, chimney and lamp ahead, cab behind, a cow catcher, wheels."""
    length, radius = random.uniform(0.9, 1.2), random.uniform(0.22, 0.28)
    boiler, cab, trim = paint(random), paint(random), paint(random)
    axle = radius + 0.32
    parts = [
        (frustum(radius, radius, length).turned("x", 90).at(y=length / 2 - 0.1, z=axle), boiler),
        (frustum(radius * 1.06, radius * 1.06, 0.1).turned("x", 90).at(y=length - 0.12, z=axle), DARK),
        (frustum(0.08, 0.13, 0.3).at(0, length - 0.3, axle + radius + 0.12), DARK),
        (ellipsoid(0.11, 0.11, 0.12).at(0, length * 0.4, axle + radius), LAMP),
        (box(0.6, 0.45, 0.75).at(y=-0.3, z=axle + 0.15), cab),
        (box(0.72, 0.58, 0.06).at(y=-0.3, z=axle + 0.55), shade(cab, 0.5)),
        (box(0.62, 0.2, 0.22).at(y=-0.25, z=axle + 0.32), GLASS),
        (box(0.5, length + 0.45, 0.1).at(y=length / 2 - 0.3, z=0.25), trim),
        (prism([(length - 0.1, 0.05), (length + 0.2, 0.05), (length - 0.1, 0.32)], 0.5, axis="x"), SIGNAL),
        (ellipsoid(0.08, 0.05, 0.08).at(0, length, axle + radius * 0.3), LAMP),
    ]
    for x in (-0.28, 0.28):
        parts += _wheel(0.22, 0.08, x, -0.2)
        parts += [part for y in (0.35, 0.75) for part in _wheel(0.15, 0.08, x, y * length)]
    return parts


def rocket(random: np.random.Generator) -> list[Part]:
    """A rocket whose sides differ: a shuttle on its front, a hatch and stripes, one fin of another colour."""
    height, radius = random.uniform(1.2, 1.6), random.uniform(0.17, 0.24)
    body, trim, wing = shade(paint(random), 1.3), paint(random), paint(random)
    nose = random.uniform(0.3, 0.5)
    shuttle = height * random.uniform(0.45, 0.6)
    fin = [(-0.05, 0.0), (0.35, -0.05), (0.25, 0.15), (-0.05, 0.45)]
    parts = [
        (frustum(radius, radius, height).at(z=height / 2), body),
        (frustum(radius, 0.02, nose).at(z=height + nose / 2), trim),
        (tube(radius * 1.04, radius * 0.9, 0.1).at(z=height * 0.75), trim),
        (frustum(radius * 0.9, radius * 0.6, 0.16).at(z=-0.07), DARK),
        (ellipsoid(0.13, 0.13, shuttle / 2).at(0, radius + 0.1, shuttle / 2 + 0.1), WHITE),
        (prism([(-0.42, 0.12), (0.42, 0.12), (0.0, shuttle * 0.8)], 0.05).turned("x", 90).at(y=radius + 0.06), wing),
        (box(0.05, 0.3, 0.25).at(0, radius + 0.25, 0.22), wing),
        (box(0.22, 0.06, 0.26).at(0, -radius, height * 0.6), GLASS),
    ]
    for number, turn in enumerate((-30, 210, 270)):
        color = SIGNAL if number == 0 else trim
        parts.append((prism(fin, 0.05).turned("x", 90).at(radius).turned("z", turn), color))
    return parts


def tractor(random: np.random.Generator) -> list[Part]:
    """A tractor: small wheels and a bonnet ahead, large wheels and a cab behind, an exhaust on one side."""
    length, large, small = random.uniform(0.7, 1.0), random.uniform(0.38, 0.48), random.uniform(0.2, 0.26)
    color, cab = paint(random), paint(random)
    parts = [
        (box(0.4, length, 0.34).at(y=length / 2, z=0.55), color),
        (box(0.3, 0.04, 0.26).at(y=length, z=0.55), DARK),
        (box(0.56, 0.5, 0.3).at(y=-0.2, z=0.55), color),
        (box(0.52, 0.46, 0.42).at(y=-0.2, z=0.9), GLASS),
        (box(0.62, 0.56, 0.06).at(y=-0.2, z=1.14), cab),
        (rod((0.15, length * 0.6, 0.7), (0.15, length * 0.6, 1.15), 0.04), DARK),
        (box(0.18, length * 1.2, 0.12).at(y=length * 0.4, z=0.33), DARK),
        (ellipsoid(0.06, 0.04, 0.06).at(-0.12, length + 0.02, 0.62), LAMP),
        (ellipsoid(0.06, 0.04, 0.06).at(0.12, length + 0.02, 0.62), LAMP),
        (box(0.4, 0.05, 0.12).at(y=-0.46, z=0.55), SIGNAL),
    ]
    for x in (-1, 1):
        parts += _wheel(large, 0.2, x * 0.42, -0.2) + _wheel(small, 0.14, x * 0.34, length * 0.8)
        parts.append((box(0.22, 0.5, 0.05).at(x * 0.42, -0.2, large * 2 + 0.04), cab))
    return parts


def wheelbarrow(random: np.random.Generator) -> list[Part]:
    """A wheelbarrow: a tray with a load, one wheel ahead, two handles and two legs behind."""
    width, length, depth = random.uniform(0.5, 0.7), random.uniform(0.7, 0.95), random.uniform(0.25, 0.35)
    tray, frame, load = paint(random), paint(random), paint(random)
    side = [(-length / 2, 0.65), (-length * 0.35, 0.65 - depth), (length * 0.25, 0.65 - depth), (length * 0.6, 0.7)]
    parts = [
        (prism(side, width, axis="x"), tray),
        (box(width * 0.9, length * 0.85, 0.02).at(y=0.02, z=0.68), shade(tray, 0.4)),
        (ellipsoid(width * 0.3, length * 0.25, random.uniform(0.1, 0.22)).at(0, -0.02, 0.69), load),
        (frustum(0.2, 0.2, 0.1).turned("y", 90).at(0, length * 0.72, 0.2), DARK),
        (frustum(0.08, 0.08, 0.13).turned("y", 90).at(0, length * 0.72, 0.2), METAL),
    ]
    for x in (-1, 1):
        parts.append((rod((x * 0.09, length * 0.72, 0.2), (x * width * 0.5, -length * 0.95, 0.58), 0.03), frame))
        parts.append((rod((x * width * 0.5, -length * 0.95, 0.58), (x * width * 0.51, -length * 1.15, 0.6), 0.045), SIGNAL))
        parts.append((rod((x * width * 0.38, -length * 0.4, 0.45), (x * width * 0.4, -length * 0.5, 0), 0.03), frame))
    return parts
