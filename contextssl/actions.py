"""What an action means, and how much of it a model is told.

An `ActionSpace` names the groups of transformations (rotation, colour, sex...) and which coordinates of the action
and of the latent belong to each. An `Environment` is the subset of groups a model is told. Hiding the rest happens
here and nowhere else: by multiplying with a 0/1 mask (Gupta et al. 2024, Section 3; protocol 1.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import torch
from torch import Tensor


class Kind(StrEnum):
    """What kind of number a group's latent is; it decides which functions of it count as knowing it."""

    REAL = "real"  # plain numbers: a blur width, a crop box
    CIRCULAR = "circular"  # numbers with period 1: a hue, a fraction of a turn
    QUATERNION = "quaternion"  # unit quaternions, scalar last
    SWITCH = "switch"  # 0 or 1: an attribute that is present or not


@dataclass(frozen=True, slots=True)
class Group:
    """One group of transformations: its name, its widths in the action and the latent, its kind and its units."""

    name: str
    action_dim: int
    latent_dim: int
    kind: Kind
    units: str

    @property
    def num_functions(self) -> int:
        """Width F of `functions`."""
        return self.functions(torch.zeros(1, self.latent_dim)).shape[1]

    def functions(self, latent: Tensor) -> Tensor:
        """[..., latent_dim] -> [..., F]: the functions of the latent that a read-out could be after.

        A read-out that cannot recover h may still recover cos(2 pi h); an embedding is free of a group only when it
        is free of all of these.
        """
        if self.kind is Kind.CIRCULAR:
            angle = 2 * math.pi * latent
            return torch.cat([latent, angle.cos(), angle.sin()], dim=-1)
        if self.kind is Kind.QUATERNION:
            products = latent.unsqueeze(-1) * latent.unsqueeze(-2)
            rows, columns = torch.triu_indices(4, 4, device=latent.device)
            return torch.cat([latent, products[..., rows, columns]], dim=-1)
        return latent


@dataclass(frozen=True)
class Environment:
    """The groups a model is told, in the order of their ActionSpace. Build it with `ActionSpace.environment`."""

    groups: tuple[str, ...]

    @property
    def name(self) -> str:
        """`none`, or the group names joined with `+`."""
        return "+".join(self.groups) or "none"

    def __str__(self) -> str:
        return self.name


