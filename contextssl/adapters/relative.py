"""The relative transformation between two views, from their individual parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from contextssl.actions import ActionSpace, Kind


def relative_action(actions: ActionSpace, t_x: Tensor, t_y: Tensor) -> Tensor:
    """[..., A] actions from x to y, from latents [..., L]; each group by its kind.

    REAL and CIRCULAR: t^y - t^x, without wrapping. QUATERNION: the quaternion of R_x^-1 R_y, its sign as it comes
    (protocol 1.2). SWITCH: the code of the target, [s^y, 1 - s^y], so that "told" never looks like "not told"
    (protocol 5.4).

    Raises:
        ValueError: when a group's action is not as wide as its kind makes it.
    """
    parts = []
    for group in actions.groups:
        columns = actions.latent_slice(group.name)
        x, y = t_x[..., columns], t_y[..., columns]
        if group.kind is Kind.QUATERNION:
            part = _relative_quaternion(x, y)
        elif group.kind is Kind.SWITCH:
            part = torch.cat([y, 1 - y], dim=-1)
        else:
            part = y - x
        if part.shape[-1] != group.action_dim:
            raise ValueError(
                f"group {group.name!r}: the action of kind {group.kind} has width {part.shape[-1]}, but {group.action_dim} is declared; "
                "correct action_dim or pass your own `relative`"
            )
        parts.append(part)
    return torch.cat(parts, dim=-1)


def _relative_quaternion(x: Tensor, y: Tensor) -> Tensor:
    """[..., 4] conjugate(x) * y of unit quaternions with the scalar last."""
    vector_x, vector_y, scalar_x, scalar_y = x[..., :3], y[..., :3], x[..., 3:], y[..., 3:]
    vector = scalar_x * vector_y - scalar_y * vector_x - torch.linalg.cross(vector_x, vector_y)
    scalar = scalar_x * scalar_y + (vector_x * vector_y).sum(-1, keepdim=True)
    return torch.cat([vector, scalar], dim=-1)
