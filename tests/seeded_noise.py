"""Noise that is the same in every run."""

from __future__ import annotations

import torch
from torch import Tensor


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
