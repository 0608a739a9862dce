"""SIE: an invariant and an equivariant half, and a predictor whose weights the action writes (Garrido et al., ICML 2023).

    invariance            mean squared distance between the invariant parts of x and y
    equivariance          the same between the predicted and the actual equivariant part of y
    variance              standard deviations below 1, of x and of y, both parts
    prediction variance   the same of the prediction: without it, predicting a constant would do
    covariance            squared covariances between dimensions, of x and of y, within and between parts

(Protocol 7.5.) Each part of the representation has a projector of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace
from contextssl.batch import Transitions
from contextssl.context import ConditionedEncoder
from contextssl.losses.variance_covariance import covariance_penalty, variance_hinge
from contextssl.method import EquivariantMethod
from contextssl.methods.objective import PairObjective, invariant_width, split_embedding
from contextssl.models.heads import projector
from contextssl.models.hypernetwork import LinearHypernetwork
from contextssl.models.told_action import ToldAction


@dataclass(frozen=True, kw_only=True)
class SIEObjective(PairObjective):
    """The five weighted terms.

    Attributes:
        invariance_weight, variance_weight, covariance_weight: as in VICReg.
        equivariance_factor: weight of the equivariance term, in units of `invariance_weight`. The authors' command
            has .45, the default of their code 4.5.
        invariant_share: share of the columns that are invariant.
    """

    predicts: ClassVar[bool] = True
    invariance_weight: float = 10.0
    variance_weight: float = 10.0
    covariance_weight: float = 1.0
    equivariance_factor: float = 0.45
    invariant_share: float = 0.5

    def __call__(self, x: Tensor, y: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """The five terms, in the order of the module's equations."""
        x_invariant, _ = split_embedding(x.float(), self.invariant_share)
        y_invariant, y_equivariant = split_embedding(y.float(), self.invariant_share)
        _, prediction = split_embedding(predicted.float(), self.invariant_share)
        equivariance = F.mse_loss(prediction, y_equivariant)
        return {
            "invariance": self.invariance_weight * F.mse_loss(x_invariant, y_invariant),
            "equivariance": self.equivariance_factor * self.invariance_weight * equivariance,
            "variance": self.variance_weight * (variance_hinge(x) + variance_hinge(y)) / 2,
            "prediction variance": self.variance_weight * variance_hinge(prediction) / 2,
            "covariance": self.covariance_weight * (covariance_penalty(x) + covariance_penalty(y)),
        }


class SIE(EquivariantMethod):
    """Split invariant-equivariant representations.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim], whose first columns become invariant.
        actions: the domain's action space.
        projector_dims: widths of the layers of both projectors together, divided by the invariant share.
        objective: weights and invariant share; the defaults when None.
        groups: the groups whose actions the predictor is told; all when None.
    """

    def __init__(
        self,
        encoder: nn.Module,
        actions: ActionSpace,
        *,
        projector_dims: Sequence[int] = (2048, 2048, 2048),
        objective: SIEObjective | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.actions, self.objective = encoder, actions, objective or SIEObjective()
        widths = [int(encoder.out_dim), *projector_dims]  # type: ignore[arg-type]
        invariant = [invariant_width(width, self.objective.invariant_share) for width in widths]
        equivariant = [width - part for width, part in zip(widths, invariant, strict=True)]
        self.invariant_projector = projector(invariant[0], invariant[1:])
        self.equivariant_projector = projector(equivariant[0], equivariant[1:])
        self.told = ToldAction(actions, groups)
        self.predictor = LinearHypernetwork(self.told.out_dim, equivariant[-1])

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The invariant and the equivariant columns of the representation of items [N, *input]."""
        return split_embedding(self.represent(x), self.objective.invariant_share)

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """The five terms over all pairs of the batch."""
        state, action, next_state, _ = batch.pairs()
        invariant, equivariant = self.parts(torch.cat([state, next_state]))
        invariant, equivariant = self.invariant_projector(invariant), self.equivariant_projector(equivariant)
        x, y = torch.cat([invariant, equivariant], dim=1).chunk(2)
        predicted = self.predictor(equivariant[: len(state)], self.told(action))
        return self.objective(x, y, torch.cat([invariant[: len(state)], predicted], dim=1))

    def predict(self, x: Tensor, action: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """The predicted equivariant part [N, E] of the embedding of items under actions."""
        predicted: Tensor = self.predictor(self.embed_target(x), self.told(action))
        return predicted

    def embed_target(self, x: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """The equivariant part [N, E] of the embedding."""
        embedded: Tensor = self.equivariant_projector(self.parts(x)[1])
        return embedded
