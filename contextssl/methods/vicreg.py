"""VICReg: pairs embed alike, kept from collapse by variances and covariances (Bardes et al., ICLR 2022; protocol 7.2).

invariance   mean squared distance between the embeddings of x and y (eq. 5)
variance     standard deviations below 1, of x and of y (eq. 1)
covariance   squared covariances between dimensions, of x and of y (eq. 4)
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
from contextssl.losses.variance_covariance import covariance_penalty, variance_hinge
from contextssl.method import Method
from contextssl.methods.objective import PairObjective
from contextssl.models.heads import projector


@dataclass(frozen=True, kw_only=True)
class VICRegObjective(PairObjective):
    """The three weighted terms.

    Attributes:
        invariance_weight, variance_weight, covariance_weight: 10, 10 and 1 on pairs of 3DIEBench (SIE's code);
            25, 25 and 1 on ImageNet (VICReg's).
    """

    predicts: ClassVar[bool] = False
    invariance_weight: float = 10.0
    variance_weight: float = 10.0
    covariance_weight: float = 1.0

    def __call__(self, x: Tensor, y: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """Invariance, variance and covariance."""
        return {
            "invariance": self.invariance_weight * F.mse_loss(x.float(), y.float()),
            "variance": self.variance_weight * (variance_hinge(x) + variance_hinge(y)) / 2,
            "covariance": self.covariance_weight * (covariance_penalty(x) + covariance_penalty(y)),
        }


class VICReg(Method):
    """Regularised learning without actions and without negatives.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's action space, which is not used.
        projector_dims: widths of the projector's layers, called expander there; 8192 three times on ImageNet.
        objective: the weights of the terms; those for pairs when None.
    """

    def __init__(
        self,
        encoder: nn.Module,
        actions: ActionSpace,
        *,
        projector_dims: Sequence[int] = (2048, 2048, 2048),
        objective: VICRegObjective | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.actions = encoder, actions
        self.objective = objective or VICRegObjective()
        self.projector = projector(int(encoder.out_dim), projector_dims)  # type: ignore[arg-type]

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """The three terms over all pairs of the batch."""
        x, _, y, _ = batch.pairs()
        embedded = self.projector(self.represent(torch.cat([x, y])))
        return self.objective(embedded[: len(x)], embedded[len(x) :], embedded[: len(x)])
