"""Labels that depend on the context, read from labelled examples: in-context classification (protocol 8, second form).

Nothing of the actions is told. A context shows labels instead: Y_i = (enc(y_i), label of y_i), X_i = (enc(x_i), no label),
and X_i is asked for its label after the pairs before it, exactly as a query is. Every sequence follows one rule, drawn
from all rules that are to be trained on; with many of them a model learns to read rules that it has never seen.

The label stands in the token of an item it belongs to and not in a token of its own: there is no positional embedding, so
nothing else would say which item a label is of.

    label       cross-entropy of X_i's label after the examples before it, however many
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace, Environment
from contextssl.batch import Transitions
from contextssl.classifier import ExampleClassifier
from contextssl.context import ConditionedEncoder, interleave
from contextssl.distributed import num_processes, own
from contextssl.models.masks import pair_mask
from contextssl.models.transformer import ContextTransformer
from contextssl.transfer import send


class LabelTokenClassifier(ExampleClassifier):
    """A classifier that reads from labelled examples which rule holds.

    Args:
        encoder, actions, transformer, embedding_dim, standardise: as in `Classifier`.
        label_noise: probability that a training example shows a label of a random class instead of its own.

    Raises:
        ValueError: for a domain without labels, or a probability outside 0..1.
    """

    reads_actions = False

    def __init__(
        self, encoder: nn.Module, actions: ActionSpace, *, transformer: Callable[[int, int], ContextTransformer],
        embedding_dim: int | None = None, standardise: bool = False, label_noise: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(encoder, actions, transformer, embedding_dim=embedding_dim, standardise=standardise, show_labels=True)
        if not 0 <= label_noise <= 1:
            raise ValueError(f"label_noise: expected a probability from 0 to 1, found {label_noise}")
        self.label_noise = label_noise

    @property
    def rule_prior(self) -> Tensor:
        """[R] all rules that are trained on alike."""
        seen = torch.arange(len(self.actions.rules)) < self.actions.num_seen_rules
        return seen / self.actions.num_seen_rules

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """The label term of the X token of every pair."""
        self.actions.check(batch.action, batch.latent)
        features = self.encode(batch)
        rules = own(torch.randint(self.actions.num_seen_rules, (num_processes() * batch.num_sequences,), generator=generator))
        labels = self.actions.labels(batch.latent, rules[:, None, None])
        shown = noisy(labels[:, :, 1], self.label_noise, generator)
        tokens = interleave(self.tokens(features.state), self.tokens(features.next_state, labels=shown))
        outputs = self.transformer(tokens, [pair_mask(tokens.shape[1], tokens.device)] * len(self.transformer.blocks))
        logits = self.head(outputs[:, 0::2]).float()
        return {"label": F.cross_entropy(logits.flatten(0, 1), labels[:, :, 0].flatten())}

    def condition_features(self, context: Transitions, environment: Environment) -> ConditionedEncoder:
        """Run one encoded context [1, T, D] once, showing labels by the rule of the environment's name.

        An environment without a rule shows labels by the first rule if it tells a group, and no labels if it tells none.
        """
        named = [number for number, rule in enumerate(self.actions.rules) if rule.name == environment.name]
        if not named and not environment.groups:
            return self._condition(context, None, environment)
        rules = torch.full((context.length,), named[0] if named else 0)
        return self._condition(context, self._labels(context, rules), environment)

    def condition_rules(self, context: Transitions, rules: Tensor) -> ConditionedEncoder:
        """Every pair shows its label by its own rule."""
        return self.condition_labels(context, self._labels(context, rules))

    def condition_labels(self, context: Transitions, labels: Tensor) -> ConditionedEncoder:
        """Every pair shows the label [T] given."""
        return self._condition(context, labels, Environment(()))

    def _labels(self, context: Transitions, rules: Tensor) -> Tensor:
        """[T] labels of the items y of a context under rules [T]."""
        return self.actions.labels(context.latent[0, :, 1], rules)

    def _condition(self, context: Transitions, labels: Tensor | None, environment: Environment) -> ConditionedEncoder:
        def token(features: Tensor, action: Tensor | None) -> Tensor:
            layout: Tensor = self.tokens(features)
            return layout

        shown = None if labels is None else labels[None].to(context.next_state.device)
        examples = self.tokens(context.next_state, labels=shown)
        tokens = interleave(self.tokens(context.state), examples)
        cache, _ = self.transformer.prefix(tokens, pair_mask(tokens.shape[1], tokens.device))
        return ConditionedEncoder(environment, 2 * context.length, self.represent, token, self.transformer, cache)


def noisy(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The labels [B, T], of which each becomes that of a random pair of its sequence with probability `share`."""
    if share == 0:
        return labels
    everywhere = (num_processes() * len(labels), labels.shape[1])
    replaced = own(torch.rand(everywhere, generator=generator)) < share
    other = own(torch.randint(labels.shape[1], everywhere, generator=generator))
    return torch.where(send(replaced, labels.device), labels.gather(1, send(other, labels.device)), labels)
