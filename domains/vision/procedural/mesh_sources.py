"""Where meshes come from: the parametric categories, a pack of arrays, a folder of files, arrays in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from domains.vision.procedural.categories import CATEGORIES, make_object
from domains.vision.procedural.mesh import Mesh, from_arrays
from domains.vision.procedural.packages import MissingPackageError
from domains.vision.procedural.scene import to_srgb

SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")
LINEAR_SUFFIXES = (".glb", ".gltf")
"""Formats whose colours are linear light, except in textures (glTF 2.0, sections 3.7.2.1 and 3.9.2)."""
PACK_ARRAYS = ("vertices", "faces", "face_colors", "vertex_offsets", "face_offsets", "labels", "categories", "names")


@dataclass(frozen=True)
class Catalogue:
    """The names of the objects in each category, how to get the mesh of (category, name), and what identifies the source."""

    objects: Mapping[str, list[str]]
    load: Callable[[str, str], Mesh]
    source: str


def parametric(num_categories: int, num_objects: int, seed: int) -> Catalogue:
    """The first `num_categories` parametric categories with `num_objects` objects each, named 0000, 0001..."""
    if not 1 <= num_categories <= len(CATEGORIES):
        raise ValueError(f"categories={num_categories}: give 1 to {len(CATEGORIES)}, the number of parametric categories")
    if num_objects < 1:
        raise ValueError(f"objects={num_objects}: give at least 1 object per category")
    names = [f"{number:04d}" for number in range(num_objects)]
    return Catalogue(
        dict.fromkeys(list(CATEGORIES)[:num_categories], names),
        lambda category, name: make_object(category, int(name), seed),
        f"parametric objects, seed {seed}",
    )


def from_pack(path: Path, up: str = "y") -> Catalogue:
    """The meshes of an npz pack: vertices and faces of all objects in a row, offsets, a label and a name per object.

    Args:
        path: npz with `vertices` [V, 3], `faces` [F, 3] (indices local to the object), `face_colors` [F, 3] uint8 sRGB,
            `vertex_offsets` and `face_offsets` [objects + 1], `labels` [objects], `categories`, `names` [objects].
        up: y or z.

    Raises:
        FileNotFoundError, ValueError: for a file that is missing or not such a pack.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give an npz pack or a folder of CATEGORY/OBJECT.glb")
    try:
        with np.load(path, allow_pickle=False) as opened:
            pack: dict[str, Any] = {name: opened[name] for name in PACK_ARRAYS}
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is not a pack of meshes ({error}); it needs the arrays {', '.join(PACK_ARRAYS)}") from error
    places: dict[tuple[str, str], int] = {}
    for index, (label, name) in enumerate(zip(pack["labels"], pack["names"], strict=True)):
        places[str(pack["categories"][label]), file_name(str(name))] = index
    if len(places) != len(pack["names"]):
        raise ValueError(f"{path}: some objects of a category share a name; rename them")

    def load(category: str, name: str) -> Mesh:
        index = places[category, name]
        points, faces = (slice(*pack[kind][index : index + 2]) for kind in ("vertex_offsets", "face_offsets"))
        parts = pack["vertices"][points], pack["faces"][faces], pack["face_colors"][faces]
        return from_arrays(*parts, name=f"{category}/{name}", up=up)

    return Catalogue(_by_category(places), load, f"{path.name}, {up} up")


def from_folder(root: Path, up: str = "y") -> Catalogue:
    """The meshes of a folder CATEGORY/OBJECT.glb (or gltf, obj, ply, stl, off), read with trimesh.

    Raises:
        FileNotFoundError: when there are none.
        ValueError: when two files of a category differ in their suffix only.
    """
    found = [path for path in sorted(root.glob("*/*")) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise FileNotFoundError(f"{root} holds no meshes; expected CATEGORY/OBJECT with one of {', '.join(SUFFIXES)}")
    files = {(file_name(path.parent.name), file_name(path.stem)): path for path in found}
    if len(files) != len(found):
        raise ValueError(f"{root}: some files of a category share a name; rename them")
    return Catalogue(_by_category(files), lambda category, name: read_mesh(files[category, name], up), f"{root.name}, {up} up")


def from_memory(meshes: Mapping[str, Mapping[str, Mesh]]) -> Catalogue:
    """Meshes that `from_arrays` made, by category and name."""
    objects = {category: sorted(named) for category, named in meshes.items()}
    for name in (name for category, names in objects.items() for name in (category, *names)):
        if name != file_name(name):
            raise ValueError(f"{name!r} cannot name a folder; use letters, digits, dots, dashes and underscores")
    return Catalogue(objects, lambda category, name: meshes[category][name], "meshes in memory")


def read_mesh(path: Path, up: str = "y") -> Mesh:
    """The mesh of a file, all of its parts placed and coloured.

    Raises:
        MissingPackageError: when trimesh is not installed.
        ValueError: naming the file, when it cannot be read or `from_arrays` refuses what it holds.
    """
    try:
        import trimesh
    except ImportError as error:
        raise MissingPackageError("reading mesh files needs trimesh: pip install contextssl[render]") from error
    try:
        parts: list[Any] = [part for part in trimesh.load_scene(path).dump() if hasattr(part, "faces")]
        colors = [_face_colors(part, linear=path.suffix.lower() in LINEAR_SUFFIXES) for part in parts]
    except Exception as error:  # noqa: BLE001 - every reader in trimesh reports its failures differently
        raise ValueError(f"mesh {path} cannot be read ({type(error).__name__}: {error}); export it again") from error
    if not parts:
        raise ValueError(f"mesh {path} is empty: it holds no triangles; remove it or export it again")
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)])
    vertices = np.concatenate([part.vertices for part in parts])
    return from_arrays(vertices, faces, np.concatenate(colors), name=str(path), up=up)


def _face_colors(part: Any, linear: bool) -> np.ndarray:
    """Colours [F, 3] in sRGB 0..1 of a part of a trimesh scene: of its faces, its texture or material at the corners, or grey."""
    textured = getattr(getattr(part.visual, "material", None), "baseColorTexture", None) is not None
    if hasattr(part.visual, "to_color"):
        # A texture becomes one colour per vertex; a material alone, one colour for all.
        corners = np.asarray(part.visual.to_color().vertex_colors).reshape(-1, 4)
        given = np.broadcast_to(corners, (len(part.vertices), 4))[part.faces].mean(axis=1)
    else:
        given = np.asarray(part.visual.face_colors)
    colors: np.ndarray = given[:, :3] / 255
    return to_srgb(colors) if linear and not textured and part.visual.defined else colors


def file_name(name: str) -> str:
    """The name with everything that a folder's name may not hold everywhere as underscores."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "_"


def _by_category(keys: Mapping[tuple[str, str], object]) -> dict[str, list[str]]:
    objects: dict[str, list[str]] = {}
    for category, name in sorted(keys):
        objects.setdefault(category, []).append(name)
    return objects
