"""Things to hold and use. Front is +y, up is z; each function draws one object of its category as coloured solids."""

from __future__ import annotations

import numpy as np

from domains.vision.procedural.mesh import Part
from domains.vision.procedural.palette import DARK, GLASS, LAMP, METAL, SIGNAL, WHITE, paint, shade, wood
from domains.vision.procedural.solids import arc, box, ellipsoid, frustum, prism, rod, tube


def camera(random: np.random.Generator) -> list[Part]:
    """A camera: lens in front, a flash and a release on top, a screen at the back, a grip on one side."""
    width, height, depth = random.uniform(0.8, 1.1), random.uniform(0.5, 0.65), random.uniform(0.3, 0.4)
    body, trim, lens = paint(random), paint(random), random.uniform(0.3, 0.55)
    radius = height * random.uniform(0.3, 0.4)
    front = depth / 2
    return [
        (box(width, depth, height).at(z=height / 2), body),
        (box(width * 1.01, depth * 1.01, height * 0.3).at(z=height * 0.45), DARK),
        (box(width * 0.2, depth * 1.3, height * 0.9).at(-width * 0.42, 0.05, height / 2), shade(body, 0.5)),
        (frustum(radius, radius * 0.9, lens).turned("x", -90).at(width * 0.08, front + lens / 2, height * 0.48), METAL),
        (tube(radius * 1.08, radius * 0.8, 0.1).turned("x", -90).at(width * 0.08, front + lens * 0.9, height * 0.48), trim),
        (ellipsoid(radius * 0.8, 0.05, radius * 0.8).at(width * 0.08, front + lens, height * 0.48), GLASS),
        (box(width * 0.26, depth * 0.7, 0.2).at(width * 0.08, 0, height + 0.08), shade(body, 0.7)),
        (box(width * 0.2, 0.03, 0.12).at(width * 0.08, depth * 0.36, height + 0.1), LAMP),
        (frustum(0.06, 0.06, 0.1).at(-width * 0.38, 0.05, height + 0.04), SIGNAL),
        (box(width * 0.55, 0.03, height * 0.6).at(width * 0.1, -front, height * 0.5), GLASS),
        (box(width * 0.2, 0.04, height * 0.2).at(-width * 0.34, -front, height * 0.5), WHITE),
    ]


def drill(random: np.random.Generator) -> list[Part]:
    """A cordless drill: motor, chuck and bit ahead, a handle with its trigger, a battery below."""
    color, trim, length = paint(random), paint(random), random.uniform(0.6, 0.85)
    thick, grip = random.uniform(0.15, 0.2), random.uniform(0.45, 0.65)
    handle = [(-0.22, 0.0), (0.05, 0.0), (-0.02, -grip), (-0.26, -grip)]
    return [
        (frustum(thick, thick * 0.9, length).turned("x", -90).at(y=0.05), color),
        (ellipsoid(thick, 0.12, thick).at(y=0.05 - length / 2), shade(color, 0.5)),
        (frustum(thick * 0.75, thick * 0.45, 0.22).turned("x", -90).at(y=0.14 + length / 2), DARK),
        (rod((0, 0.2 + length / 2, 0), (0, 0.65 + length / 2, 0), 0.045, 0.03), METAL),
        (prism(handle, thick, axis="x"), shade(color, 0.7)),
        (box(thick * 0.6, 0.09, 0.14).at(y=0.07, z=-thick - 0.1), SIGNAL),
        (box(thick * 1.7, 0.5, 0.2).at(y=-0.08, z=-grip - 0.08), trim),
        (box(0.05, length * 0.5, 0.09).at(thick * 0.95, 0.0, 0.03), WHITE),
        (box(0.1, length * 0.5, 0.06).at(0.0, 0.05, thick), trim),
    ]


def guitar(random: np.random.Generator) -> list[Part]:
    """An acoustic guitar standing up, strings to the front; a bridge, a pick guard on one side, a darker back."""
    body, back, neck = wood(random), shade(paint(random), 0.7), random.uniform(0.8, 1.05)
    lower, upper, depth = random.uniform(0.38, 0.46), random.uniform(0.28, 0.34), random.uniform(0.16, 0.24)
    head = 0.62 + neck

    def plate(radius: float, thickness: float, y: float, z: float, x: float = 0.0) -> Part:
        return frustum(radius, radius, thickness).turned("x", -90).at(x, y, z), body

    parts = [plate(lower, depth, 0, 0), plate(upper, depth, 0, 0.46)]
    parts += [(solid.at(y=-depth * 0.42), back) for solid, _ in list(parts)]
    parts += [
        (plate(upper * 0.4, 0.02, depth / 2, 0.28)[0], DARK),
        (plate(0.13, 0.02, depth / 2, 0.16, x=0.18)[0], SIGNAL),
        (box(0.28, 0.06, 0.07).at(y=depth / 2 + 0.02, z=-0.14), DARK),
        (box(0.11, 0.09, neck).at(y=depth / 2 - 0.02, z=0.4 + neck / 2), shade(body, 0.5)),
        (box(0.2, 0.08, 0.28).turned("x", 12).at(y=depth / 2 - 0.05, z=head - 0.1), back),
        (box(0.07, 0.01, neck + 0.55).at(y=depth / 2 + 0.045, z=0.12 + neck / 2), WHITE),
    ]
    for row in range(3):
        for side in (-1, 1):
            parts.append(
                (
                    rod(
                        (side * 0.08, depth / 2 - 0.06, head - 0.18 + row * 0.09),
                        (side * 0.18, depth / 2 - 0.06, head - 0.18 + row * 0.09),
                        0.025,
                    ),
                    METAL,
                )
            )
    return parts


