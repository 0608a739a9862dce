"""Closed solids as numpy triangles: the vocabulary that every procedural object is built from. z is up, lengths are free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domains.vision.procedural.rotations import axis_rotation

SEGMENTS = 24
SMALLEST_RADIUS = 1e-3
"""A cone ends in a tiny disc, so that no triangle is degenerate."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Solid:
    """A closed surface: vertices [V, 3] float64 and faces [F, 3] int64, counter-clockwise seen from outside."""

    vertices: np.ndarray
    faces: np.ndarray

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Solid:
        """The solid shifted by (x, y, z)."""
        return Solid(self.vertices + np.array([x, y, z]), self.faces)

    def scaled(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Solid:
        """The solid stretched about the origin by positive factors."""
        return Solid(self.vertices * np.array([x, y, z]), self.faces)

    def turned(self, axis: str, degrees: float) -> Solid:
        """The solid turned about the origin, counter-clockwise seen from the end of `axis` (x, y or z)."""
        return Solid(self.vertices @ axis_rotation("xyz".index(axis), np.radians(degrees)).T, self.faces)


def box(x: float, y: float, z: float) -> Solid:
    """A box with these side lengths, centred."""
    return prism([(-x / 2, -y / 2), (x / 2, -y / 2), (x / 2, y / 2), (-x / 2, y / 2)], z)


def frustum(bottom: float, top: float, height: float, segments: int = SEGMENTS) -> Solid:
    """A cylinder or cone along z, centred, with these radii below and above."""
    low, high = (0.0, 0.0, -height / 2), (0.0, 0.0, height / 2)
    return _loft([_ring(low, bottom, segments), _ring(high, top, segments)], low, high)


def ellipsoid(x: float, y: float, z: float) -> Solid:
    """An ellipsoid with these radii, centred."""
    heights = np.radians(np.linspace(-90, 90, SEGMENTS // 2 + 1)[1:-1])
    rings = [_ring((0, 0, np.sin(height)), np.cos(height)) for height in heights]
    return _loft(rings, (0, 0, -1), (0, 0, 1)).scaled(x, y, z)


def tube(outer: float, inner: float, height: float) -> Solid:
    """A hollow cylinder along z, centred, open at both ends."""
    low, high = (0.0, 0.0, -height / 2), (0.0, 0.0, height / 2)
    corners = [(low, outer), (high, outer), (high, inner), (low, inner)]
    return _loft([_ring(centre, radius) for centre, radius in corners])


def rod(start: Point, end: Point, radius: float, end_radius: float | None = None) -> Solid:
    """A round rod between two points; `end_radius` makes it taper."""
    direction = np.subtract(end, start)
    radii = (radius, radius if end_radius is None else end_radius)
    rings = [_ring(point, size, 12, direction) for point, size in zip((start, end), radii, strict=True)]
    return _loft(rings, start, end)


def arc(radius: float, thickness: float, start: float, stop: float, segments: int = 12) -> Solid:
    """A bent rod: part of a circle of `radius` in the x-z plane about the origin, from `start` to `stop` degrees from +x to +z."""
    angles = np.radians(np.linspace(start, stop, segments + 1))
    points = [(radius * np.cos(angle), 0.0, radius * np.sin(angle)) for angle in angles]
    tangents = [np.array([-np.sin(angle), 0.0, np.cos(angle)]) * np.sign(stop - start) for angle in angles]
    rings = [_ring(point, thickness, 10, tangent) for point, tangent in zip(points, tangents, strict=True)]
    return _loft(rings, points[0], points[-1])


def prism(outline: Sequence[tuple[float, float]], depth: float, axis: str = "z") -> Solid:
    """A simple polygon, which need not be convex, extruded by `depth` about its own plane.

    Args:
        outline: corners in either order: (x, y) for axis z, (y, z) for axis x, (z, x) for axis y.
        depth: length along `axis`.
        axis: x, y or z.
    """
    points = np.asarray(outline, dtype=np.float64)
    if _area(points) < 0:
        points = points[::-1]
    count, cap = len(points), _triangulate(points)
    vertices = np.concatenate([np.c_[points, np.full(count, side * depth / 2)] for side in (-1, 1)])
    here, there = np.arange(count), np.roll(np.arange(count), -1)
    walls = np.concatenate([np.c_[here, there, there + count], np.c_[here, there + count, here + count]])
    # A cyclic change of axes keeps the orientation of the faces.
    turned = np.roll(vertices, "zxy".index(axis), axis=1)
    return Solid(turned, np.concatenate([cap[:, ::-1], cap + count, walls]))


def _ring(
    centre: Sequence[float] | np.ndarray,
    radius: float,
    segments: int = SEGMENTS,
    direction: Sequence[float] | np.ndarray = (0, 0, 1),
) -> np.ndarray:
    """Points [segments, 3] on a circle, counter-clockwise seen from where `direction` points to."""
    ahead = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    other = np.array([1.0, 0, 0]) if abs(ahead[0]) < 0.9 else np.array([0, 1.0, 0])
    across = np.cross(ahead, other)
    across /= np.linalg.norm(across)
    angles = np.linspace(0, 2 * np.pi, segments, endpoint=False)[:, None]
    circle = np.cos(angles) * across + np.sin(angles) * np.cross(ahead, across)
    points: np.ndarray = np.asarray(centre) + max(radius, SMALLEST_RADIUS) * circle
    return points


def _loft(rings: list[np.ndarray], first: Point | None = None, last: Point | None = None) -> Solid:
    """The skin through equal rings, closed by fans to `first` and `last`; without these the last ring meets the first."""
    count, segments = len(rings), len(rings[0])
    here, there = np.arange(segments), np.roll(np.arange(segments), -1)
    faces = []
    for low in range(count if first is None else count - 1):
        a, b = low * segments, (low + 1) % count * segments
        faces += [np.c_[a + here, a + there, b + there], np.c_[a + here, b + there, b + here]]
    vertices = np.concatenate(rings)
    if first is not None and last is not None:
        bottom, top, end = count * segments, count * segments + 1, (count - 1) * segments
        faces += [np.c_[there, here, np.full(segments, bottom)], np.c_[end + here, end + there, np.full(segments, top)]]
        vertices = np.concatenate([vertices, [first], [last]])
    return Solid(vertices, np.concatenate(faces))


def _area(points: np.ndarray) -> float:
    """Signed area of a polygon [n, 2], positive when it runs counter-clockwise."""
    x, y = points.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def _triangulate(points: np.ndarray) -> np.ndarray:
    """Triangles [n - 2, 3] of a counter-clockwise simple polygon, by cutting off ears."""
    left, triangles = list(range(len(points))), []
    while len(left) > 3:
        at = next(at for at in range(len(left)) if _is_ear(points, left, at))
        triangles.append((left[at - 1], left[at], left[(at + 1) % len(left)]))
        del left[at]
    return np.array([*triangles, left])


def _is_ear(points: np.ndarray, left: list[int], at: int) -> bool:
    corners = (left[at - 1], left[at], left[(at + 1) % len(left)])
    triangle = points[list(corners)]
    if _area(triangle) <= 1e-12:
        return False
    others = points[[index for index in left if index not in corners]]
    edges = np.roll(triangle, -1, axis=0) - triangle
    offsets = others[:, None] - triangle
    inside = edges[:, 0] * offsets[..., 1] - edges[:, 1] * offsets[..., 0] >= 0
    return not inside.all(axis=1).any()
