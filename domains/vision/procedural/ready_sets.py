"""Ready-made sets: rendered and packed into the user cache by one command, and found there by the domains of that name.

A set's folder holds the pictures in the published layout, and its views packed for training in `packed`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from domains.vision import three_d_ie_bench
from domains.vision.image_folder import pack_folder
from domains.vision.procedural import generate
from domains.vision.procedural.folder import MANIFEST, is_complete, read_manifest
from domains.vision.procedural.generate import locate
from domains.vision.procedural.plan import Views
from domains.vision.view_store import MANIFEST as PACKED_MANIFEST

PACKED = "packed"


def prepare(
    root: Path | None = None, *, name: str, objects: int, categories: int, processes: int | None = None, **views: Any
) -> list[str]:  # fmt: skip
    """Render and pack the set, unless it is there already, and describe it; goes on where an interrupted call stopped.

    Args:
        root: the set's folder; `name` in the user cache when None.
        name: of the set, `iebench-easy`.
        objects: per category.
        categories: the first of the parametric ones.
        processes: how many render and pack at the same time; all cores when None.
        views: as in `Views`.

    Raises:
        ValueError: for a value out of range, and for a folder that holds another set.
        MissingPackageError: when the set must be rendered and Embree is not installed.
        OSError: when the disk is full.
    """
    target, shown = root or locate(name), Views(**views)
    if _is_there(target, objects * categories, shown):
        return [f"{name} is there already", *info(target, name=name)]
    generate.generate(target, objects=objects, categories=categories, views=shown, processes=processes)
    pack_folder(target, target / PACKED, size=shown.size, processes=processes or os.cpu_count() or 1)
    return info(target, name=name)


def packed(name: str, root: str | Path | None = None) -> Path:
    """The folder of the set's packed views; FileNotFoundError with the command that makes them when there are none.

    Args:
        name: of the set.
        root: the set's folder; `name` in the user cache when None.
    """
    target = locate(name) if root is None else Path(root)
    if not (target / PACKED / PACKED_MANIFEST).is_file():
        place = "" if root is None else f" root={target}"
        state = "is unfinished" if (target / MANIFEST).is_file() else "is not there"
        raise FileNotFoundError(f"{name} {state} ({target}); make it with: contextssl data prepare {name}{place}")
    return target / PACKED


def verify(root: Path | None = None, *, name: str) -> list[str]:
    """What was read again and found whole, pictures and packed views; ValueError naming what is damaged otherwise."""
    folder = packed(name, root)
    return [*generate.verify(folder.parent), *three_d_ie_bench.verify(folder)]


def info(root: Path | None = None, *, name: str) -> list[str]:
    """What the set holds, and what is packed of it."""
    folder = packed(name, root)
    return [*generate.info(folder.parent), *three_d_ie_bench.info(folder)]


def _is_there(root: Path, num_objects: int, views: Views) -> bool:
    """Whether the folder holds this very set, no picture missing, and packed: then not even Embree is needed."""
    if not (root / MANIFEST).is_file() or not (root / PACKED / PACKED_MANIFEST).is_file():
        return False
    manifest = read_manifest(root)
    made = manifest["made"]
    if not manifest["complete"] or made["views"] != json.loads(json.dumps(asdict(views))) or len(made["objects"]) != num_objects:
        return False
    return all(is_complete(root / one["category"] / one["name"], views.views) for one in made["objects"])
