"""Small feed-forward heads."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def mlp(in_dim: int, hidden_dims: Sequence[int], out_dim: int) -> nn.Sequential:
    """Linear layers with ReLU between them: [N, in_dim] -> [N, out_dim]."""
    layers: list[nn.Module] = []
    for width in hidden_dims:
        layers += [nn.Linear(in_dim, width), nn.ReLU()]
        in_dim = width
    return nn.Sequential(*layers, nn.Linear(in_dim, out_dim))


def projector(in_dim: int, dims: Sequence[int]) -> nn.Sequential:
    """Blocks of Linear, BatchNorm and ReLU, then a Linear without bias: [N, in_dim] -> [N, dims[-1]] (protocol 7).

    Raises:
        ValueError: for no widths.
    """
    if not dims:
        raise ValueError("projector_dims: expected at least one width, found none")
    layers: list[nn.Module] = []
    for width in dims[:-1]:
        # Without bias: normalisation takes it away again.
        layers += [nn.Linear(in_dim, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
        in_dim = width
    return nn.Sequential(*layers, nn.Linear(in_dim, dims[-1], bias=False))
