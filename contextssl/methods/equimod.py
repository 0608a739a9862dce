"""EquiMOD: SimCLR, and beside it a module that predicts what an action does (Devillers & Lefort, ICLR 2023; protocol 7.3).

    invariance     NT-Xent between the invariant embeddings of x and y
    equivariance   NT-Xent between the predicted and the actual equivariant embedding of y

On pairs, as SIE's code has it: both items are views, where the original predicts views from the untransformed image.
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
from contextssl.methods.objective import PairObjective, split_embedding
from contextssl.models.heads import projector
from contextssl.models.told_action import ToldAction


@dataclass(frozen=True, kw_only=True)
class EquiMODObjective(PairObjective):
    """NT-Xent on either half of the embedding.

    Attributes:
        temperature: of the invariance term.
        equivariance_temperature: of the other; the original has .5 and .2.
        equivariance_weight: lambda of the paper.
    """

    predicts: ClassVar[bool] = True
    temperature: float = 0.1
    equivariance_temperature: float = 0.1
    equivariance_weight: float = 1.0

    def __call__(self, x: Tensor, y: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """Invariance on the first half, equivariance on the second."""
        x_invariant, _ = split_embedding(x, 0.5)
        y_invariant, y_equivariant = split_embedding(y, 0.5)
        _, predicted_equivariant = split_embedding(predicted, 0.5)
        equivariance = nt_xent(predicted_equivariant, y_equivariant, self.equivariance_temperature)
        return {
            "invariance": nt_xent(x_invariant, y_invariant, self.temperature),
            "equivariance": self.equivariance_weight * equivariance,
        }


class EquiMOD(EquivariantMethod):
    """Two projectors of the whole representation, one of them with a linear predictor.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's action space.
        projector_dims: widths of the layers of each projector.
        objective: temperatures and weight; the defaults when None.
        groups: the groups whose actions the predictor is told; all when None.
    """

    def __init__(
        self,
        encoder: nn.Module,
        actions: ActionSpace,
        *,
        projector_dims: Sequence[int] = (2048, 2048, 2048),
        objective: EquiMODObjective | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.actions, self.objective = encoder, actions, objective or EquiMODObjective()
        features_dim, embedding_dim = int(encoder.out_dim), projector_dims[-1]  # type: ignore[arg-type]
        self.invariance_projector = projector(features_dim, projector_dims)
        self.equivariance_projector = projector(features_dim, projector_dims)
        self.told = ToldAction(actions, groups)
        self.predictor = nn.Linear(embedding_dim + self.told.out_dim, embedding_dim)

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """Both terms over all pairs of the batch."""
        state, action, next_state, _ = batch.pairs()
        features = self.represent(torch.cat([state, next_state]))
        invariant, equivariant = self.invariance_projector(features), self.equivariance_projector(features)
        x, y = torch.cat([invariant, equivariant], dim=1).chunk(2)
        predicted = self._transform(equivariant[: len(state)], action)
        return self.objective(x, y, torch.cat([invariant[: len(state)], predicted], dim=1))

    def predict(self, x: Tensor, action: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """The predicted equivariant embedding [N, E] of items under actions."""
        return self._transform(self.embed_target(x), action)

    def embed_target(self, x: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """The equivariant embedding [N, E]."""
        embedded: Tensor = self.equivariance_projector(self.represent(x))
        return embedded

    def _transform(self, embedding: Tensor, action: Tensor) -> Tensor:
        predicted: Tensor = self.predictor(torch.cat([embedding, self.told(action)], dim=1))
        return predicted
