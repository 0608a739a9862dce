"""Contrastive losses between the two embeddings of a pair, in every variant of protocol 3.1, 3.2 and 3.5.

Those that compare all pairs of a batch see the pairs of all processes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from contextssl.distributed import gather

ContrastiveLoss = Callable[[Tensor, Tensor], Tensor]
"""x, y [B, T, E] -> scalar; x[b, t] and y[b, t] are the two embeddings of a pair."""


def all_negatives(x: Tensor, y: Tensor, *, temperature: float = 0.1, clamp: float | None = 1e-7) -> Tensor:
    """InfoNCE against every other token of the batch, of both kinds and all sequences (protocol 3.1).

    Mean over the 2N anchors of the cross-entropy of the partner among the other 2N - 1 tokens, on cosines. This is
    also NT-Xent (Chen et al. 2020, eq. 1) when `clamp` is None.

    Args:
        x: [B, T, E] embeddings of the items, normalised here.
        y: [B, T, E] embeddings of their partners.
        temperature: divides the cosines.
        clamp: lower bound of the cosines, beyond which negatives are not pushed further (the authors' code uses
            1e-7, the paper none).
    """
    tokens = F.normalize(torch.cat([gather(x.flatten(0, 1)), gather(y.flatten(0, 1))]).float(), dim=-1)
    logits = _logits(tokens, tokens, temperature, clamp)
    logits = logits.masked_fill(torch.eye(len(tokens), dtype=torch.bool, device=tokens.device), -1e5)
    partner = torch.arange(len(tokens), device=tokens.device).roll(len(tokens) // 2)
    return F.cross_entropy(logits, partner)


def nt_xent(x: Tensor, y: Tensor, temperature: float) -> Tensor:
    """NT-Xent between rows x [N, E] and their partners y [N, E] (Chen et al. 2020, eq. 1)."""
    return all_negatives(x[None], y[None], temperature=temperature, clamp=None)


def cross_negatives(x: Tensor, y: Tensor, *, temperature: float = 0.1, clamp: float | None = None) -> Tensor:
    """InfoNCE of x against all y of the batch, and of y against all x (`batch_cross` of protocol 3.2)."""
    x, y = gather(x.flatten(0, 1)), gather(y.flatten(0, 1))
    return sequence_cross_negatives(x[None], y[None], temperature=temperature, clamp=clamp)


def sequence_cross_negatives(x: Tensor, y: Tensor, *, temperature: float = 0.1, clamp: float | None = None) -> Tensor:
    """InfoNCE of x_i against the y_j of its own sequence, and the reverse (Gupta et al. 2024, eq. 2).

    The mean of both directions, over pairs and sequences; the paper writes the sum.
    """
    x, y = F.normalize(x.float(), dim=-1), F.normalize(y.float(), dim=-1)
    logits = _logits(x, y, temperature, clamp)
    partner = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
    forward = F.cross_entropy(logits.flatten(0, 1), partner.flatten())
    backward = F.cross_entropy(logits.transpose(1, 2).flatten(0, 1), partner.flatten())
    return (forward + backward) / 2


def _logits(anchors: Tensor, others: Tensor, temperature: float, clamp: float | None) -> Tensor:
    with torch.autocast(anchors.device.type, enabled=False):  # a temperature of .1 makes ten errors out of one
        cosines = anchors @ others.transpose(-1, -2)
    return (cosines if clamp is None else cosines.clamp_min(clamp)) / temperature
