"""SimCLR: the two items of a pair embed alike, whatever the action (Chen et al., ICML 2020; protocol 7.1).

invariance   NT-Xent between the embeddings of x and y (eq. 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace
from contextssl.batch import Transitions
from contextssl.losses.contrastive import nt_xent
from contextssl.method import Method
from contextssl.methods.objective import PairObjective
from contextssl.models.heads import projector


@dataclass(frozen=True, kw_only=True)
class SimCLRObjective(PairObjective):
    """NT-Xent; `temperature` divides the cosines."""

    predicts: ClassVar[bool] = False
    temperature: float = 0.1

    def __call__(self, x: Tensor, y: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """The invariance term."""
        return {"invariance": nt_xent(x, y, self.temperature)}


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
        projector_dims: Sequence[int] = (2048, 2048, 2048),
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder, self.actions, self.objective = encoder, actions, SimCLRObjective(temperature=temperature)
        self.projector = projector(int(encoder.out_dim), projector_dims)  # type: ignore[arg-type]

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """The invariance term over all pairs of the batch."""
        x, _, y, _ = batch.pairs()
        x, y = self.projector(self.represent(torch.cat([x, y]))).chunk(2)
        return self.objective(x, y, x)
