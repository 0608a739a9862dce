"""What keeps embeddings from collapsing without negatives: spread in every dimension, and no two alike.

Both look at the rows of all processes. N rows, E embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from contextssl.distributed import gather


def variance_hinge(embedding: Tensor, *, epsilon: float = 1e-4) -> Tensor:
    """How far the standard deviation of the dimensions of [N, E] falls short of 1, on average (VICReg, eq. 1).

    About 1 for equal rows, 0 when every dimension spreads enough. `epsilon` joins the variance, whose root would
    otherwise have no gradient at 0.
    """
    deviation = (gather(embedding).float().var(dim=0) + epsilon).sqrt()
    return (1 - deviation).relu().mean()


def covariance_penalty(embedding: Tensor) -> Tensor:
    """Sum of the squared covariances between different dimensions of [N, E], over E (VICReg, eq. 4)."""
    rows = gather(embedding).float()
    centred = rows - rows.mean(dim=0)
    with torch.autocast(rows.device.type, enabled=False):
        covariance = centred.T @ centred / (len(rows) - 1)
    # The diagonal is masked: subtracting its squares from the sum of all would lose digits.
    others = covariance.masked_fill(torch.eye(len(covariance), dtype=torch.bool, device=rows.device), 0)
    return others.square().sum() / rows.shape[1]
