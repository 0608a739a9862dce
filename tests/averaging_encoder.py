"""An encoder of images for tests that count or time something else."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pixels(nn.Module):
    """An encoder of images of any side that takes no time."""

    out_dim = 12

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(12))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * nn.functional.adaptive_avg_pool2d(x.float(), 2).flatten(1)
