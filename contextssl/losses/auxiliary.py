"""The auxiliary loss: the transformed item's parameters must be readable from every told token's embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from contextssl.distributed import num_processes, total


def told_group_error(prediction: Tensor, target: Tensor, told: Tensor, group_sizes: list[int]) -> Tensor:
    """Mean squared error over the coordinates of each told group, summed over groups (protocol 3.3).

    A group's error is the mean over its coordinates and over all tokens of the sequences that are told it. Groups
    that no sequence is told add nothing. Of several processes each has its share: their mean is the error.

    Args:
        prediction: [B, S, L].
        target: [B, S, L] individual parameters t^y of the pair each token belongs to.
        told: [B, L] 1 where the sequence is told the coordinate's group.
        group_sizes: widths of the groups in L.
    """
    error = (prediction.float() - target).square().mean(1) * told
    totals = []
    for columns, mask in zip(error.split(group_sizes, -1), told.split(group_sizes, -1), strict=True):
        totals.append(num_processes() * columns.sum() / total(mask.sum()).clamp_min(1))
    return torch.stack(totals).sum()
