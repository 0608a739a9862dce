"""SEN as the tables of this literature mean it: equivariance alone, contrastive (protocol 7.4).

    equivariance   NT-Xent between the predicted and the actual embedding of y

The idea is that of symmetric embedding networks (Park et al., ICML 2022); their own loss is in `sen_hinge.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace
from contextssl.batch import Transitions
from contextssl.context import ConditionedEncoder
from contextssl.losses.contrastive import nt_xent
from contextssl.method import EquivariantMethod
from contextssl.methods.objective import PairObjective
from contextssl.models.heads import projector
from contextssl.models.told_action import ToldAction


@dataclass(frozen=True, kw_only=True)
class SENObjective(PairObjective):
    """NT-Xent between predictions and targets; `temperature` divides the cosines."""

    predicts: ClassVar[bool] = True
    temperature: float = 0.1

    def __call__(self, x: Tensor, y: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """The equivariance term."""
        return {"equivariance": nt_xent(predicted, y, self.temperature)}


class SEN(EquivariantMethod):
    """A projector and a linear predictor of what an action does to its embedding.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's action space.
        projector_dims: widths of the projector's layers.
        objective: its temperature; the default when None.
        groups: the groups whose actions the predictor is told; all when None.
    """

    def __init__(
        self,
        encoder: nn.Module,
        actions: ActionSpace,
        *,
        projector_dims: Sequence[int] = (2048, 2048, 2048),
        objective: SENObjective | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.actions, self.objective = encoder, actions, objective or SENObjective()
        self.projector = projector(int(encoder.out_dim), projector_dims)  # type: ignore[arg-type]
        self.told = ToldAction(actions, groups)
        self.predictor = nn.Linear(projector_dims[-1] + self.told.out_dim, projector_dims[-1])

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """The equivariance term over all pairs of the batch."""
        x, action, y, _ = batch.pairs()
        x, y = self.embed_target(torch.cat([x, y])).chunk(2)
        return self.objective(x, y, self._transform(x, action))

    def predict(self, x: Tensor, action: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """The predicted embedding [N, E] of items under actions."""
        return self._transform(self.embed_target(x), action)

    def embed_target(self, x: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """The embedding [N, E]."""
        embedded: Tensor = self.projector(self.represent(x))
        return embedded

    def _transform(self, embedding: Tensor, action: Tensor) -> Tensor:
        predicted: Tensor = self.predictor(torch.cat([embedding, self.told(action)], dim=1))
        return predicted
