"""The categories of the procedural set, and the objects in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from contextssl.seeding import derive_seed
from domains.vision.procedural import furniture, tools, vehicles
from domains.vision.procedural.mesh import Mesh, Part, assemble

CATEGORIES: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    draw.__name__: draw
    for draw in (
        vehicles.airplane, tools.laptop, furniture.bench, tools.drill, vehicles.boat, tools.teapot, furniture.sofa, tools.camera,
        furniture.house, vehicles.helicopter, furniture.chair, vehicles.locomotive, vehicles.tractor, tools.watering_can,
        furniture.piano, vehicles.wheelbarrow, furniture.desk_lamp, vehicles.car, furniture.bed, tools.mug, tools.guitar,
        furniture.mailbox, tools.microscope, tools.hammer, furniture.cabinet, vehicles.rocket,
    )
}  # fmt: skip
"""A set of n categories has the first n. Those whose pose is harder to tell come last (a hammer's or rocket's roll)."""


def make_object(category: str, number: int, seed: int) -> Mesh:
    """Object `number` of a category: equal arguments give equal meshes, and no object depends on how many others there are."""
    random = np.random.default_rng(derive_seed(seed, f"object {category} {number}"))
    return assemble(CATEGORIES[category](random))
