"""Coloured triangle meshes: assembled from solids, or made from anyone's arrays after checking them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from domains.vision.procedural.solids import Solid

Color = tuple[float, float, float]
Part = tuple[Solid, Color]


@dataclass(frozen=True)
class Mesh:
    """vertices [V, 3] float32, faces [F, 3] int32, colors [F, 3] float32 in sRGB 0..1; z is up.

    Its bounding box is centred on the origin and has diagonal 1, as ShapeNet objects have it.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray

    def num_open_edges(self) -> int:
        """How many edges do not border exactly one face on each side, once equal vertices are welded; 0 for a closed mesh."""
        _, welded = np.unique(self.vertices, axis=0, return_inverse=True)
        corners = welded.reshape(-1)[self.faces]
        edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
        edges = edges[edges[:, 0] != edges[:, 1]]
        signs = np.where(edges[:, 0] < edges[:, 1], 1, -1)
        _, index = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
        return int(np.count_nonzero(np.bincount(index.reshape(-1), weights=signs)))


def assemble(parts: Iterable[Part]) -> Mesh:
    """One mesh of coloured solids."""
    vertices, faces, colors, start = [], [], [], 0
    for solid, color in parts:
        vertices.append(solid.vertices)
        faces.append(solid.faces + start)
        colors.append(np.tile(color, (len(solid.faces), 1)))
        start += len(solid.vertices)
    return from_arrays(np.concatenate(vertices), np.concatenate(faces), np.concatenate(colors), name="object")


def from_arrays(vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray | None = None, *, name: str, up: str = "z") -> Mesh:
    """A checked, centred and scaled mesh.

    Args:
        vertices: [V, 3], in any unit.
        faces: [F, 3] whole numbers, indices of vertices. Faces without area are dropped.
        colors: [F, 3] sRGB, uint8 or 0..1; light grey when not given.
        name: what messages call it.
        up: `z`, or `y` as in glTF and most OBJ files.

    Raises:
        ValueError: naming the mesh, when it is empty, has no area or extent, is not finite or not consistent.
    """
    points, triangles = np.asarray(vertices, dtype=np.float64), np.asarray(faces)
    if up not in ("y", "z"):
        raise ValueError(f"up is {up!r}: give 'y' or 'z', the direction that is up in the meshes")
    if points.size == 0 or triangles.size == 0:
        raise ValueError(f"mesh {name} is empty ({len(points)} vertices, {len(triangles)} faces); remove it or export it again")
    _check(points, triangles, name)
    shades = _colors(colors, len(triangles), name)
    kept = _areas(points, triangles) > 0
    if not kept.any():
        raise ValueError(f"mesh {name} is degenerate: all {len(triangles)} faces have no area; remove it or export it again")
    if up == "y":
        points = points[:, [0, 2, 1]] * np.array([1.0, -1.0, 1.0])
    low, high = points[np.unique(triangles[kept])].min(axis=0), points[np.unique(triangles[kept])].max(axis=0)
    placed = (points - (low + high) / 2) / np.linalg.norm(high - low)
    return Mesh(placed.astype(np.float32), triangles[kept].astype(np.int32), shades[kept].astype(np.float32))


def _check(points: np.ndarray, triangles: np.ndarray, name: str) -> None:
    for what, array in (("vertices", points), ("faces", triangles)):
        if array.ndim != 2 or array.shape[1] != 3:
            raise ValueError(f"mesh {name}: {what} have shape {array.shape} where [n, 3] is needed; triangulate it first")
    if not np.issubdtype(triangles.dtype, np.integer):
        raise ValueError(f"mesh {name}: faces are {triangles.dtype}, not whole numbers; give indices of vertices")
    if not np.isfinite(points).all():
        raise ValueError(f"mesh {name}: some vertices are not finite; export it again")
    if triangles.min() < 0 or triangles.max() >= len(points):
        raise ValueError(f"mesh {name}: a face names vertex {triangles.max()} where there are {len(points)}; export it again")


def _colors(colors: np.ndarray | None, num_faces: int, name: str) -> np.ndarray:
    if colors is None:
        return np.full((num_faces, 3), 0.75)
    given = np.asarray(colors)
    if given.shape != (num_faces, 3):
        raise ValueError(f"mesh {name}: colours have shape {given.shape}, not one sRGB triple for each of {num_faces} faces")
    shades = given / 255 if np.issubdtype(given.dtype, np.integer) else given.astype(np.float64)
    if not (np.isfinite(shades).all() and shades.min() >= 0 and shades.max() <= 1):
        raise ValueError(f"mesh {name}: colours are outside of 0..1; give uint8, or numbers from 0 to 1")
    return shades


def _areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    doubled = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    # Relative to the object, so that units do not matter; what is left out is below what a picture could show.
    return np.where(doubled > 1e-14 * np.ptp(points, axis=0).max() ** 2, doubled / 2, 0.0)
