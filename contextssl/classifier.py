"""What classifiers that read their labels from context offer beyond embeddings. N rows, T pairs, R rules."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from contextssl.actions import ActionSpace
from contextssl.batch import Transitions
from contextssl.context import ConditionedEncoder
from contextssl.labels import LabelledActions
from contextssl.method import ContextualMethod


class Classifier(ContextualMethod):
    """A contextual method with a head: which label an item has in the context it is asked in."""

    actions: LabelledActions
    head: nn.Linear

    @property
    @abstractmethod
    def rule_prior(self) -> Tensor:
        """[R] how often training sequences follow each rule; sums to 1."""

    @abstractmethod
    def condition_rules(self, context: Transitions, rules: Tensor) -> ConditionedEncoder:
        """`condition_features` for a context whose pairs follow rules of their own.

        Args:
            context: one sequence [1, T, D] of features; T may be 0.
            rules: [T] number of the rule that each pair follows.
        """

    def logits(self, x: Tensor, conditioned: ConditionedEncoder) -> Tensor:
        """[N, num_labels] scores of the labels of items [N, *input] after the context."""
        return self.feature_logits(self.represent(x), conditioned)

    def feature_logits(self, features: Tensor, conditioned: ConditionedEncoder) -> Tensor:
        """`logits` for items already encoded, features [N, D]."""
        outputs = conditioned.transformer.query(conditioned.token(features[None], None), conditioned.cache)
        logits: Tensor = self.head(outputs[0])
        return logits


class ExampleClassifier(Classifier):
    """A classifier whose context shows labels, so that any labels can be shown, those of unknown rules included."""

    @abstractmethod
    def condition_labels(self, context: Transitions, labels: Tensor) -> ConditionedEncoder:
        """`condition_features` for a context [1, T, D] of features with labels [T], right or wrong."""


def with_labels(actions: ActionSpace) -> LabelledActions:
    """The action space, if its domain has labels by environment; ValueError otherwise."""
    if not isinstance(actions, LabelledActions):
        raise ValueError(
            "this method learns labels: wrap the domain in domains.supervised.label_shift.LabelShift (domain=supervised_...)"
        )
    return actions
