"""Labels that depend on the context, read from the actions it tells (Gupta et al. 2024, Section 4.6; protocol 8).

A sequence tells the actions of one environment's groups, and the label of every item is the one that this environment's
rule gives it. Tokens X_i = (enc(x_i), told part of a_i) and Y_i = (enc(y_i), 0) as in ContextSSL; a query (enc(x), 0) can
know the rule only from the pairs before it.

    label       cross-entropy of the environment's label, from X_i and Y_i after their past, whatever its length
    auxiliary   the told groups' parameters of y_i are readable from both embeddings

There is no contrastive loss and no random mask.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace, Environment, hide
from contextssl.batch import Transitions
from contextssl.classifier import Classifier
from contextssl.context import ConditionedEncoder, interleave
from contextssl.losses.auxiliary import told_group_error
from contextssl.methods.environments import EnvironmentSampler
from contextssl.models.heads import mlp
from contextssl.models.masks import causal_mask, pair_mask
from contextssl.models.transformer import ContextTransformer
from contextssl.transfer import send


class ContextClassifier(Classifier):
    """A classifier that reads from told actions which rule holds.

    Args:
        encoder, actions, transformer, embedding_dim, standardise, tell_presence: as in `Classifier`.
        environments: draws what each sequence is told, truthfully; each has a rule of its name.
        auxiliary_weight, auxiliary_dims: weight of the auxiliary loss, and hidden widths of its predictor.
        see_own_pair: whether Y_i sees X_i, and so its action: the plain causal mask of protocol 8. Then no token of
            the training is asked what a query after no context is asked.

    Raises:
        ValueError: for a domain without labels, an environment without a rule, or decoys.
    """

    latent_mean: Tensor
    latent_scale: Tensor
    groups_of_rule: Tensor

    def __init__(
        self, encoder: nn.Module, actions: ActionSpace, *, transformer: Callable[[int, int], ContextTransformer],
        environments: EnvironmentSampler, embedding_dim: int | None = None, auxiliary_weight: float = 1.0,
        auxiliary_dims: tuple[int, ...] = (128,), standardise: bool = False, tell_presence: bool = False, see_own_pair: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            encoder, actions, transformer, embedding_dim=embedding_dim, standardise=standardise, tell_presence=tell_presence
        )
        if environments.decoy_share:
            raise ValueError("decoys belong to no environment, so they have no label: set decoy_share to 0")
        self.environments, self.auxiliary_weight, self.see_own_pair = environments, auxiliary_weight, see_own_pair
        self.rules = {self.actions.rule(name): share for name, share in drawn(environments, self.actions).items()}
        self.register_buffer("groups_of_rule", self.actions.told_by_rule, persistent=False)
        num_parameters = self.actions.num_parameters
        self.auxiliary = mlp(self.head.in_features, auxiliary_dims, num_parameters) if auxiliary_weight else None
        self.register_buffer("latent_mean", self.actions.latent_mean[:num_parameters] * standardise)
        scale = self.actions.latent_scale[:num_parameters]
        self.register_buffer("latent_scale", scale if standardise else torch.ones(num_parameters))

    @property
    def rule_prior(self) -> Tensor:
        """[R] the environments' probabilities."""
        prior = torch.zeros(len(self.actions.rules))
        prior[list(self.rules)] = torch.tensor(list(self.rules.values()))
        return prior

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """Label and auxiliary terms of both tokens of every pair."""
        self.actions.check(batch.action, batch.latent)
        features = self.encode(batch)
        told = self.environments.draw(batch, self.actions, generator)
        tokens = interleave(
            self.tokens(features.state, told.action, told.presence.unsqueeze(1)), self.tokens(features.next_state)
        )
        outputs = self.transformer(tokens, [self._mask(tokens)] * len(self.transformer.blocks))
        labels = self.actions.labels(batch.latent, self._rules(told.groups)[:, None, None]).flatten(1)
        terms = {"label": F.cross_entropy(self.head(outputs).flatten(0, 1).float(), labels.flatten())}
        if self.auxiliary is not None:
            terms["auxiliary"] = self.auxiliary_weight * self._auxiliary_error(outputs, batch.latent[:, :, 1], told.groups)
        return terms

    def condition_features(self, context: Transitions, environment: Environment) -> ConditionedEncoder:
        """Run one encoded context [1, T, D] once, told the environment's groups."""
        shown = torch.tensor([float(name in environment.groups) for name in self.actions.names], device=context.action.device)
        return self._condition(context, shown.expand(1, context.length, -1), environment)

    def condition_rules(self, context: Transitions, rules: Tensor) -> ConditionedEncoder:
        """Every pair tells the groups of its own rule's environment; queries with actions tell the last one's."""
        shown = self.groups_of_rule[rules.to(self.groups_of_rule.device)]
        last = self.actions.rules[int(rules[-1])].name if len(rules) else "all"
        return self._condition(context, shown[None], self.actions.environment(last))

    def _condition(self, context: Transitions, shown: Tensor, environment: Environment) -> ConditionedEncoder:
        """Run a context whose pairs show the groups [1, T, G]."""
        widths = torch.tensor([group.action_dim for group in self.actions.groups], device=shown.device)
        mask = self.actions.action_mask(environment).to(shown.device)
        presence = torch.tensor([1.0 if name in environment.groups else -1.0 for name in self.actions.names], device=shown.device)

        def token(features: Tensor, action: Tensor | None) -> Tensor:
            layout: Tensor = self.tokens(features) if action is None else self.tokens(features, hide(action, mask), presence)
            return layout

        told = hide(context.action, shown.repeat_interleave(widths, dim=-1))
        tokens = interleave(self.tokens(context.state, told, 2 * shown - 1), self.tokens(context.next_state))
        cache, _ = self.transformer.prefix(tokens, self._mask(tokens))
        return ConditionedEncoder(environment, 2 * context.length, self.represent, token, self.transformer, cache)

    def _mask(self, tokens: Tensor) -> Tensor:
        """[S, S]."""
        return (causal_mask if self.see_own_pair else pair_mask)(tokens.shape[1], tokens.device)

    def _rules(self, groups: Tensor) -> Tensor:
        """[B] the rule of the environment that tells groups [B, G]."""
        known = send(torch.tensor(list(self.rules)), groups.device)
        return known[(groups.unsqueeze(1) == self.groups_of_rule[known]).all(-1).int().argmax(1)]

    def _auxiliary_error(self, outputs: Tensor, latent_y: Tensor, told: Tensor) -> Tensor:
        """Error of the told groups' parameters of y [B, T, L], read from outputs [B, 2T, E]; told [B, G]."""
        assert self.auxiliary is not None
        target = (latent_y[..., : self.actions.num_parameters] - self.latent_mean) / self.latent_scale
        widths = [group.latent_dim for group in self.actions.groups]
        # With its length given, the result's shape need not be asked of the device.
        columns = told.repeat_interleave(send(torch.tensor(widths), told.device), dim=1, output_size=sum(widths))
        return told_group_error(self.auxiliary(F.normalize(outputs, dim=-1)), target.repeat_interleave(2, dim=1), columns, widths)


def drawn(sampler: EnvironmentSampler, actions: ActionSpace) -> dict[str, float]:
    """How often the sampler draws each environment, by name."""
    names = actions.names if len(actions.names) > 1 else (*actions.names, "none")
    shares = sampler.probabilities or dict.fromkeys(names, 1 / len(names))
    return {actions.environment(name).name: share for name, share in shares.items() if share > 0}