def hammer(random: np.random.Generator) -> list[Part]:
    """A claw hammer: a face ahead, a forked claw behind, a grip of another colour and a band on one side."""
    length, color, grip = random.uniform(1.1, 1.5), wood(random), paint(random)
    reach, size = random.uniform(0.24, 0.34), random.uniform(0.1, 0.14)
    claw = [(-0.05, -0.07), (-0.05, 0.1), (-0.3, 0.04), (-reach - 0.16, -0.16), (-0.25, -0.04)]
    return [
        (box(0.11, 0.16, length).at(z=length / 2), color),
        (box(0.15, 0.2, length * 0.4).at(z=length * 0.2), grip),
        (box(0.05, 0.16, length * 0.3).at(0.07, 0, length * 0.65), SIGNAL),
        (box(0.2, 0.26, 0.24).at(z=length), METAL),
        (frustum(size * 0.7, size * 0.7, reach).turned("x", -90).at(y=0.1 + reach / 2, z=length), shade(METAL, 0.7)),
        (frustum(size * 1.1, size * 1.1, 0.1).turned("x", -90).at(y=0.1 + reach, z=length), shade(METAL, 0.45)),
        (prism(claw, 0.08, axis="x").at(0.07, 0, length), METAL),
        (prism(claw, 0.08, axis="x").at(-0.07, 0, length), METAL),
    ]


def laptop(random: np.random.Generator) -> list[Part]:
    """An open laptop: keys and a touch pad in front of a leaning screen with a picture; a badge on the lid."""
    width, depth, height = random.uniform(1.0, 1.25), random.uniform(0.65, 0.8), random.uniform(0.6, 0.75)
    case, picture, lean = shade(paint(random), random.uniform(0.7, 1.1)), paint(random), random.uniform(5, 35)
    rear = -depth / 2
    parts = [
        (box(width, depth, 0.08), case),
        (box(width * 0.86, depth * 0.42, 0.03).at(0, -depth * 0.14, 0.04), DARK),
        (box(width * 0.3, depth * 0.24, 0.02).at(0, depth * 0.3, 0.04), shade(case, 1.5)),
        (box(width * 0.9, depth * 0.85, 0.02).at(z=-0.04), DARK),
    ]
    screen = [
        (box(width, 0.06, height), shade(case, 0.7)),
        (box(width * 0.9, 0.02, height * 0.84).at(y=0.03), GLASS),
        (box(width * 0.3, 0.02, height * 0.4).at(width * 0.22, 0.04, height * 0.1), picture),
        (box(width * 0.5, 0.02, height * 0.1).at(-width * 0.15, 0.04, -height * 0.28), LAMP),
        (ellipsoid(0.12, 0.03, 0.12).at(y=-0.03, z=height * 0.1), picture),
    ]
    parts += [(solid.at(z=height / 2).turned("x", lean).at(y=rear, z=0.03), color) for solid, color in screen]
    parts.append((box(0.04, depth * 0.3, 0.04).at(width / 2, depth * 0.1, 0), SIGNAL))
    return parts