class ActionSpace:
    """The ordered groups of an adapter's actions, and the scale of their numbers in its training data.

    Args:
        groups: in the order in which their coordinates stand in the action and in the latent.
        action_scale: [A] root mean square of each action coordinate; ones when None.
        latent_mean: [L] mean of each latent coordinate; zeros when None.
        latent_scale: [L] standard deviation of each latent coordinate; ones when None.

    Raises:
        ValueError: for no groups, repeated names, reserved names, or statistics of the wrong width.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        action_scale: Tensor | None = None,
        latent_mean: Tensor | None = None,
        latent_scale: Tensor | None = None,
    ) -> None:
        self.groups = tuple(groups)
        self.names = tuple(group.name for group in self.groups)
        if not self.groups or len(set(self.names)) < len(self.names):
            raise ValueError(f"an ActionSpace needs at least one group and distinct names, found {list(self.names)}")
        if reserved := [name for name in self.names if name in ("none", "all", "") or "+" in name or "." in name]:
            raise ValueError(f"group names may not be empty, 'none' or 'all', nor contain '+' or '.', found {reserved}")
        self.action_scale = torch.ones(self.action_dim) if action_scale is None else action_scale.float()
        self.latent_mean = torch.zeros(self.latent_dim) if latent_mean is None else latent_mean.float()
        self.latent_scale = torch.ones(self.latent_dim) if latent_scale is None else latent_scale.float()
        for name, width in (
            ("action_scale", self.action_dim),
            ("latent_mean", self.latent_dim),
            ("latent_scale", self.latent_dim),
        ):
            if (found := list(getattr(self, name).shape)) != [width]:
                raise ValueError(f"{name}: expected shape [{width}] for the groups {list(self.names)}, found {found}")

    def measured(self, action: Tensor, latent: Tensor) -> ActionSpace:
        """The same groups with their scales measured on training actions [..., A] and latents [..., L]."""
        action, latent = action.reshape(-1, self.action_dim).float(), latent.reshape(-1, self.latent_dim).float()
        action_scale, latent_scale = action.square().mean(0).sqrt(), latent.std(0, unbiased=False)
        for scale in (action_scale, latent_scale):
            scale[scale < 1e-6] = 1.0  # a coordinate that never varies stays as it is
        return ActionSpace(self.groups, action_scale, latent.mean(0), latent_scale)

    @cached_property
    def action_dim(self) -> int:
        """Width A of the action."""
        return sum(group.action_dim for group in self.groups)

    @cached_property
    def latent_dim(self) -> int:
        """Width L of the latent."""
        return sum(group.latent_dim for group in self.groups)

    def group(self, name: str) -> Group:
        """The group of that name; ValueError with the known names otherwise."""
        if name not in self.names:
            raise ValueError(f"unknown group {name!r}: this action space has {list(self.names)}")
        return self.groups[self.names.index(name)]

    def action_slice(self, name: str) -> slice:
        """Where the group's coordinates stand in the action."""
        start = sum(group.action_dim for group in self.groups[: self.names.index(self.group(name).name)])
        return slice(start, start + self.group(name).action_dim)

    def latent_slice(self, name: str) -> slice:
        """Where the group's coordinates stand in the latent."""
        start = sum(group.latent_dim for group in self.groups[: self.names.index(self.group(name).name)])
        return slice(start, start + self.group(name).latent_dim)

    def action_columns(self, names: Sequence[str]) -> Tensor:
        """[K] int64: where the coordinates of these groups stand in the action, in the space's order.

        Raises:
            ValueError: for no group, or an unknown one.
        """
        if not names:
            raise ValueError(f"groups: expected at least one of {list(self.names)}, found none")
        chosen = Environment(tuple(self.group(name).name for name in names))
        return self.action_mask(chosen).nonzero().flatten()

    def environment(self, told: str) -> Environment:
        """The environment called `told`: `none`, `all`, one group's name, or several joined with `+`."""
        if told == "all":
            return Environment(self.names)
        chosen = [] if told == "none" else [self.group(name).name for name in told.split("+")]
        return Environment(tuple(name for name in self.names if name in chosen))

    @cached_property
    def environments(self) -> tuple[Environment, ...]:
        """The environments every evaluation looks at: each group told alone, and none."""
        return (*(Environment((name,)) for name in self.names), Environment(()))

    def action_mask(self, environment: Environment) -> Tensor:
        """[A], 1 where the model is told the coordinate."""
        return self._mask(environment, [group.action_dim for group in self.groups])

    def latent_mask(self, environment: Environment) -> Tensor:
        """[L], 1 where the coordinate belongs to a told group."""
        return self._mask(environment, [group.latent_dim for group in self.groups])

    def _mask(self, environment: Environment, widths: list[int]) -> Tensor:
        told = [float(name in environment.groups) for name in self.names]
        return torch.tensor(told).repeat_interleave(torch.tensor(widths))

    def check(self, action: Tensor, latent: Tensor) -> None:
        """Raise ValueError unless the last axes are A and L wide."""
        for name, tensor, width in (("action", action, self.action_dim), ("latent", latent, self.latent_dim)):
            if tensor.shape[-1] != width:
                raise ValueError(
                    f"{name}: the groups {list(self.names)} need width {width}, found {tensor.shape[-1]} in shape {list(tensor.shape)}"
                )


def hide(action: Tensor, mask: Tensor) -> Tensor:
    """What the model is told: the action [..., A] where the mask (broadcastable to it) is 1, zero elsewhere."""
    return action * mask
