"""The scene of 3DIEBench (Garrido, Najman & LeCun 2023) without the object: camera, floor, lamp, latents, and the light of a picture.

Space: z up, the object about the origin, floor at z = -1. The light model is fitted to pictures of the original generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

EYE = np.array([0.0, 2.5, 2.5]) / np.sqrt(2)
"""Distance 2.5, 45 degrees above the floor; it looks at the origin."""
RIGHT, UP, AHEAD = np.array([[-1.0, 0, 0], [0, -(0.5**0.5), 0.5**0.5], [0, -(0.5**0.5), -(0.5**0.5)]])
HALF_WIDTH = 18 / 50
"""Half of a 36 mm sensor behind a 50 mm lens: half the picture's width at unit distance."""
FLOOR = -1.0

LAMP_DISTANCE, LAMP_RADIUS = 4.0, 0.25
CONE_EDGE = np.cos(np.pi / 16)
CONE_BLEND = 0.15 * (1 - CONE_EDGE)
AMBIENT, SPOT = 0.485, 0.74
"""Strengths of the sun and of the spot light at distance 4."""

LATENTS = ("rx", "ry", "rz", "floor_hue", "light_theta", "light_phi", "light_hue")
LARGEST = np.array([np.pi / 2, np.pi / 2, np.pi / 2, 1, np.pi / 4, 2 * np.pi, 1])
SMALLEST = np.array([-np.pi / 2, -np.pi / 2, -np.pi / 2, 0, 0, 0, 0])
FIXED_LIGHT = (np.pi / 8, np.pi / 4)
"""Lamp angles of a set in which the lamp does not move."""

LAYERS = 11
"""Channels of a layered picture: floor (sun, lamp), then RGB of the object (sun, floor's glow, lamp)."""


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Linear RGB [3] of a hue in 0..1, periodic."""
    place = (np.array([5.0, 3.0, 1.0]) + hue * 6) % 6
    result: np.ndarray = value - value * saturation * np.clip(np.minimum(place, 4 - place), 0, 1)
    return result


def floor_color(hue: float) -> np.ndarray:
    """Linear RGB [3] of the floor."""
    return hsv(hue, 0.6, 0.6)


def light_color(hue: float) -> np.ndarray:
    """Linear RGB [3] of the lamp."""
    return hsv(hue, 1.0, 0.8)


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in 0..1."""
    light: np.ndarray = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return light


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Values in 0..1, in sRGB, of linear light, which is cut off at 1."""
    light = np.clip(linear, 0, 1)
    result: np.ndarray = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return result


def compose(layers: np.ndarray, floor_hue: float, light_hue: float) -> np.ndarray:
    """The picture [..., 3] uint8 that layers [..., 11] show with these hues; exact, since light adds up before sRGB.

    Geometry is traced once, and colour variation costs one call of this each.
    """
    if layers.shape[-1] != LAYERS:
        raise ValueError(f"layers have {layers.shape[-1]} channels where {LAYERS} are needed; take what render_layers returns")
    floor, lamp = floor_color(floor_hue).astype(np.float32), light_color(light_hue).astype(np.float32)
    sun, glow, spot = layers[..., 2:5], layers[..., 5:8], layers[..., 8:11]
    on_floor = floor * (AMBIENT * layers[..., 0:1] + SPOT * lamp * layers[..., 1:2])
    linear = on_floor + AMBIENT * (sun + floor * glow) + SPOT * lamp * spot
    picture: np.ndarray = np.round(255 * to_srgb(linear)).astype(np.uint8)
    return picture


def project(points: np.ndarray) -> np.ndarray:
    """Where points [..., 3] appear: [..., 2] (right, down), the picture being -1..1 in both."""
    offsets = points - EYE
    depth = offsets @ AHEAD
    places: np.ndarray = np.stack([offsets @ RIGHT, -(offsets @ UP)], axis=-1) / (HALF_WIDTH * depth[..., None])
    return places


@dataclass(frozen=True)
class Camera:
    """Rays through a picture of `size` pixels: unit directions [pixels, samples, 3] and where they meet the floor, alike."""

    directions: np.ndarray
    floor: np.ndarray


@cache
def camera(size: int, samples: int) -> Camera:
    """The rays of `samples` x `samples` points in each pixel, row by row."""
    pixel = (np.arange(size * samples) + 0.5) / (size * samples) * 2 - 1
    grid = pixel.reshape(size, samples)
    down, right = np.broadcast_arrays(grid[:, None, :, None], grid[None, :, None, :])
    directions = AHEAD + HALF_WIDTH * (right[..., None] * RIGHT - down[..., None] * UP)
    directions = directions.reshape(size * size, samples * samples, 3)
    # Every ray leads down to the floor: the picture's upper edge is 25 degrees below the horizon.
    floor = EYE + directions * ((FLOOR - EYE[2]) / directions[..., 2:])
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return Camera(directions.astype(np.float32), floor.astype(np.float32))


def lamp_position(theta: float, phi: float) -> np.ndarray:
    """Where the lamp hangs [3]: `theta` from straight above, `phi` around; it is aimed at the origin."""
    position: np.ndarray = LAMP_DISTANCE * np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])
    return position


def lamp_points(theta: float, phi: float, count: int) -> np.ndarray:
    """Points [count, 3] spread evenly over the lamp's disc: the same for every picture, so that shadows have no grain."""
    index = np.arange(count)
    radius, angle = LAMP_RADIUS * np.sqrt((index + 0.5) / count), index * (np.pi * (3 - 5**0.5))
    along = np.array([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)])
    across = np.array([-np.sin(phi), np.cos(phi), 0.0])
    disc = (radius * np.cos(angle))[:, None] * along + (radius * np.sin(angle))[:, None] * across
    points: np.ndarray = lamp_position(theta, phi) + disc
    return points


