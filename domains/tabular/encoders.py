"""Encoders for preprocessed tables."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class TabularEncoder(nn.Module):
    """A batch-normalised MLP beside a linear path from the input, whose outputs add up.

    The linear path keeps what is linearly readable in the columns readable from the first step on. The defaults are
    our own; `hidden=(256, 256), out_dim=128, linear_skip=False` is the encoder of protocol 5.4.

    Args:
        in_dim: width of the preprocessed rows.
        hidden: widths of the hidden layers.
        out_dim: width of the features.
        linear_skip: whether the linear path is there.
    """

    def __init__(self, in_dim: int, hidden: Sequence[int] = (192, 192), out_dim: int = 64, linear_skip: bool = True) -> None:
        super().__init__()
        self.in_dim, self.out_dim = in_dim, out_dim
        layers: list[nn.Module] = []
        width = in_dim
        for hidden_dim in hidden:
            # BatchNorm has its own shift, so the linear layer before it needs none.
            layers += [nn.Linear(width, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU()]
            width = hidden_dim
        self.body = nn.Sequential(*layers, nn.Linear(width, out_dim))
        self.skip = nn.Linear(in_dim, out_dim, bias=False) if linear_skip else None

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, out_dim] of rows [N, in_dim]; ValueError for rows of another width."""
        if x.ndim != 2 or x.shape[1] != self.in_dim:
            raise ValueError(f"expected rows [N, {self.in_dim}], found {list(x.shape)}")
        features: Tensor = self.body(x)
        return features if self.skip is None else features + self.skip(x)
