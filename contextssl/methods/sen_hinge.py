"""Symmetric embedding networks with their own loss: a transition that adds up (Park et al., ICML 2022; protocol 7.4).

    transition   energy of the predicted embedding of y against the actual one
    negatives    hinge on the energy of another item's embedding against that of y

with energy(z, z') = |z - z'|^2 / (2 sigma^2). The loss is the one of contrastive world models (Kipf et al., ICLR 2020).
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
from contextssl.distributed import gather
from contextssl.method import EquivariantMethod
from contextssl.methods.objective import PairObjective
from contextssl.models.heads import mlp, projector
from contextssl.models.told_action import ToldAction


@dataclass(frozen=True, kw_only=True)
class HingeObjective(PairObjective):
    """Energies of predictions, and of negatives as far as they are below the margin.

    Attributes:
        margin: energy from which on a negative is far enough.
        sigma: length unit of embeddings.
    """

    predicts: ClassVar[bool] = True
    margin: float = 1.0
    sigma: float = 0.5

    def __call__(self, x: Tensor, y: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """Both terms.

        The negative of a row is the x half a batch away. Rows come in random order, sequence by sequence, so this is
        a random item of another sequence and needs no draw.
        """
        rows = gather(x)
        negative = rows.roll(len(rows) // 2, 0)
        return {
            "transition": self.energy(predicted, y).mean(),
            "negatives": (self.margin - self.energy(negative, gather(y))).relu().mean(),
        }

    def energy(self, embedding: Tensor, other: Tensor) -> Tensor:
        """[N, E] and [N, E] -> [N]."""
        return (embedding.float() - other.float()).square().sum(dim=1) / (2 * self.sigma**2)


class SENHinge(EquivariantMethod):
    """A projector and a transition network that predicts how an action moves its embedding.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's action space.
        projector_dims: widths of the projector's layers.
        transition_dims: hidden widths of the transition network.
        objective: margin and sigma; the defaults when None.
        groups: the groups whose actions the transition is told; all when None.
    """

    def __init__(
        self,
        encoder: nn.Module,
        actions: ActionSpace,
        *,
        projector_dims: Sequence[int] = (2048, 2048, 2048),
        transition_dims: Sequence[int] = (512, 512),
        objective: HingeObjective | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.actions = encoder, actions
        self.objective = objective or HingeObjective()
        self.told = ToldAction(actions, groups)
        self.projector = projector(int(encoder.out_dim), projector_dims)  # type: ignore[arg-type]
        self.transition = mlp(projector_dims[-1] + self.told.out_dim, transition_dims, projector_dims[-1])

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """Both terms over all pairs of the batch."""
        state, action, next_state, _ = batch.pairs()
        x, y = self.embed_target(torch.cat([state, next_state])).chunk(2)
        return self.objective(x, y, self._moved(x, action))

    def predict(self, x: Tensor, action: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """The predicted embedding [N, E]: where the action moves that of x."""
        return self._moved(self.embed_target(x), action)

    def embed_target(self, x: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """The embedding [N, E], in units of which energies are measured."""
        embedded: Tensor = self.projector(self.represent(x))
        return embedded

    def _moved(self, embedding: Tensor, action: Tensor) -> Tensor:
        step: Tensor = self.transition(torch.cat([embedding, self.told(action)], dim=1))
        return embedding + step