def microscope(random: np.random.Generator) -> list[Part]:
    """A microscope: a curved arm behind, a tilted tube, a stage with its slide, knobs on the sides."""
    body, trim, height = shade(paint(random), 1.1), paint(random), random.uniform(0.75, 1.0)
    tilt, long = random.uniform(15, 35), random.uniform(0.5, 0.7)
    scope = [
        (frustum(0.11, 0.11, long), WHITE),
        (frustum(0.07, 0.07, 0.2).at(z=long / 2 + 0.08), DARK),
        (frustum(0.05, 0.1, 0.22).at(z=-long / 2 - 0.08), METAL),
    ]
    parts = [(solid.turned("x", tilt).at(0, 0.06, height + 0.12), color) for solid, color in scope]
    arm = [
        (-0.38, 0.05),
        (-0.2, 0.05),
        (-0.22, height * 0.6),
        (0.0, height + 0.05),
        (-0.08, height + 0.2),
        (-0.38, height * 0.65),
    ]
    return [
        *parts,
        (box(0.55, 0.85, 0.1).at(z=0.05), shade(body, 0.6)),
        (prism(arm, 0.16, axis="x"), body),
        (box(0.46, 0.42, 0.06).at(y=0.1, z=height * 0.42), DARK),
        (box(0.3, 0.12, 0.04).at(0.1, 0.12, height * 0.42 + 0.04), LAMP),
        (frustum(0.1, 0.1, 0.1).at(0, 0.12, 0.15), GLASS),
        (frustum(0.11, 0.11, 0.12).turned("y", 90).at(0.13, -0.26, height * 0.35), trim),
        (frustum(0.07, 0.07, 0.12).turned("y", 90).at(-0.13, -0.26, height * 0.35), SIGNAL),
    ]


def mug(random: np.random.Generator) -> list[Part]:
    """A mug with its handle to one side, a drink with a spoon, a picture in front and a darker foot."""
    radius, height = random.uniform(0.32, 0.42), random.uniform(0.65, 0.95)
    flare, color, label = random.uniform(0.85, 1.0), paint(random), paint(random)
    ring = height * random.uniform(0.26, 0.32)
    return [
        (tube(radius, radius * 0.88, height).at(z=height / 2), color),
        (frustum(radius * 0.9, radius * 0.9, height * 0.75).at(z=height * 0.38), shade(color, 0.35)),
        (frustum(radius * flare * 1.04, radius * 1.03, 0.12).at(z=0.05), shade(color, 0.5)),
        (arc(ring, 0.055, -90, 90).at(radius * 0.97, 0, height * 0.5), shade(color, 0.75)),
        (box(radius * 0.9, 0.06, height * 0.45).at(0, radius * 0.96, height * 0.55), label),
        (box(radius * 0.4, 0.07, height * 0.2).at(radius * 0.1, radius * 0.97, height * 0.6), WHITE),
        (rod((0, 0.05, height * 0.6), (-radius * 0.6, -0.2, height + 0.35), 0.035), METAL),
    ]


def teapot(random: np.random.Generator) -> list[Part]:
    """A teapot: a spout ahead, a handle behind, a lid with its knob, a flower on one side."""
    wide, tall, color = random.uniform(0.42, 0.52), random.uniform(0.32, 0.45), paint(random)
    trim, reach = paint(random), random.uniform(0.28, 0.42)
    handle = arc(tall * 0.62, 0.055, 90, 270).turned("z", 90)
    return [
        (ellipsoid(wide, wide, tall).at(z=tall), color),
        (frustum(wide * 0.6, wide * 0.55, 0.12).at(z=0.06), shade(color, 0.5)),
        (rod((0, wide * 0.75, tall * 0.8), (0, wide + reach, tall * 1.75), 0.13, 0.06), trim),
        (handle.at(0, -wide * 0.92, tall), trim),
        (ellipsoid(wide * 0.5, wide * 0.5, 0.09).at(z=tall * 1.92), trim),
        (ellipsoid(0.075, 0.075, 0.08).at(z=tall * 1.92 + 0.14), shade(color, 0.5)),
        (ellipsoid(0.05, 0.16, 0.14).at(wide * 0.98, 0, tall), WHITE),
    ]


def watering_can(random: np.random.Generator) -> list[Part]:
    """A watering can: a long spout with its rose ahead, a handle over the top and behind, a label on one side."""
    radius, height, color = random.uniform(0.3, 0.38), random.uniform(0.5, 0.7), paint(random)
    trim, reach, rise = paint(random), random.uniform(0.45, 0.65), random.uniform(0.25, 0.4)
    tip = (0.0, radius + reach, height * 0.55 + rise)
    return [
        (frustum(radius, radius * 0.85, height).at(z=height / 2), color),
        (frustum(radius * 0.7, radius * 0.7, 0.02).at(z=height + 0.01), DARK),
        (tube(radius * 1.05, radius * 0.8, 0.07).at(z=0.04), shade(color, 0.5)),
        (rod((0, radius * 0.8, height * 0.25), tip, 0.09, 0.05), trim),
        (frustum(0.05, 0.16, 0.12).turned("x", -50).at(tip[0], tip[1] + 0.03, tip[2] + 0.03), METAL),
        (arc(height * 0.5, 0.045, 60, 270).turned("z", 90).at(0, -radius * 0.75, height * 0.65), trim),
        (box(0.05, radius, height * 0.4).at(radius * 0.93, 0, height * 0.5), WHITE),
    ]
