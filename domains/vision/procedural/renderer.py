"""Pictures of a mesh: rays by Embree, light by numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from domains.vision.procedural import scene
from domains.vision.procedural.mesh import Mesh
from domains.vision.procedural.packages import MissingPackageError
from domains.vision.procedural.rotations import pose

SAMPLES = 3
SHADOW_RAYS = 2
LIFT = 2e-3
"""Shadow rays start this far above a surface, so that they do not meet it."""


class ObjectRenderer:
    """Renders one mesh under any latents. Its tree of triangles is built once: rays are turned into the object's frame.

    Args:
        mesh: what is shown.
        size: of the square picture in pixels.
        samples: rays per pixel and direction where the object or its shadow can be; one ray per pixel elsewhere.

    Raises:
        MissingPackageError: when embreex is not installed.
    """

    def __init__(self, mesh: Mesh, size: int, samples: int = SAMPLES) -> None:
        self.size, self.samples = size, samples
        self._tree = _tree(mesh)
        self._outline = _outline(mesh.vertices)
        corners = mesh.vertices[mesh.faces].astype(np.float64)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self._normals = (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)).astype(np.float32)
        self._albedo = scene.to_linear(mesh.colors).astype(np.float32)

    def render(self, latents: np.ndarray) -> np.ndarray:
        """The picture [size, size, 3] uint8 of latents [7]."""
        return scene.compose(self.render_layers(latents), float(latents[3]), float(latents[6]))

    def render_layers(self, latents: np.ndarray) -> np.ndarray:
        """Layers [size, size, 11] float32 of latents [7], whose two hues play no part; `scene.compose` colours them."""
        turn = pose(latents[:3]).astype(np.float32)
        lamp = scene.lamp_position(float(latents[4]), float(latents[5]))
        layers = np.zeros((self.size**2, scene.LAYERS), np.float32)
        once = scene.camera(self.size, 1).floor[:, 0]
        layers[:, 0] = 1
        layers[:, 1] = scene.spot_light(once, np.array([0, 0, 1], np.float32), lamp)
        body, shadow = self._where(turn, lamp)
        pixels = np.flatnonzero(body | shadow)
        lamps = scene.lamp_points(float(latents[4]), float(latents[5]), self.samples**2 * SHADOW_RAYS).astype(np.float32)
        layers[pixels] = self._trace(pixels, body[pixels], turn, lamp, lamps)
        return layers.reshape(self.size, self.size, scene.LAYERS)

    def _where(self, turn: np.ndarray, lamp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [size^2] where the object can be, and where its shadow on the floor can be."""
        points = self._outline @ turn.T
        stretch = (points[:, 2:] - scene.FLOOR) / (lamp[2] - points[:, 2:])
        cast = points + (points - lamp) * stretch
        # A point of a tilted lamp's rim moves the shadow by its sideways and its vertical offset: 1.64 radii at most, at pi/4.
        edge = scene.LAMP_RADIUS * 1.75 * stretch * np.array([[[1, 0, 0]], [[-1, 0, 0]], [[0, 1, 0]], [[0, -1, 0]]])
        return self._rectangle(points), self._rectangle((cast + edge).reshape(-1, 3))

    def _rectangle(self, points: np.ndarray) -> np.ndarray:
        """Pixels [size^2] of the smallest rectangle around points [n, 3], and one pixel more."""
        places = (scene.project(points) + 1) * (self.size / 2)
        low, high = np.floor(places.min(axis=0)) - 1, np.ceil(places.max(axis=0)) + 1
        right, down = ((np.arange(self.size) >= low[axis]) & (np.arange(self.size) < high[axis]) for axis in (0, 1))
        inside: np.ndarray = (down[:, None] & right[None, :]).reshape(-1)
        return inside

    def _trace(self, pixels: np.ndarray, body: np.ndarray, turn: np.ndarray, lamp: np.ndarray, lamps: np.ndarray) -> np.ndarray:
        """Layers [pixels, 11] averaged over the samples in each pixel; `body` says where the object can be at all."""
        view = scene.camera(self.size, self.samples)
        per_pixel = self.samples**2
        points = view.floor[pixels].reshape(-1, 3)
        normals = np.zeros_like(points)
        normals[:, 2] = 1
        rows, face, distance = self._first_hits(view.directions[pixels], np.repeat(body, per_pixel), turn)
        directions = view.directions[pixels].reshape(-1, 3)[rows]
        points[rows] = scene.EYE.astype(np.float32) + distance[:, None] * directions
        toward = self._normals[face] @ turn.T
        # Sheets are seen from both sides.
        toward *= np.where(np.einsum("ni,ni->n", toward, directions) > 0, -1, 1)[:, None].astype(np.float32)
        normals[rows] = toward
        spot = scene.spot_light(points, normals, lamp)
        spot *= self._visible(points + LIFT * normals, spot > 0, turn, lamps)

        samples = np.zeros((len(points), scene.LAYERS), np.float32)
        samples[:, 0], samples[:, 1] = 1, spot
        above = (0.5 + 0.5 * toward[:, 2:]).astype(np.float32)
        albedo = self._albedo[face]
        samples[rows, :2] = 0
        samples[rows, 2:] = np.concatenate([albedo * above**2, albedo * (1 - above) / 2, albedo * spot[rows, None]], axis=1)
        averaged: np.ndarray = samples.reshape(len(pixels), per_pixel, scene.LAYERS).mean(axis=1)
        return averaged

    def _first_hits(
        self, directions: np.ndarray, body: np.ndarray, turn: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples [n] that see the object, the faces [n] they see and how far away [n]."""
        rows = np.flatnonzero(body)
        rays = directions.reshape(-1, 3)[rows] @ turn
        starts = np.broadcast_to((scene.EYE @ turn).astype(np.float32), rays.shape)
        found = self._tree.run(np.ascontiguousarray(starts), rays, output=1)
        hit = found["primID"] >= 0
        return rows[hit], found["primID"][hit], found["tfar"][hit]

    def _visible(self, points: np.ndarray, lit: np.ndarray, turn: np.ndarray, lamps: np.ndarray) -> np.ndarray:
        """Share [samples] of the lamp's disc that each point sees; each sample in a pixel looks at points of its own."""
        visible, per_pixel = np.ones(len(points), np.float32), self.samples**2
        rows = np.flatnonzero(lit)
        starts, seen = points[rows] @ turn, np.zeros(len(rows), np.float32)
        for turn_of in range(SHADOW_RAYS):
            # Neighbouring samples look at distant points of the disc: 5 and the number of points have no common factor.
            ends = (lamps @ turn)[(rows % per_pixel * 5 + turn_of * per_pixel) % len(lamps)]
            blocked = self._tree.run(starts, ends - starts, dists=np.ones(len(rows), np.float32), query="OCCLUDED")
            seen += (blocked != 0) / SHADOW_RAYS
        visible[rows] = seen
        return visible


def _tree(mesh: Mesh) -> Any:
    """Embree's search tree over the triangles."""
    scene_class, mesh_class = embree()
    tree = scene_class()
    mesh_class(tree, mesh.vertices, mesh.faces)
    return tree


def embree() -> tuple[Any, Any]:
    """Embree's classes for a tree and for a mesh in it; MissingPackageError when it is not installed."""
    try:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene
    except ImportError as error:
        raise MissingPackageError(
            "rendering needs Embree: pip install contextssl[render]; embreex has no wheel for Linux on ARM, where a set "
            "rendered on another machine can be used"
        ) from error
    return EmbreeScene, TriangleMesh


def _outline(vertices: np.ndarray) -> np.ndarray:
    """The corners [n, 3] of the convex hull, which decide where object and shadow can be; all vertices of a flat object."""
    try:
        return np.asarray(vertices[ConvexHull(vertices).vertices])
    except QhullError:
        return vertices
