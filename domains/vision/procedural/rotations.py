"""Rotation matrices for column vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def axis_rotation(axis: int, angle: float) -> np.ndarray:
    """The matrix [3, 3] that turns by `angle` radians about coordinate axis 0, 1 or 2."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def pose(angles: Sequence[float] | np.ndarray) -> np.ndarray:
    """The matrix [3, 3] Rz Ry Rx of extrinsic xyz Euler angles in radians, the pose of a 3DIEBench object (protocol 5.1)."""
    x, y, z = (axis_rotation(axis, float(angle)) for axis, angle in enumerate(angles))
    matrix: np.ndarray = z @ y @ x
    return matrix