def spot_light(points: np.ndarray, normals: np.ndarray, lamp: np.ndarray) -> np.ndarray:
    """Share [...] of the lamp's light that reaches points [..., 3] with unit normals [..., 3] unhindered; 1 at distance 4, head-on."""
    offsets = lamp.astype(points.dtype) - points
    squared = np.einsum("...i,...i", offsets, offsets)
    distance = np.sqrt(squared)
    facing = np.clip(np.einsum("...i,...i", offsets, np.broadcast_to(normals, points.shape)) / distance, 0, None)
    off_axis = (offsets @ lamp.astype(points.dtype)) / (distance * np.linalg.norm(lamp))
    blend = np.clip((off_axis - CONE_EDGE) / CONE_BLEND, 0, 1)
    light = facing * (16 / squared) * blend * blend * (3 - 2 * blend)
    result: np.ndarray = light.astype(points.dtype)
    return result


def draw_latents(
    generator: np.random.Generator,
    count: int,
    rotation: Sequence[float] = (1, 1, 1),
    seen_rotation: Sequence[float] | None = None,
    vary_light: bool = True,
) -> np.ndarray:
    """Latents [count, 7] float64: three Euler angles, floor hue, lamp theta and phi, lamp hue, each uniform.

    Args:
        generator: the only source of chance.
        count: how many.
        rotation: range of the three angles as shares of +-pi/2.
        seen_rotation: draw only poses with an angle outside of this range, for a set out of the distribution.
        vary_light: otherwise the lamp stays where FIXED_LIGHT says, and only its hue varies.
    """
    scale = np.array([*rotation, 1, 1, 1, 1])
    latents: np.ndarray = SMALLEST * scale + generator.random((count, len(LATENTS))) * (LARGEST - SMALLEST) * scale
    if seen_rotation is not None:
        inner = np.array(seen_rotation) * LARGEST[:3]
        while (seen := (np.abs(latents[:, :3]) <= inner).all(axis=1)).any():
            latents[seen, :3] = (generator.random((int(seen.sum()), 3)) * 2 - 1) * LARGEST[:3] * scale[:3]
    if not vary_light:
        latents[:, 4:6] = FIXED_LIGHT
    return latents
