"""The "+" forms: the context transformer in the place of a pairwise method's projector and predictor (protocol 7.6).

Tokens are those of ContextSSL, X_i = (enc(x_i), told action) and Y_i = (enc(y_i), 0). The objective of any pairwise
method gets the outputs: the embeddings of x and y from tokens without an action, the prediction of y from X_i.
SimCLR+, VICReg+, EquiMOD+, SEN+ and SIE+ are this class with those methods' objectives. B, T, S, D, E as in `batch.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Environment, hide
from contextssl.batch import Transitions
from contextssl.context import ConditionedEncoder, interleave
from contextssl.method import ContextualMethod
from contextssl.methods.objective import PairObjective
from contextssl.models.masks import pair_mask, random_pair_mask, with_plain_items
from contextssl.models.told_action import ToldAction
from contextssl.models.transformer import ContextTransformer


class Plus(ContextualMethod):
    """A pairwise objective on the outputs of the context transformer.

    An objective that predicts nothing is told no actions: `reads_actions` is False then.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's action space.
        objective: of the pairwise method.
        transformer: builds the context transformer from (token width, output width).
        groups: the groups whose actions are told, in training and at most at inference; all when None.
        embedding_dim: output width E; the encoder's when None.
        alone: every pair is its own sequence, and contexts are not read (c = 0).
        mask_probability: with which every token loses each earlier pair of its sequence in training, anew in every
            layer. The paper does not give it; .9 is that of ContextSSL.
        standardise: normalise features with a BatchNorm without affine parameters, and scale told actions to their
            energy. Without it small encoders collapse (docs/notebook.md).
    """

    def __init__(
        self, encoder: nn.Module, actions: ActionSpace, *, objective: PairObjective,
        transformer: Callable[[int, int], ContextTransformer], groups: Sequence[str] | None = None,
        embedding_dim: int | None = None, alone: bool = False, mask_probability: float = 0.9, standardise: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        features_dim = int(encoder.out_dim)  # type: ignore[arg-type]
        self.encoder, self.actions, self.objective = encoder, actions, objective
        self.alone, self.mask_probability = alone, mask_probability
        self.reads_actions, self.reads_context = objective.predicts, not alone
        self.told = ToldAction(actions, groups)
        self.told_dim = self.told.out_dim if self.reads_actions else 0
        self.action_gain = (features_dim / self.told.out_dim) ** 0.5 if standardise else 1.0
        self.normalise = nn.BatchNorm1d(features_dim, affine=False) if standardise else nn.Identity()
        self.transformer = transformer(features_dim + self.told_dim, embedding_dim or features_dim)

    def represent(self, x: Tensor) -> Tensor:
        """[N, *input] -> [N, D]: context-free features."""
        features: Tensor = self.normalise(self.encoder(x))
        return features

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """The objective's terms over all pairs, each seen after a random part of its sequence's past."""
        self.actions.check(batch.action, batch.latent)
        features = _one_by_one(self.encode(batch)) if self.alone else self.encode(batch)
        tokens = interleave(self.tokens(features.state, features.action), self.tokens(features.next_state))
        if self.reads_actions:
            tokens = torch.cat([tokens, self.tokens(features.state)], dim=1)
        outputs = self.transformer(tokens, self._training_masks(features.length, tokens.device, generator))
        pairs = outputs[:, : 2 * features.length]
        predicted, y = pairs[:, 0::2], pairs[:, 1::2]
        x = outputs[:, 2 * features.length :] if self.reads_actions else predicted
        return self.objective(x.flatten(0, 1), y.flatten(0, 1), predicted.flatten(0, 1))

    def tokens(self, features: Tensor, action: Tensor | None = None) -> Tensor:
        """[B, S, D] -> tokens [B, S, in_dim]: items with what is told of their actions [B, S, A], or with zeros."""
        if not self.reads_actions:
            return features
        told = features.new_zeros(*features.shape[:-1], self.told_dim) if action is None else self.action_gain * self.told(action)
        return torch.cat([features, told], dim=-1)

    def condition_features(self, context: Transitions, environment: Environment) -> ConditionedEncoder:
        """Run one encoded context [1, T, D] once, told the environment's groups as far as the method knows them."""
        mask = self.actions.action_mask(environment).to(context.action.device)
        seen = context.first(0) if self.alone else context

        def token(features: Tensor, action: Tensor | None) -> Tensor:
            return self.tokens(features, None if action is None else hide(action, mask))

        tokens = interleave(token(seen.state, seen.action), token(seen.next_state, None))
        cache, _ = self.transformer.prefix(tokens, pair_mask(tokens.shape[1], tokens.device))
        return ConditionedEncoder(environment, 2 * context.length, self.represent, token, self.transformer, cache)

    def _training_masks(self, num_pairs: int, device: torch.device, generator: torch.Generator) -> list[Tensor]:
        """One mask [S, S] a layer, shared by all sequences."""
        allowed, probability = pair_mask(2 * num_pairs, device), torch.tensor([self.mask_probability])
        masks = []
        for _ in self.transformer.blocks:
            mask = random_pair_mask(allowed, probability, generator)[0]
            if self.reads_actions:
                mask = with_plain_items(mask, random_pair_mask(allowed, probability, generator)[0])
            masks.append(mask)
        return masks


def _one_by_one(batch: Transitions) -> Transitions:
    """Every transition of [B, T, ...] as a sequence of its own, [B T, 1, ...]."""
    return Transitions(*(part.unsqueeze(1) for part in batch.pairs()))
