"""BYOL: predict what a slowly moving copy of the network makes of the other view (Grill et al., NeurIPS 2020).

    prediction   |normalised prediction - normalised target|^2 = 2 - 2 cos, from x to y and from y to x (eq. 2, both ways)

There are no negatives. The target network is a moving average of the online encoder and projector and gets no gradient
(eq. 1); only the online side has a predictor. Both views go through a network as one batch and share its statistics.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace
from contextssl.batch import Transitions
from contextssl.method import Method
from contextssl.models.heads import projector
from contextssl.models.moving_average import MovingAverage


class BYOL(Method):
    """Bootstrapped targets without actions and without negatives.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's action space, which is not used.
        num_steps: optimizer steps, over which the target's momentum rises to 1.
        projector_dims: widths of the projector's layers; the predictor has the same ones.
        momentum: of the target at the first step; .996 for the paper's 1000 epochs of ImageNet.

    Raises:
        ValueError: for no widths, a momentum outside 0..1, or no steps.
    """

    def __init__(
        self,
        encoder: nn.Module,
        actions: ActionSpace,
        *,
        num_steps: int,
        projector_dims: Sequence[int] = (4096, 256),
        momentum: float = 0.996,
    ) -> None:
        super().__init__()
        self.encoder, self.actions = encoder, actions
        self.projector = projector(int(encoder.out_dim), projector_dims)  # type: ignore[arg-type]
        self.predictor = projector(projector_dims[-1], projector_dims)
        self.target = MovingAverage(self._online(), momentum=momentum, num_updates=num_steps)

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """The prediction term over all pairs of the batch, both ways."""
        x, _, y, _ = batch.pairs()
        predicted = self.predictor(self.projector(self.represent(torch.cat([x, y]))))
        target = self.target(torch.cat([y, x]))
        to_y, to_x = squared_distance(predicted, target).chunk(2)
        return {"prediction": (to_y + to_x).mean()}

    def after_step(self) -> None:
        """The target follows the online encoder and projector."""
        self.target.follow(self._online())

    def _online(self) -> nn.Sequential:
        """What the target is an average of; no attribute, so that nothing is in the state dict twice."""
        return nn.Sequential(self.encoder, self.projector)


def squared_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Between the unit vectors along the rows of [N, E] and [N, E]: [N], from 0 to 4 (eq. 2)."""
    return 2 - 2 * F.cosine_similarity(predicted.float(), target.float(), dim=1)
