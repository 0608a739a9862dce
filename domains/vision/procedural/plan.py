"""What a rendered set holds: how its views are drawn, and which object belongs to which split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from contextssl.seeding import derive_seed
from domains.vision.procedural import scene
from domains.vision.procedural.renderer import SAMPLES

TRAIN, VALIDATION, UNSEEN_CATEGORY, UNSEEN_ROTATION = SPLITS = ("train", "val", "unseen_category", "unseen_rotation")
"""Names of the split lists: {split}_images.npy and {split}_labels.npy. The first two are those of the published layout."""
VALIDATION_SHARE = 0.2
TURNED = "-turned"
"""Ends the name of a validation object that is shown again in unseen poses."""


@dataclass(frozen=True)
class Views:
    """How each object is shown.

    Args:
        views: pictures per object.
        size: of a picture in pixels.
        rotation: range of the Euler angles about x, y and z as shares of +-pi/2: (.15, .15, 1) is an easy set.
        unseen_rotation: a wider range; validation objects are shown again in poses inside of it and outside of `rotation`.
        vary_light: otherwise the lamp hangs still and only its hue varies.
        samples: rays per pixel and direction.
        quality: of the JPEG files.
        seed: of everything.

    Raises:
        ValueError: for values out of range, naming them.
    """

    views: int = 20
    size: int = 64
    rotation: Sequence[float] = (1.0, 1.0, 1.0)
    unseen_rotation: Sequence[float] | None = None
    vary_light: bool = True
    samples: int = field(default=SAMPLES)
    quality: int = 95
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {"views": (2, 10_000), "size": (8, 2048), "samples": (1, 8), "quality": (1, 100)}
        for name, (least, most) in limits.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name}={getattr(self, name)}: give {least} to {most}")
        for name in ("rotation", "unseen_rotation"):
            shares = getattr(self, name)
            if shares is not None and (len(shares) != 3 or not all(0 <= share <= 1 for share in shares)):
                raise ValueError(f"{name}={list(shares)}: give three shares of +-90 degrees from 0 to 1, about x, y and z")
        if self.unseen_rotation is not None:
            pairs = list(zip(self.rotation, self.unseen_rotation, strict=True))
            if any(outer < inner for inner, outer in pairs) or all(outer == inner for inner, outer in pairs):
                raise ValueError(
                    f"unseen_rotation={list(self.unseen_rotation)} is not wider than rotation={list(self.rotation)}: no pose is unseen"
                )

    def latents(self, planned: PlannedObject) -> np.ndarray:
        """Latents [views, 7] of an object, which depend on its name and the seed alone."""
        generator = np.random.default_rng(derive_seed(self.seed, f"views {planned.path}"))
        if planned.split == UNSEEN_ROTATION and self.unseen_rotation is not None:
            return scene.draw_latents(generator, self.views, self.unseen_rotation, self.rotation, self.vary_light)
        return scene.draw_latents(generator, self.views, self.rotation, vary_light=self.vary_light)


@dataclass(frozen=True)
class PlannedObject:
    """One object of a set: the mesh (category, mesh) is shown in the folder category/name."""

    category: str
    mesh: str
    name: str
    split: str

    @property
    def path(self) -> str:
        """The object's folder below the root."""
        return f"{self.category}/{self.name}"


def plan_objects(
    objects: Mapping[str, Sequence[str]], seed: int, unseen_categories: int = 0, turned: bool = False
) -> list[PlannedObject]:
    """Every object with its split, category by category.

    Args:
        objects: names in each category.
        seed: decides which fifth of each category is for validation.
        unseen_categories: so many categories, the last ones, are in no training or validation list.
        turned: plan each validation object a second time, in unseen poses.

    Raises:
        ValueError: when fewer than one category is left to be seen.
    """
    if not 0 <= unseen_categories < len(objects):
        raise ValueError(f"unseen_categories={unseen_categories}: give 0 to {len(objects) - 1}, so that one category is seen")
    planned: list[PlannedObject] = []
    for place, (category, names) in enumerate(objects.items()):
        if place >= len(objects) - unseen_categories:
            planned += [PlannedObject(category, name, name, UNSEEN_CATEGORY) for name in names]
            continue
        held_out = _held_out(len(names), derive_seed(seed, f"split {category}"))
        for index, name in enumerate(names):
            planned.append(PlannedObject(category, name, name, VALIDATION if index in held_out else TRAIN))
            if turned and index in held_out:
                planned.append(PlannedObject(category, name, name + TURNED, UNSEEN_ROTATION))
    return planned


def _held_out(count: int, seed: int) -> set[int]:
    share = max(1, round(count * VALIDATION_SHARE)) if count > 1 else 0
    return set(np.random.default_rng(seed).permutation(count)[:share].tolist())
