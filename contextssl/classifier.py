"""What classifiers that read their labels from context offer beyond embeddings. N rows, T pairs, R rules."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from contextssl.actions import ActionSpace
from contextssl.batch import Transitions
from contextssl.context import ConditionedEncoder
from contextssl.labels import LabelledActions
from contextssl.method import ContextualMethod
from contextssl.models.context_tokens import ContextTokens
from contextssl.models.transformer import ContextTransformer


class Classifier(ContextualMethod):
    """A contextual method with a head: which label an item has in the context it is asked in.

    Args:
        encoder: items [N, *input] -> features [N, encoder.out_dim].
        actions: the domain's `LabelledActions`.
        transformer: builds the context transformer from (token width, output width).
        embedding_dim: output width E; the encoder's when None.
        standardise: normalise features with a BatchNorm without affine parameters; what is told enters with equal energy.
        tell_presence, show_labels: whether tokens have room for the groups that are told, and for a label.

    Raises:
        ValueError: for a domain without labels.
    """

    actions: LabelledActions

    def __init__(
        self, encoder: nn.Module, actions: ActionSpace, transformer: Callable[[int, int], ContextTransformer], *,
        embedding_dim: int | None, standardise: bool, tell_presence: bool = False, show_labels: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        labelled, features_dim = with_labels(actions), int(encoder.out_dim)  # type: ignore[arg-type]
        self.encoder, self.actions = encoder, labelled
        self.tokens = ContextTokens(
            features_dim,
            labelled,
            standardise=standardise,
            tell_presence=tell_presence,
            num_labels=show_labels * labelled.num_labels,
        )
        self.transformer = transformer(self.tokens.out_dim, embedding_dim or features_dim)
        self.head = nn.Linear(self.transformer.read_out.out_features, labelled.num_labels)
        self.normalise = nn.BatchNorm1d(features_dim, affine=False) if standardise else nn.Identity()

    def represent(self, x: Tensor) -> Tensor:
        """[N, *input] -> [N, D]: context-free features."""
        features: Tensor = self.normalise(self.encoder(x))
        return features

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
