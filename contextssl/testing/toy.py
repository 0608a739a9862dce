"""A toy domain with two groups of transformations, small enough to learn in seconds."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import ProbeTarget, Split
from contextssl.adapters.items import ItemAdapter, digest
from contextssl.seeding import generator

WIDTH = 12


class TinyEncoder(nn.Module):
    """A two-layer network with a linear skip: [N, in_dim] -> [N, out_dim]."""

    def __init__(self, in_dim: int = WIDTH, hidden_dim: int = 64, out_dim: int = 32) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.body = nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))
        self.skip = nn.Linear(in_dim, out_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_dim] -> [N, out_dim]."""
        features: Tensor = self.body(x) + self.skip(x)
        return features


class ToyAdapter(ItemAdapter):
    """Vectors [12] = class prototype + something of their own, under two groups of transformations.

    `turn` rotates the planes of coordinates (0, 1), (2, 3) and (4, 5) by an angle in [-pi/2, pi/2]; `shift` adds a
    number in [-1, 1] times a fixed direction to coordinates 6 to 11. Targets: `class`, and both groups.

    Args:
        num_items: number of items.
        num_classes: number of prototypes.
        encoder: builds the encoder.
        seed: of prototypes, items and splits.
        trajectories: whether every sequence shows one item.
    """

    def __init__(
        self, num_items: int = 400, num_classes: int = 4, encoder: Callable[[], nn.Module] = TinyEncoder, seed: int = 0,
        trajectories: bool = False,
    ) -> None:  # fmt: skip
        draws = generator(seed, "toy items")
        classes = torch.arange(num_items) % num_classes
        # Prototypes differ by scale along fixed directions, so that the turn can be seen without knowing the class.
        prototypes = torch.tensor([1.0, 0.0] * 3 + [0.0] * 6) + 0.5 * torch.randn(num_classes, WIDTH, generator=draws)
        self._items = prototypes[classes] + 0.2 * torch.randn(num_items, WIDTH, generator=draws)
        actions = ActionSpace([Group("turn", 1, 1, Kind.REAL, "radians"), Group("shift", 1, 1, Kind.REAL, "lengths")])
        super().__init__(
            actions, [ProbeTarget("class", classes, num_classes)], num_items=num_items, encoder=encoder, relative=None,
            shares=(0.2, 0.2), seed=seed, digest=digest(self._items), trajectories=trajectories,
        )  # fmt: skip
        self.manifest["source"] = "toy domain, generated"

    def pairs(self, items: Tensor, split: Split, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Two versions of each item."""
        return (*self._transformed(items, draws), *self._transformed(items, draws))

    def views(self, items: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Four versions of each item."""
        rows = items.repeat_interleave(4)
        return (*self._transformed(rows, draws), rows)

    def _transformed(self, items: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Versions [N, 12] and their (angle, shift) [N, 2]."""
        angle = (torch.rand(len(items), 1, generator=draws) - 0.5) * math.pi
        shift = torch.rand(len(items), 1, generator=draws) * 2 - 1
        first, second = self._items[items, 0:6:2], self._items[items, 1:6:2]
        turned = torch.stack([angle.cos() * first - angle.sin() * second, angle.sin() * first + angle.cos() * second], dim=-1)
        direction = torch.tensor([1.0, -1.0] * 3)
        return torch.cat([turned.flatten(1), self._items[items, 6:] + shift * direction], dim=1), torch.cat([angle, shift], dim=1)
