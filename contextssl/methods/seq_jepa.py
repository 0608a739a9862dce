"""seq-JEPA: predict the next view of an item from a sequence of views and the actions between them (Ghaemi et al. 2025).

The method is as in protocol 7.7. Observations x_1..x_M of one item and the actions between them become tokens
(enc(x_j), act(a_j)), a_j from x_j to x_{j+1}; the last token has zeros in the place of its action, which leads to the target
y. A transformer aggregates the tokens, and a predictor is asked for y from the aggregate and that action:

    prediction   1 - cos(predictor(aggregate, act(a_M)), target encoder(y))

The encoder's output must keep what the actions move: it is the equivariant representation. The aggregate is free to
forget it: it is the invariant one. The target encoder is a moving average of the encoder and gets no gradient.

"As intended" and "as released" differ in optimizer and schedule only: configs/train/seq_jepa.yaml and
seq_jepa_as_released.yaml.

B sequences, T transitions, N rows, M observations, A action width, D feature width, W aggregate width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace
from contextssl.batch import Transitions
from contextssl.context import ConditionedEncoder
from contextssl.method import EquivariantMethod
from contextssl.models.action_embedding import ActionEmbedding
from contextssl.models.aggregator import Aggregator
from contextssl.models.moving_average import MovingAverage


class SeqJEPA(EquivariantMethod):
    """Prediction over trajectories; T transitions are M = T observations and the target.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's action space. Actions are divided by its scale, a constant, where the released code divides
            CIFAR's parameters by their norm over the views of a sequence.
        num_steps: optimizer steps, over which the target's momentum rises to 1; the released code moves it every epoch.
        aggregator: builds the transformer from the width of a token, D + action_embedding_dim.
        groups: names of the groups whose actions are read, all when None; without any (`[]`) tokens are features alone.
        action_embedding_dim: width of an embedded action.
        predictor_dim: hidden width of the predictor.
        momentum: of the target encoder at the first step.
    """

    def __init__(
        self,
        encoder: nn.Module,
        actions: ActionSpace,
        *,
        num_steps: int,
        aggregator: Callable[[int], Aggregator] = Aggregator,
        groups: Sequence[str] | None = None,
        action_embedding_dim: int = 128,
        predictor_dim: int = 1024,
        momentum: float = 0.996,
    ) -> None:
        super().__init__()
        features_dim = int(encoder.out_dim)  # type: ignore[arg-type]
        self.encoder, self.actions = encoder, actions
        self.target = MovingAverage(encoder, momentum=momentum, num_updates=num_steps)
        self._checked = False
        self.embed_action = ActionEmbedding(actions, groups, action_embedding_dim)
        self.aggregator = aggregator(features_dim + self.embed_action.out_dim)
        self.predictor = nn.Sequential(
            nn.Linear(self.aggregator.out_dim + self.embed_action.out_dim, predictor_dim, bias=False),
            nn.BatchNorm1d(predictor_dim),
            nn.ReLU(),
            nn.Linear(predictor_dim, features_dim),
        )

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """The prediction term; ValueError for sequences that are no trajectories."""
        if not self._checked:  # once: asking the device for an answer in every step would make it idle
            _check_trajectories(batch)
            self._checked = True
        observed = self.represent(batch.state.flatten(0, 1)).unflatten(0, batch.action.shape[:2])
        action = self.embed_action(batch.action)
        predicted = self._predicted(self.aggregator(_tokens(observed, action[:, :-1]), generator), action[:, -1])
        return {"prediction": 1 - F.cosine_similarity(predicted, self.target(batch.next_state[:, -1]), dim=-1).mean()}

    def after_step(self) -> None:
        """The target encoder follows the encoder."""
        self.target.follow(self.encoder)

    def aggregate(self, x: Tensor, action: Tensor) -> Tensor:
        """[N, M, *input] and the actions between them [N, M - 1, A] -> [N, W]: the invariant representation."""
        return self.aggregate_features(self.represent(x.flatten(0, 1)).unflatten(0, x.shape[:2]), action)

    def aggregate_features(self, features: Tensor, action: Tensor) -> Tensor:
        """`aggregate` of observations already encoded by `represent`, [N, M, D]."""
        aggregated: Tensor = self.aggregator(_tokens(features, self.embed_action(action)))
        return aggregated

    def predict(self, x: Tensor, action: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """[N, *input], [N, A] -> [N, D]: the target's features, from a single observation (M = 1). Reads no context."""
        return self._predicted(self.aggregate(x.unsqueeze(1), action.unsqueeze(1)[:, :0]), self.embed_action(action))

    def embed_target(self, x: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        """[N, *input] -> [N, D]: features of the target encoder."""
        features: Tensor = self.target(x)
        return features

    def _predicted(self, aggregate: Tensor, action: Tensor) -> Tensor:
        predicted: Tensor = self.predictor(torch.cat([aggregate, action], dim=-1))
        return predicted


def _tokens(features: Tensor, action: Tensor) -> Tensor:
    """Features [N, M, D] beside the embedded actions that lead on from all but the last one [N, M - 1, ...]."""
    return torch.cat([features, F.pad(action, (0, 0, 0, 1))], dim=-1)


def _check_trajectories(batch: Transitions) -> None:
    if not torch.equal(batch.latent[:, 1:, 0], batch.latent[:, :-1, 1]):
        raise ValueError(
            "seq-JEPA watches one item through several views, but these sequences show a new item in every transition; "
            "set domain.trajectories=true, or train.num_transitions=1 for a single observation"
        )
