"""Camera, light and the Embree renderer, against geometry and slow, obvious code."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from domains.vision.procedural import scene
from domains.vision.procedural.categories import CATEGORIES, make_object
from domains.vision.procedural.mesh import Mesh, assemble
from domains.vision.procedural.rotations import pose
from domains.vision.procedural.solids import Solid, box, ellipsoid

pytest.importorskip("embreex", reason="embreex is not installed: pip install contextssl[render]")
from domains.vision.procedural.renderer import LIFT, SHADOW_RAYS, ObjectRenderer  # noqa: E402

ABOVE = np.array([0.0, 0, 0, 0.6, 0, 0, 0.1])
"""Unturned, the lamp straight above."""


def in_place(solid: Solid, color: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> Mesh:
    """A mesh that is neither moved nor scaled."""
    return Mesh(solid.vertices.astype(np.float32), solid.faces.astype(np.int32), np.tile(color, (len(solid.faces), 1)))


def coverage(layers: np.ndarray) -> np.ndarray:
    """Share [H, W] of each pixel that the object covers."""
    covered: np.ndarray = 1 - layers[..., 0]
    return covered


def test_the_camera_sees_points_where_a_50_mm_lens_puts_them() -> None:
    np.testing.assert_allclose(scene.EYE, [0, 1.768, 1.768], atol=1e-3)
    np.testing.assert_allclose(scene.project(np.zeros(3)), [0, 0], atol=1e-12)
    # The origin is 2.5 away, so that the picture is 2 * .36 * 2.5 wide there; the camera looks towards -y, so -x is right.
    np.testing.assert_allclose(scene.project(np.array([-0.9, 0, 0])), [1, 0], atol=1e-12)
    up = 0.9 * np.array([0, -1, 1]) / np.sqrt(2)
    np.testing.assert_allclose(scene.project(up), [0, -1], atol=1e-12)
    assert scene.project(np.array([0, 0, -1.0]))[1] > 0


def test_rays_pass_through_their_pixels_and_end_on_the_floor() -> None:
    view = scene.camera(6, 2)
    assert view.directions.shape == view.floor.shape == (36, 4, 3)
    np.testing.assert_allclose(view.floor[..., 2], -1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(view.directions, axis=-1), 1, atol=1e-5)
    places = (scene.project(view.floor.astype(np.float64)) + 1) * 3
    for pixel in (0, 5, 17, 30):
        np.testing.assert_allclose(places[pixel].mean(axis=0), [pixel % 6 + 0.5, pixel // 6 + 0.5], atol=1e-4)
        assert len(np.unique(places[pixel].round(2), axis=0)) == 4


@pytest.mark.parametrize("point", [(0.0, 0.0, 0.0), (-0.4, 0.0, 0.1), (0.2, -0.3, 0.3), (0.1, 0.4, -0.2)])
def test_a_small_ball_appears_where_its_centre_is_projected(point: tuple[float, float, float]) -> None:
    layers = ObjectRenderer(in_place(ellipsoid(0.05, 0.05, 0.05).at(*point)), 64).render_layers(ABOVE)
    seen = coverage(layers)
    rows, columns = np.mgrid[:64, :64] + 0.5
    centre = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
    np.testing.assert_allclose(centre, (scene.project(np.array(point)) + 1) * 32, atol=0.1)


def test_the_object_turns_with_its_pose() -> None:
    turned = np.array([0.4, -0.7, 1.1])
    mark = ellipsoid(0.05, 0.05, 0.05).at(0.3, 0.2, 0.1)
    there = ellipsoid(0.05, 0.05, 0.05).at(*(pose(turned) @ [0.3, 0.2, 0.1]))
    by_pose = ObjectRenderer(in_place(mark), 32).render_layers(np.r_[turned, ABOVE[3:]])
    placed = ObjectRenderer(in_place(there), 32).render_layers(ABOVE)
    np.testing.assert_allclose(coverage(by_pose), coverage(placed), atol=0.25)
    assert coverage(by_pose).sum() == pytest.approx(coverage(placed).sum(), rel=0.05)


def test_the_lamp_gives_1_at_distance_4_and_falls_off_with_distance_angle_and_cone() -> None:
    lamp, up = scene.lamp_position(0, 0), np.array([0, 0, 1.0])
    assert scene.spot_light(np.zeros(3), up, lamp) == pytest.approx(1)
    assert scene.spot_light(np.array([0, 0, -1.0]), up, lamp) == pytest.approx(16 / 25)
    assert scene.spot_light(np.zeros(3), np.array([0.6, 0, 0.8]), lamp) == pytest.approx(0.8)
    assert scene.spot_light(np.zeros(3), -up, lamp) == 0
    edge = 5 * np.tan(np.pi / 16)
    assert scene.spot_light(np.array([edge * 1.01, 0, -1]), up, lamp) == 0
    assert scene.spot_light(np.array([edge * 0.8, 0, -1]), up, lamp) > 0.5
    np.testing.assert_allclose(scene.lamp_position(np.pi / 4, np.pi / 2), [0, 8**0.5, 8**0.5], atol=1e-12)
    points = scene.lamp_points(0.6, 2.0, 50) - scene.lamp_position(0.6, 2.0)
    np.testing.assert_allclose(points @ scene.lamp_position(0.6, 2.0), 0, atol=1e-12)
    assert 0.23 < np.linalg.norm(points, axis=1).max() <= scene.LAMP_RADIUS


def test_hues_are_those_of_the_colour_wheel() -> None:
    import colorsys

    for hue in np.linspace(0, 1, 13):
        np.testing.assert_allclose(scene.hsv(hue, 0.6, 0.6), colorsys.hsv_to_rgb(hue, 0.6, 0.6), atol=1e-9)
    values = np.linspace(0, 1, 11)
    np.testing.assert_allclose(scene.to_srgb(scene.to_linear(values)), values, atol=1e-6)


def test_each_hue_colours_what_it_lights_and_nothing_else() -> None:
    plate = ObjectRenderer(in_place(box(0.5, 0.5, 0.02)), 32)
    plain, other_floor, other_lamp = (
        plate.render(np.r_[ABOVE[:3], floor, 0, 0, lamp]) for floor, lamp in ((0.6, 0.1), (0.1, 0.1), (0.6, 0.5))
    )
    seen = coverage(plate.render_layers(ABOVE))
    dark = scene.spot_light(scene.camera(32, 1).floor[:, 0], np.array([0, 0, 1], np.float32), scene.lamp_position(0, 0)) == 0
    dark = dark.reshape(32, 32) & (seen == 0)
    top = np.zeros_like(dark)
    top[15:17, 15:17] = True
    assert (seen[top] == 1).all() and dark.any()
    # Only the side that looks down or away is lit by the floor: the top of a plate is not.
    assert np.array_equal(plain[top], other_floor[top]) and (plain[dark] != other_floor[dark]).any(axis=-1).all()
    assert (plain[top] != other_lamp[top]).any(axis=-1).all() and np.array_equal(plain[dark], other_lamp[dark])


def test_composing_layers_equals_rendering_with_those_hues() -> None:
    renderer = ObjectRenderer(make_object("teapot", 0, seed=0), 24)
    latents = scene.draw_latents(np.random.default_rng(3), 1)[0]
    layers = renderer.render_layers(latents)
    for floor, lamp in ((0.0, 0.5), (0.3, 0.9), (0.71, 0.02)):
        expected = renderer.render(np.r_[latents[:3], floor, latents[4:6], lamp])
        assert np.abs(scene.compose(layers, floor, lamp).astype(int) - expected).max() <= 1
        assert np.abs(scene.compose(layers, floor, lamp + 0.3).astype(int) - expected).max() > 10
    with pytest.raises(ValueError, match="3 channels where 11"):
        scene.compose(layers[..., :3], 0, 0)


def crosses(start: np.ndarray, ray: np.ndarray, triangle: np.ndarray) -> float:
    """Where start + t ray meets a triangle; infinity when it does not."""
    try:
        t, u, v = np.linalg.solve(np.c_[-ray, triangle[1] - triangle[0], triangle[2] - triangle[0]], start - triangle[0])
    except np.linalg.LinAlgError:
        return np.inf
    return float(t) if t > 0 and u >= 0 and v >= 0 and u + v <= 1 else np.inf


def slow_pixel(mesh: Mesh, latents: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """The linear light of one ray, written down from the light model without layers."""
    corners = (mesh.vertices @ pose(latents[:3]).T)[mesh.faces]
    floor, lamp_color = scene.hsv(latents[3], 0.6, 0.6), scene.hsv(latents[6], 1, 0.8)
    distances = [crosses(scene.EYE, ray, triangle) for triangle in corners]
    nearest = int(np.argmin(distances))
    if np.isfinite(distances[nearest]):
        point = scene.EYE + distances[nearest] * ray
        normal = np.cross(corners[nearest][1] - corners[nearest][0], corners[nearest][2] - corners[nearest][0])
        normal = normal / np.linalg.norm(normal) * -np.sign(normal @ ray)
        above = 0.5 + 0.5 * normal[2]
        albedo, ambient = scene.to_linear(mesh.colors[nearest]), above**2 + (1 - above) * floor / 2
    else:
        point = scene.EYE + ray * (-1 - scene.EYE[2]) / ray[2]
        normal, albedo, ambient = np.array([0, 0, 1.0]), floor, np.ones(3)
    lamp = scene.lamp_position(latents[4], latents[5])
    to_lamp = lamp - point
    distance = np.linalg.norm(to_lamp)
    cosine = max(0.0, normal @ to_lamp / distance)
    edge = np.cos(np.pi / 16)
    blend = np.clip((to_lamp @ lamp / distance / 4 - edge) / (0.15 * (1 - edge)), 0, 1)
    lifted = point + LIFT * normal
    reached = [
        not any(crosses(lifted, end - lifted, triangle) < 1 for triangle in corners)
        for end in scene.lamp_points(latents[4], latents[5], SHADOW_RAYS)
    ]
    spot = 16 / distance**2 * cosine * (3 * blend**2 - 2 * blend**3) * np.mean(reached)
    result: np.ndarray = albedo * (0.485 * ambient + 0.74 * lamp_color * spot)
    return result


def test_a_picture_equals_one_that_slow_code_computes_ray_by_ray() -> None:
    mesh = assemble([(box(1, 2, 0.3), (0.9, 0.4, 0.1)), (box(0.3, 0.3, 1).at(0.2, 0.5, 0.5), (0.2, 0.6, 0.9))])
    latents = np.array([0.5, -0.4, 0.8, 0.3, 0.5, 1.0, 0.85])
    picture = ObjectRenderer(mesh, 14, samples=1).render(latents)
    rays = scene.camera(14, 1).directions[:, 0].astype(np.float64)
    slow = np.array([slow_pixel(mesh, latents, ray) for ray in rays]).reshape(14, 14, 3)
    difference = np.abs(picture.astype(int) - np.round(255 * scene.to_srgb(slow))).max(axis=-1)
    # A ray along an edge may fall on either side of it.
    assert (difference <= 1).mean() > 0.98


def test_a_soft_shadow_has_the_share_of_the_lamp_that_is_hidden() -> None:
    size, half, latents = 48, 0.25, np.array([0.0, 0, 0, 0, 0.4, 1.0, 0])
    renderer = ObjectRenderer(in_place(box(2 * half, 2 * half, 1e-3)), size)
    layers = renderer.render_layers(latents)
    floor = scene.camera(size, 1).floor[:, 0].astype(np.float64)
    open_light = scene.spot_light(floor, np.array([0, 0, 1.0]), scene.lamp_position(0.4, 1.0))
    lamps = scene.lamp_points(0.4, 1.0, 400)
    # Where the way from each floor point to each point of the lamp passes the plane of the plate.
    crossing = floor[:, None] + (lamps - floor[:, None]) * (1 / (lamps[:, 2] + 1))[None, :, None]
    visible = 1 - (np.abs(crossing[..., :2]) < half).all(axis=-1).mean(axis=1)
    chosen = (open_light > 0.3) & (coverage(layers).reshape(-1) == 0)
    found = layers[..., 1].reshape(-1)[chosen] / open_light[chosen]
    assert visible[chosen].min() == 0 and ((visible[chosen] > 0.2) & (visible[chosen] < 0.8)).sum() > 20
    np.testing.assert_allclose(found, visible[chosen], atol=0.15)
    assert np.abs(found - visible[chosen]).mean() < 0.01


@pytest.mark.parametrize("theta", [0.1, np.pi / 4])
def test_nothing_is_lost_where_neither_object_nor_shadow_are_looked_for(theta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 64
    renderer = ObjectRenderer(make_object("boat", 1, seed=0), size)
    for phi in (0.0, 1.6, 4.0):
        latents = np.array([0.9, -0.5, 0.3, 0, theta, phi, 0])
        layers = renderer.render_layers(latents)
        with monkeypatch.context() as patched:
            patched.setattr(ObjectRenderer, "_where", lambda *_: (np.ones(size**2, bool), np.ones(size**2, bool)))
            everywhere = renderer.render_layers(latents)
        np.testing.assert_array_equal(layers[..., [0, 2, 3, 4, 8]], everywhere[..., [0, 2, 3, 4, 8]])
        # On the rim of the cone, more samples make a difference.
        floor = scene.camera(size, 1).floor[:, 0]
        once = scene.spot_light(floor, np.array([0, 0, 1], np.float32), scene.lamp_position(theta, phi)).reshape(size, size)
        smooth = maximum_filter(once, 3) - minimum_filter(once, 3) < 0.05
        assert (smooth & (layers[..., 1] < 0.5 * once)).sum() > 30
        np.testing.assert_allclose(layers[..., 1][smooth], everywhere[..., 1][smooth], atol=0.01)


def test_a_sheet_is_seen_and_lit_from_both_sides() -> None:
    sheet = Solid(np.array([[-0.3, -0.3, 0], [0.3, -0.3, 0], [0.3, 0.3, 0], [-0.3, 0.3, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    upside_down = Solid(sheet.vertices, sheet.faces[:, ::-1])
    pictures = [ObjectRenderer(in_place(solid), 16).render(ABOVE) for solid in (sheet, upside_down)]
    assert np.array_equal(*pictures)


def turn_score(renderer: ObjectRenderer, generator: np.random.Generator) -> float:
    """Smallest difference to half and quarter turns about the object's axes over that to unrelated poses."""
    from scipy.spatial.transform import Rotation

    def render(rotation: Rotation) -> np.ndarray:
        return renderer.render(np.r_[rotation.as_euler("xyz"), 0.6, 0.3, 1.5, 0.1]).astype(float)

    start = Rotation.random(rng=generator)
    picture = render(start)
    turns = [Rotation.from_rotvec(angle * axis) for axis in np.eye(3) for angle in (np.pi, np.pi / 2)]
    turned = [np.abs(render(start * turn) - picture).mean() for turn in turns]
    unrelated = np.mean([np.abs(render(other) - picture).mean() for other in Rotation.random(4, rng=generator)])
    return float(min(turned) / unrelated)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_pose_can_be_told_from_a_picture(category: str) -> None:
    generator = np.random.default_rng(0)
    scores = [turn_score(ObjectRenderer(make_object(category, number, seed=0), 32, samples=2), generator) for number in range(3)]
    assert np.mean(scores) > 0.25
