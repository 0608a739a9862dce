"""What the core asks of an encoder: nothing but a width."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Encoder(Protocol):
    """A module from items [N, *input] to features [N, out_dim]. Rows do not see each other in eval mode."""

    out_dim: int

    def __call__(self, x: Tensor) -> Tensor:
        """Features [N, out_dim] of items [N, *input]."""
        ...
