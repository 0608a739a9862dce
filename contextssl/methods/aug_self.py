"""AugSelf: SimCLR, and the action must be readable from the two representations (Lee et al., NeurIPS 2021; protocol 7.9).

invariance   NT-Xent between the embeddings of x and y
action       squared error of the action, read from the representations of x and y side by side
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace
from contextssl.batch import Transitions
from contextssl.losses.contrastive import nt_xent
from contextssl.method import Method
from contextssl.models.heads import mlp, projector
from contextssl.models.told_action import ToldAction


class AugSelf(Method):
    """Contrastive learning with a regressor that keeps the representation, not the embedding, aware of actions.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's action space.
        projector_dims: widths of the projector's layers.
        temperature: of the softmax over cosines.
        action_weight: of the action term.
        groups: the groups whose actions are to be read; all when None.
    """

    def __init__(
        self,
        encoder: nn.Module,
        actions: ActionSpace,
        *,
        projector_dims: Sequence[int] = (2048, 2048, 2048),
        temperature: float = 0.1,
        action_weight: float = 1.0,
        groups: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.actions = encoder, actions
        self.temperature, self.action_weight = temperature, action_weight
        features_dim = int(encoder.out_dim)  # type: ignore[arg-type]
        self.projector = projector(features_dim, projector_dims)
        self.told = ToldAction(actions, groups)
        self.regressor = mlp(2 * features_dim, (2 * features_dim, 2 * features_dim), self.told.out_dim)

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """Both terms over all pairs of the batch."""
        x, action, y, _ = batch.pairs()
        features = self.represent(torch.cat([x, y]))
        read = self.regressor(torch.cat(features.chunk(2), dim=1))
        x, y = self.projector(features).chunk(2)
        return {
            "invariance": nt_xent(x, y, self.temperature),
            "action": self.action_weight * F.mse_loss(read.float(), self.told(action)),
        }
