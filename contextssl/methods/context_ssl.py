"""ContextSSL: symmetries read from context (Gupta et al., In-Context Symmetries, NeurIPS 2024).

A sequence of pairs (x, a, y) becomes tokens X_i = (enc(x_i), told part of a_i) and Y_i = (enc(y_i), 0). A causal
transformer embeds every token from its past pairs and itself. Told a group's actions, the embedding of X_i can and
must follow y_i in that group; told nothing about a group, it can only match y_i by dropping the group. So the
context decides which symmetry an embedding has.

    contrastive   InfoNCE between X_i and Y_i (eq. 2)
    auxiliary     the told groups' parameters of y_i are readable from both embeddings (eq. 3)

`reference`, `paper` and `default` are configurations of this one class. B, T, N, A, L, D, S as in `batch.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace, Environment, hide
from contextssl.batch import Transitions
from contextssl.context import ConditionedEncoder, interleave
from contextssl.distributed import num_processes, own
from contextssl.losses.auxiliary import told_group_error
from contextssl.losses.contrastive import ContrastiveLoss
from contextssl.method import ContextualMethod
from contextssl.methods.environments import EnvironmentSampler
from contextssl.methods.rehearsal import Rehearsal
from contextssl.models.evidence import PairEvidence
from contextssl.models.heads import mlp
from contextssl.models.masks import pair_mask, random_pair_mask
from contextssl.models.transformer import ContextTransformer, Prefix


class ContextSSL(ContextualMethod):
    """The contextual method.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's action space.
        transformer: builds the context transformer from (token width, output width).
        contrastive: loss between X and Y embeddings [B, T, E].
        environments: draws what each sequence is told.
        embedding_dim: output width E; the encoder's when None.
        mask_probabilities: a sequence's random-mask probability is drawn from these.
        mask_per_layer: a fresh random mask in every layer.
        mask_per_sequence: a random mask of its own for every sequence.
        contrastive_weight, auxiliary_weight: weights of the two losses.
        auxiliary_dims: hidden widths of the auxiliary predictor.
        standardise: normalise features with a BatchNorm without affine parameters, and actions and auxiliary targets
            by their training statistics, so that told actions and features enter with equal energy. Without it
            small encoders collapse (docs/notebook.md).
        tell_presence: one more number per group in the tokens of X: 1 told, -1 withheld. Without it a context that is
            told nothing looks like more of the query itself, and little different from no context.
        read_evidence: in a context, let Y_i's token also carry products of its pair's features and its action
            (`PairEvidence`). Never in training pairs, whose X and Y must not see each other.
        rehearsal: builds the part of a step that is laid out exactly as inference; None to leave it out.
    """

    action_gain: Tensor
    latent_mean: Tensor
    latent_scale: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        actions: ActionSpace,
        *,
        transformer: Callable[[int, int], ContextTransformer],
        contrastive: ContrastiveLoss,
        environments: EnvironmentSampler,
        embedding_dim: int | None = None,
        mask_probabilities: tuple[float, ...] = (0.9,),
        mask_per_layer: bool = True,
        mask_per_sequence: bool = False,
        contrastive_weight: float = 1.0,
        auxiliary_weight: float = 5.0,
        auxiliary_dims: tuple[int, ...] = (1024, 1024),
        standardise: bool = False,
        tell_presence: bool = False,
        read_evidence: bool = False,
        rehearsal: Callable[[ActionSpace, int, ContextTransformer], Rehearsal] | None = None,
    ) -> None:
        super().__init__()
        features_dim = int(encoder.out_dim)  # type: ignore[arg-type]
        self.encoder, self.actions, self.environments, self.contrastive = encoder, actions, environments, contrastive
        self.mask_probabilities, self.mask_per_layer, self.mask_per_sequence = (
            mask_probabilities,
            mask_per_layer,
            mask_per_sequence,
        )
        self.contrastive_weight, self.auxiliary_weight = contrastive_weight, auxiliary_weight
        embedding_dim = embedding_dim or features_dim
        self.tell_presence = tell_presence
        self.transformer = transformer(features_dim + actions.action_dim + tell_presence * len(actions.groups), embedding_dim)
        self.auxiliary = mlp(embedding_dim, auxiliary_dims, actions.latent_dim)
        self.normalise = nn.BatchNorm1d(features_dim, affine=False) if standardise else nn.Identity()
        gain = (features_dim / actions.action_dim) ** 0.5 / actions.action_scale
        self.register_buffer("action_gain", gain if standardise else torch.ones(actions.action_dim))
        self.register_buffer("latent_mean", actions.latent_mean if standardise else torch.zeros(actions.latent_dim))
        self.register_buffer("latent_scale", actions.latent_scale if standardise else torch.ones(actions.latent_dim))
        width = self.transformer.read_in.out_features
        self.evidence = PairEvidence(2 * features_dim, actions.action_dim, width) if read_evidence else None
        self.rehearsal = rehearsal(actions, features_dim, self.transformer) if rehearsal else None

    def represent(self, x: Tensor) -> Tensor:
        """[N, *input] -> [N, D]: context-free features."""
        features: Tensor = self.normalise(self.encoder(x))
        return features

    @property
    def feature_variance(self) -> Tensor:
        """[D]: the variance that the encoder gave each feature before normalisation; ones without it."""
        variance = self.normalise.running_var if isinstance(self.normalise, nn.BatchNorm1d) else None
        return self.transformer.read_in.weight.new_ones(int(self.encoder.out_dim)) if variance is None else variance  # type: ignore[arg-type]

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """Contrastive and auxiliary terms of all pairs, each seen after a random part of its sequence's past."""
        self.actions.check(batch.action, batch.latent)
        features = self.encode(batch)
        told = self.environments.draw(batch, self.actions, generator)
        tokens = interleave(self.tokens(features.state, told.action, told.presence), self.tokens(features.next_state))
        outputs = self.transformer(tokens, self._training_masks(tokens, generator))
        terms = {
            "contrastive": self.contrastive_weight * self.contrastive(outputs[:, 0::2], outputs[:, 1::2]),
            "auxiliary": self.auxiliary_weight
            * self.auxiliary_error(outputs, batch.latent[:, :, 1].repeat_interleave(2, 1), told.groups),
        }
        return terms | (self.rehearsal(self, features, told, generator) if self.rehearsal else {})

    def tokens(self, features: Tensor, told_action: Tensor | None = None, presence: Tensor | None = None) -> Tensor:
        """[B, S, D] -> [B, S, D + A (+ G)]: items with what is told of their actions [B, S, A], or with zeros.

        `presence` [B, G] joins the tokens of items whose actions are told or withheld, if the method tells presence.
        """
        parts = [features, features.new_zeros(self.actions.action_dim) if told_action is None else told_action * self.action_gain]
        if self.tell_presence:
            gain = (features.shape[-1] / len(self.actions.groups)) ** 0.5
            parts.append(features.new_zeros(len(self.actions.groups)) if presence is None else gain * presence.unsqueeze(-2))
        return torch.cat([part.expand(*features.shape[:-1], -1) for part in parts], dim=-1)

    def context(self, features: Transitions, told_action: Tensor, presence: Tensor) -> tuple[Prefix, Tensor]:
        """Prefix cache and last hidden states of contexts of features [B, T, D] with their told actions [B, T, A]."""
        tokens = interleave(self.tokens(features.state, told_action, presence), self.tokens(features.next_state))
        mask = pair_mask(tokens.shape[1], tokens.device)
        if self.evidence is None:
            return self.transformer.prefix(tokens, mask)
        evidence = self.evidence(torch.cat([features.state, features.next_state], dim=-1), told_action * self.action_gain)
        return self.transformer.prefix(tokens, mask, interleave(torch.zeros_like(evidence), evidence))

    def auxiliary_error(self, outputs: Tensor, latent: Tensor, told: Tensor) -> Tensor:
        """Error of the told groups' parameters [B, S, L] read from outputs [B, S, E]; told [B, G]."""
        target = (latent - self.latent_mean) / self.latent_scale
        widths = [group.latent_dim for group in self.actions.groups]
        columns = torch.cat([told[:, [index]].expand(-1, width) for index, width in enumerate(widths)], dim=1)
        return told_group_error(self.auxiliary(F.normalize(outputs, dim=-1)), target, columns, widths)

    def condition_features(self, context: Transitions, environment: Environment) -> ConditionedEncoder:
        """Run one encoded context [1, T, D] once, told the environment's groups."""
        mask = self.actions.action_mask(environment).to(context.action.device)
        presence = mask.new_tensor([[1.0 if name in environment.groups else -1.0 for name in self.actions.names]])

        def token(features: Tensor, action: Tensor | None) -> Tensor:
            return self.tokens(features) if action is None else self.tokens(features, hide(action, mask), presence)

        cache, _ = self.context(context, hide(context.action, mask), presence)
        return ConditionedEncoder(environment, 2 * context.length, self.represent, token, self.transformer, cache)

    def _training_masks(self, tokens: Tensor, generator: torch.Generator) -> list[Tensor]:
        """One mask [S, S] or [B, S, S] a layer."""
        allowed = pair_mask(tokens.shape[1], tokens.device)
        choices = torch.tensor(self.mask_probabilities)
        num_masks, num_layers = num_processes() * len(tokens) if self.mask_per_sequence else 1, len(self.transformer.blocks)
        probability = choices[torch.randint(len(choices), (num_masks,), generator=generator)]
        draws = [random_pair_mask(allowed, probability, generator) for _ in range(num_layers if self.mask_per_layer else 1)]
        masks = [own(draw) if self.mask_per_sequence else draw[0] for draw in draws]
        return masks if self.mask_per_layer else masks * num_layers
