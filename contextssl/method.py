"""What every method offers: named, weighted loss terms and a representation; what contextual ones add."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Environment
from contextssl.batch import Transitions
from contextssl.context import ConditionedEncoder


class Method(nn.Module, ABC):
    """A self-supervised method over an encoder that is passed in. Subclasses are final: compose, do not extend."""

    encoder: nn.Module
    actions: ActionSpace

    @abstractmethod
    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """Weighted scalar terms by name; their sum is the loss, so what is logged is what is minimised."""

    def represent(self, x: Tensor) -> Tensor:
        """[N, *input] -> [N, D]: the context-free features that probes read."""
        features: Tensor = self.encoder(x)
        return features

    def after_step(self) -> None:  # noqa: B027 - the one optional hook
        """Called after every optimizer step, for moving averages; nothing by default."""


class EquivariantMethod(Method):
    """A method that also predicts: from an item and an action to the transformed item's embedding."""

    @abstractmethod
    def predict(self, x: Tensor, action: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """[N, *input], [N, A] -> [N, E]: the predicted embedding of the transformed item."""

    @abstractmethod
    def embed_target(self, x: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """[N, *input] -> [N, E]: what `predict` is compared with, under the same context."""


class ContextualMethod(EquivariantMethod):
    """A method whose embeddings depend on a context of transitions, with no weight changed.

    Attributes:
        reads_actions: whether it can be told actions; otherwise all environments are alike to it.
        reads_context: whether it reads contexts at all; otherwise it embeds as after no context, always.
    """

    reads_actions: bool = True
    reads_context: bool = True

    def encode(self, transitions: Transitions) -> Transitions:
        """The same transitions with context-free features [B, T, D] in the place of items; each item is encoded once."""
        state, _, next_state, _ = transitions.pairs()
        features = self.represent(torch.cat([state, next_state])).unflatten(0, (2, *transitions.action.shape[:2]))
        return transitions.with_items(features[0], features[1])

    def condition(self, context: Transitions, environment: Environment) -> ConditionedEncoder:
        """Run one context of items [1, T, *input] once; the returned encoder shares it among all queries."""
        return self.condition_features(self.encode(context), environment)

    @abstractmethod
    def condition_features(self, context: Transitions, environment: Environment) -> ConditionedEncoder:
        """`condition` for a context already encoded by `encode`.

        Args:
            context: one sequence [1, T, D] of features; T may be 0.
            environment: the groups the model is told.
        """

    def predict(self, x: Tensor, action: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """Embeddings [N, E] of what items become under actions [N, A], after the context (all told, none by default)."""
        return (context or self._no_context(action)).embed(x, action)

    def embed_target(self, x: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """Embeddings [N, E] of items as they are, after the same context."""
        return (context or self._no_context(x.new_zeros(len(x), self.actions.action_dim))).embed(x)

    def _no_context(self, action: Tensor) -> ConditionedEncoder:
        nothing = action.new_zeros(1, 0, int(self.encoder.out_dim))  # type: ignore[arg-type]
        empty = Transitions(nothing, action[None, :0], nothing, action.new_zeros(1, 0, 2, self.actions.latent_dim))
        return self.condition_features(empty, self.actions.environment("all"))
