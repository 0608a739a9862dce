"""A slowly moving copy of a network, whose outputs are targets."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from contextssl.schedule import cosine_momentum


class MovingAverage(nn.Module):
    """A copy of a module whose parameters are a moving average of the module's; no gradient passes through it.

    Its buffers, such as the statistics of batch norms, are not averaged: they follow the copy's own forward passes.

    Args:
        module: what is copied.
        momentum: share of the old average that the first update keeps; it rises to 1 (`cosine_momentum`).
        num_updates: number of updates after which nothing moves any more.
    """

    updates_done: Tensor

    def __init__(self, module: nn.Module, *, momentum: float, num_updates: int) -> None:
        super().__init__()
        if not 0 <= momentum <= 1 or num_updates < 1:
            raise ValueError(
                f"a moving average needs 0 <= momentum <= 1 and at least one update, found momentum {momentum}, {num_updates} updates"
            )
        self.module = deepcopy(module).requires_grad_(False)
        self.momentum, self.num_updates = momentum, num_updates
        self.register_buffer("updates_done", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """What the copy makes of x."""
        output: Tensor = self.module(x)
        return output

    @torch.no_grad()
    def follow(self, module: nn.Module) -> None:
        """Move the average towards the module's parameters as they are now."""
        share = 1 - cosine_momentum(self.updates_done, num_steps=self.num_updates, start=self.momentum)
        for average, current in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(current, share.to(average.dtype))
        self.updates_done += 1
