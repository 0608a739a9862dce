"""Encoders for preprocessed tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TabularEncoder(nn.Module):
    """The columns themselves, and beside them what a batch-normalised MLP makes of them.

    Kept columns stay readable whatever the training objective does to the MLP: on Adult a logistic probe of features
    that add a linear path to the MLP loses a point of accuracy against the columns (docs/notebook.md). The defaults
    are our own; `hidden=(256, 256), num_mixed=128, keep_columns=False` is the encoder of protocol 5.4.

    Args:
        in_dim: width of the preprocessed rows.
        hidden: widths of the hidden layers.
        num_mixed: width of the MLP's output.
        keep_columns: whether the columns are part of the features.
        mixed_scale: standard deviation of the MLP's outputs beside kept columns, whose own is mostly below .5.
    """

    def __init__(
        self,
        in_dim: int,
        hidden: Sequence[int] = (192, 192),
        num_mixed: int = 64,
        keep_columns: bool = True,
        mixed_scale: float = 0.3,
    ) -> None:
        super().__init__()
        self.in_dim, self.keep_columns, self.mixed_scale = in_dim, keep_columns, mixed_scale
        self.out_dim = num_mixed + (in_dim if keep_columns else 0)
        layers: list[nn.Module] = []
        width = in_dim
        for hidden_dim in hidden:
            # BatchNorm has its own shift, so the linear layer before it needs none.
            layers += [nn.Linear(width, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU()]
            width = hidden_dim
        self.mix = nn.Sequential(*layers, nn.Linear(width, num_mixed))
        self.normalise = nn.BatchNorm1d(num_mixed, affine=False) if keep_columns else None

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, out_dim] of rows [N, in_dim]; ValueError for rows of another width."""
        if x.ndim != 2 or x.shape[1] != self.in_dim:
            raise ValueError(f"expected rows [N, {self.in_dim}], found {list(x.shape)}")
        mixed: Tensor = self.mix(x)
        return mixed if self.normalise is None else torch.cat([x, self.mixed_scale * self.normalise(mixed)], dim=1)
