"""SimCLR: the two items of a pair embed alike, whatever the action (Chen et al., ICML 2020).

invariance   NT-Xent between projections of x and y (eq. 1)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace
from contextssl.batch import Transitions
from contextssl.losses.contrastive import all_negatives
from contextssl.method import Method
from contextssl.models.heads import mlp


class SimCLR(Method):
    """Contrastive learning without actions.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's action space, which is not used.
        projector_dims: widths of the projector's layers, the last one of the embedding.
        temperature: of the softmax over cosines.
    """

    def __init__(
        self,
        encoder: nn.Module,
        actions: ActionSpace,
        *,
        projector_dims: tuple[int, ...] = (2048, 2048, 2048),
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder, self.actions, self.temperature = encoder, actions, temperature
        self.projector = mlp(int(encoder.out_dim), projector_dims[:-1], projector_dims[-1])  # type: ignore[arg-type]

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """The invariance term over all pairs of the batch."""
        x, _, y, _ = batch.pairs()
        projected = self.projector(self.represent(torch.cat([x, y]))).unflatten(0, (2, -1))
        return {"invariance": all_negatives(projected[:1], projected[1:], temperature=self.temperature, clamp=None)}
