"""A linear layer whose weights are a linear function of the action."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearHypernetwork(nn.Module):
    """y = W(a) z with W(a) = sum_j a_j W_j and no bias: [N, E] and [N, A] -> [N, E] (SIE; protocol 7.5).

    It is linear in the action too, so an action of zeros predicts zero.
    """

    def __init__(self, action_dim: int, width: int) -> None:
        super().__init__()
        # With coordinates of size one, predictions start at the size of embeddings. torch's initialisation of a layer
        # from A to E^2 numbers, which SIE has, would make them about sqrt(E / 3) times as large.
        self.weight = nn.Parameter(torch.randn(action_dim, width, width) * (action_dim * width) ** -0.5)

    def forward(self, embedding: Tensor, action: Tensor) -> Tensor:
        """The transformed embeddings."""
        # All W_j z first: E * A numbers a row, where W(a) would take E * E.
        mapped = torch.einsum("ni,aio->nao", embedding, self.weight)
        return (action.unsqueeze(-1) * mapped).sum(1)
