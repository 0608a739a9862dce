"""Solids, categories and meshes of the procedural set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from domains.vision.procedural import scene
from domains.vision.procedural.categories import CATEGORIES, make_object
from domains.vision.procedural.mesh import Mesh, assemble, from_arrays
from domains.vision.procedural.rotations import pose
from domains.vision.procedural.solids import Solid, arc, box, ellipsoid, frustum, prism, rod, tube

L_SHAPE = [(0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (1.0, 1.0), (1.0, 3.0), (0.0, 3.0)]
TRIANGLE = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
FACE = np.array([[0, 1, 2]])


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return float(np.einsum("ni,ni->n", a, np.cross(b, c)).sum() / 6)


SOLIDS = {
    "box": (box(1, 2, 3), 6.0),
    "box turned": (box(1, 2, 3).turned("y", 33).at(4, 5, 6), 6.0),
    "stretched": (box(1, 1, 1).scaled(2, 3, 1.5), 9.0),
    "cylinder": (frustum(1, 1, 2), 2 * np.pi),
    "cone": (frustum(1, 0, 3), np.pi),
    "ellipsoid": (ellipsoid(1, 2, 0.5), 4 / 3 * np.pi),
    "tube": (tube(1, 0.5, 2), 1.5 * np.pi),
    "rod": (rod((0, 0, 0), (1, 2, 2), 0.5), 0.75 * np.pi),
    "arc": (arc(2, 0.2, -90, 90), 2 * np.pi * 0.04 * np.pi),
    "arc backwards": (arc(2, 0.2, 90, -90), 2 * np.pi * 0.04 * np.pi),
    "L": (prism(L_SHAPE, 2), 8.0),
    "L clockwise along x": (prism(L_SHAPE[::-1], 2, axis="x"), 8.0),
    "L along y": (prism(L_SHAPE, 2, axis="y"), 8.0),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_a_solid_is_closed_faces_outwards_and_has_its_volume(name: str) -> None:
    solid, expected = SOLIDS[name]
    mesh = Mesh(solid.vertices.astype(np.float32), solid.faces, np.ones((len(solid.faces), 3)))
    assert mesh.num_open_edges() == 0
    # Circles are polygons from inside, so round solids are a little small.
    assert expected * 0.85 <= volume(solid.vertices, solid.faces) <= expected * (1 + 1e-9)


def test_a_prism_has_its_outline_in_the_plane_across_its_axis() -> None:
    for axis, (first, second, along) in {"z": (0, 1, 2), "x": (1, 2, 0), "y": (2, 0, 1)}.items():
        vertices = prism(L_SHAPE, 1, axis=axis).vertices
        assert {tuple(row) for row in vertices[:, [first, second]].tolist()} == set(L_SHAPE)
        assert set(vertices[:, along].tolist()) == {-0.5, 0.5}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3))
def test_a_pose_is_the_extrinsic_xyz_rotation(angles: list[float]) -> None:
    np.testing.assert_allclose(pose(angles), Rotation.from_euler("xyz", angles).as_matrix(), atol=1e-12)
    turned = Solid(np.eye(3), FACE).turned("z", 90).vertices
    np.testing.assert_allclose(turned, [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], atol=1e-12)


def test_there_are_at_least_16_categories_of_closed_objects_of_size_1_about_the_origin() -> None:
    assert len(CATEGORIES) >= 16
    for category in CATEGORIES:
        for number in range(3):
            mesh = make_object(category, number, seed=7)
            low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
            assert mesh.num_open_edges() == 0, f"{category} {number}"
            assert np.linalg.norm(high - low) == pytest.approx(1, abs=1e-5)
            np.testing.assert_allclose(low + high, 0, atol=1e-5)


@pytest.mark.parametrize("category", CATEGORIES)
def test_objects_are_told_by_category_number_and_seed_and_vary_in_shape_and_colour(category: str) -> None:
    one, same = make_object(category, 3, seed=1), make_object(category, 3, seed=1)
    assert all(np.array_equal(getattr(one, name), getattr(same, name)) for name in ("vertices", "faces", "colors"))
    extents = {tuple(np.round(np.ptp(make_object(category, number, 1).vertices, axis=0), 3)) for number in range(6)}
    colors = {tuple(np.unique(make_object(category, number, 1).colors.round(2))) for number in range(6)}
    assert len(extents) == len(colors) == 6
    assert not np.array_equal(one.vertices, make_object(category, 3, seed=2).vertices)


def test_an_assembly_keeps_each_part_in_its_colour() -> None:
    mesh = assemble([(box(1, 1, 1), (1.0, 0.0, 0.0)), (box(1, 1, 1).at(z=5), (0.0, 0.0, 1.0))])
    heights = mesh.vertices[mesh.faces].mean(axis=(1, 2))
    assert np.array_equal(mesh.colors[:, 2] == 1, mesh.vertices[mesh.faces][:, :, 2].mean(axis=1) > 0) and len(heights) == 24


def test_open_edges_are_counted_across_repeated_vertices() -> None:
    cube = box(1, 1, 1)
    soup = from_arrays(cube.vertices[cube.faces].reshape(-1, 3), np.arange(36).reshape(12, 3), name="soup")
    assert soup.num_open_edges() == 0
    assert from_arrays(cube.vertices, cube.faces[1:], name="open").num_open_edges() == 3


def test_y_up_becomes_z_up_without_mirroring() -> None:
    cube = box(1, 2, 3)
    mesh = from_arrays(cube.vertices, cube.faces, name="cube", up="y")
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0) * np.sqrt(14), [1, 3, 2], rtol=1e-5)
    assert volume(mesh.vertices, mesh.faces) > 0


def test_whole_number_colours_are_of_255_and_faces_without_area_are_dropped() -> None:
    faces = np.array([[0, 1, 2], [0, 0, 1]])
    mesh = from_arrays(TRIANGLE, faces, np.array([[255, 0, 51], [1, 2, 3]], np.uint8), name="two")
    np.testing.assert_allclose(mesh.colors, [[1, 0, 0.2]], atol=1e-6)


BAD_MESHES = {
    "empty": ((np.zeros((0, 3)), np.zeros((0, 3), int)), "mesh thing is empty"),
    "no faces": ((TRIANGLE, np.zeros((0, 3), int)), "mesh thing is empty"),
    "degenerate": ((TRIANGLE * [1, 0, 0], FACE), "mesh thing is degenerate"),
    "one point": ((TRIANGLE * 0, FACE), "mesh thing is degenerate"),
    "quads": ((TRIANGLE, np.array([[0, 1, 2, 0]])), "triangulate it"),
    "fractions": ((TRIANGLE, FACE * 1.0), "not whole numbers"),
    "not finite": ((TRIANGLE * [1, np.nan, 1], FACE), "not finite"),
    "far index": ((TRIANGLE, FACE + 1), "names vertex 3 where there are 3"),
    "colours of vertices": ((TRIANGLE, FACE, np.ones((3, 3))), "one sRGB triple for each of 1 faces"),
    "bright colours": ((TRIANGLE, FACE, np.full((1, 3), 1.5)), "outside of 0..1"),
}


@pytest.mark.parametrize("case", BAD_MESHES)
def test_a_bad_mesh_is_refused_by_name(case: str) -> None:
    arrays, said = BAD_MESHES[case]
    with pytest.raises(ValueError, match="mesh thing") as caught:
        from_arrays(*arrays, name="thing")
    assert said in str(caught.value)


def test_latents_fill_their_ranges_and_obey_the_variants() -> None:
    latents = scene.draw_latents(np.random.default_rng(0), 2000)
    assert latents.shape == (2000, 7) and latents.dtype == np.float64
    assert (latents >= scene.SMALLEST).all() and (latents <= scene.LARGEST).all()
    np.testing.assert_allclose(latents.mean(axis=0), (scene.SMALLEST + scene.LARGEST) / 2, atol=0.15)
    np.testing.assert_allclose(latents.std(axis=0), (scene.LARGEST - scene.SMALLEST) / np.sqrt(12), rtol=0.05)

    easy = scene.draw_latents(np.random.default_rng(0), 500, rotation=(0.15, 0, 1), vary_light=False)
    largest = np.abs(easy[:, :3]).max(axis=0) / (np.pi / 2)
    assert 0.14 < largest[0] <= 0.15 and largest[1] == 0 and largest[2] > 0.98
    assert len(np.unique(easy[:, 4:6], axis=0)) == 1 and np.ptp(easy[:, 6]) > 0.9

    unseen = scene.draw_latents(np.random.default_rng(0), 500, rotation=(1, 0.5, 1), seen_rotation=(0.5, 0.5, 1))
    assert (np.abs(unseen[:, 0]) > np.pi / 4).all() and (np.abs(unseen[:, 1]) <= np.pi / 4).all()
