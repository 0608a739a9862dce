"""Labels that a classifier gives items in the environment it is asked in (Gupta et al. 2024, Section 4.6; protocol 8).

N reported rows, T pairs, R rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from contextssl.adapter import Split
from contextssl.batch import Transitions
from contextssl.classifier import Classifier, ExampleClassifier
from contextssl.context import ConditionedEncoder
from contextssl.evaluation.controls import Control
from contextssl.evaluation.embeddings import EMPTY, Cell, EmbeddingBank
from contextssl.evaluation.metrics import accuracy, constant_floor
from contextssl.evaluation.observer import observer_accuracy, rule_posterior
from contextssl.evaluation.readouts import cell_result
from contextssl.evaluation.results import Result
from contextssl.labels import LabelledActions
from contextssl.seeding import derive_seed, generator

LABEL_SHIFT = "label-shift/1"
ANY_RULE = "label_any"
UNSEEN_RULE, CONTRADICTORY, OTHER_SPLIT, LABEL_NOISE = "unseen-rule", "contradictory", "other-split", "label-noise"


@dataclass(frozen=True)
class LabelShiftProtocol:
    """Labels that a classifier gives single items after contexts of every rule and length.

    `label-shift/1`:
    *split*: all rows of `split`; nothing is fitted.
    *sampling*: the bank's context draws; shorter contexts are the beginnings of longer ones. Every pair of a context
    follows the same rule. The row's environment is the name of the rule that its context follows.
    *inputs*: single items without actions, the classifier's own head.
    *targets*: `label_<rule>` for the rule of the context, and for the others where `cross` is set; `label_any` counts
    what is right by any of the rules that are trained on: how well classes are recognised. After no context every rule.
    *metric*: accuracy, against a constant label; `ece`, the expected calibration error over 15 equal bins of the largest
    probability; `log_loss` in nats. The probe `observer` is the ideal one of `contextssl.evaluation.observer`.
    *controls*, at the longest length: `contradictory`, pairs that follow their rule and another one in turn, starting
    with their own; `other-split`, the context's items are those of the validation split; `unseen-rule`, a rule that was
    not trained on; and for contexts that show labels `label-noise`, a quarter of them those of random other pairs.

    Attributes:
        split: what to report on.
        cross: whether to report every rule's labels in every context.
        noise: share of labels that `label-noise` replaces.
        seed: of the noise.
        name: protocol id and version.
    """

    split: Split = Split.TEST
    cross: bool = True
    noise: float = 0.25
    seed: int = 0
    name: str = LABEL_SHIFT

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", Split(self.split))  # configs give it as a word

    def __call__(self, bank: EmbeddingBank) -> Iterator[Result]:
        """One result for each context, label and metric; ValueError for a method without a head."""
        asked = _Asked.of(bank, self.split)
        rules, prior = asked.method.actions.rules, asked.method.rule_prior
        trained = [number for number, share in enumerate(prior.tolist()) if share > 0]
        if 0 in bank.context_lengths:
            nothing = asked.condition(bank.context(0).first(0), torch.zeros(0, dtype=torch.long))
            yield from self._labels_given(asked, EMPTY, nothing, trained, trained)
            yield from self._observed(asked, EMPTY, trained, prior)
        showing = isinstance(asked.method, ExampleClassifier)
        unseen = [number for number, rule in enumerate(rules) if rule.unseen and showing]
        for draw in range(bank.context_draws):
            for rule in (*trained, *unseen):
                yield from self._every_length(asked, rule, draw, trained)
            for rule in trained if bank.context_lengths[-1] else ():
                yield from self._controls(asked, rule, draw, trained)

    def _every_length(self, asked: _Asked, rule: int, draw: int, trained: list[int]) -> Iterator[Result]:
        """True contexts of one rule."""
        lengths, context = asked.bank.context_lengths, asked.bank.context(draw)
        conditioned = asked.condition(context.first(lengths[-1] // 2), torch.full((lengths[-1] // 2,), rule))
        control = str(Control.TRUE) if rule in trained else UNSEEN_RULE
        for length in filter(None, lengths):
            cell = Cell(asked.name(rule), control, length, draw)
            reported = self._reported(rule, trained) if rule in trained else [rule]
            yield from self._labels_given(asked, cell, conditioned.shortened(length), reported, trained)
            yield from self._observed(asked, cell, [rule], asked.posterior(context.first(length // 2), rule))

    def _controls(self, asked: _Asked, rule: int, draw: int, trained: list[int]) -> Iterator[Result]:
        """Contexts that contradict themselves, come from elsewhere or show wrong labels."""
        length, method = asked.bank.context_lengths[-1], asked.method
        context, own = asked.bank.context(draw).first(length // 2), torch.full((length // 2,), rule)
        contexts = {OTHER_SPLIT: asked.condition(asked.elsewhere(draw), own)}
        if len(trained) > 1:
            other = trained[(trained.index(rule) + 1) % len(trained)]
            contexts[CONTRADICTORY] = asked.condition(context, own.where(torch.arange(len(own)) % 2 == 0, other))
        if isinstance(method, ExampleClassifier):
            labels = self._noisy(method.actions.labels(context.latent[0, :, 1], own), draw)
            with torch.inference_mode():
                contexts[LABEL_NOISE] = method.condition_labels(context, labels)
        for control, conditioned in contexts.items():
            cell = Cell(asked.name(rule), control, length, draw)
            yield from self._labels_given(asked, cell, conditioned, self._reported(rule, trained), trained)

    def _reported(self, rule: int, trained: list[int]) -> list[int]:
        """Whose labels are reported after a context of a rule, its own first."""
        return list(dict.fromkeys([rule, *trained])) if self.cross else [rule]

    def _noisy(self, labels: Tensor, draw: int) -> Tensor:
        """The labels [T] with the share that is replaced."""
        draws = generator(self.seed, f"label-noise/{draw}")
        replaced = torch.rand(len(labels), generator=draws) < self.noise
        other = torch.randint(len(labels), (len(labels),), generator=draws)
        return torch.where(replaced.to(labels.device), labels[other.to(labels.device)], labels)

    def _labels_given(
        self, asked: _Asked, cell: Cell, conditioned: ConditionedEncoder, rules: list[int], trained: list[int]
    ) -> Iterator[Result]:
        """The head's rows for the labels of some rules."""
        log_probability = asked.log_probability(conditioned)
        prediction = log_probability.argmax(1)
        row = partial(cell_result, asked.bank, cell, self.name, split=self.split)
        for rule in rules:
            truth, target = asked.labels[:, rule], f"label_{asked.name(rule)}"
            floor, value = constant_floor(asked.fitted[:, rule], truth, accuracy), float(accuracy(truth, prediction))
            yield row(target, "head", "accuracy", value=value, floor=floor)
            yield row(target, "head", "ece", value=calibration_error(log_probability, truth), floor=None)
            loss = float(-log_probability.gather(1, truth[:, None]).mean())
            yield row(target, "head", "log_loss", value=loss, floor=None)
        right = (prediction[:, None] == asked.labels[:, trained]).any(1)
        yield row(ANY_RULE, "head", "accuracy", value=float(right.double().mean()), floor=None)

    def _observed(self, asked: _Asked, cell: Cell, rules: list[int], posterior: Tensor) -> Iterator[Result]:
        """The ideal observer's rows."""
        for rule in rules:
            value = observer_accuracy(asked.labels, asked.labels[:, rule], posterior)
            target = f"label_{asked.name(rule)}"
            yield cell_result(asked.bank, cell, self.name, target, "observer", "accuracy", self.split, value, None)


@dataclass(frozen=True)
class _Asked:
    """The rows that are reported on, and the classifier that is asked for their labels."""

    bank: EmbeddingBank
    method: Classifier
    split: Split
    labels: Tensor  # [N, R], on the CPU as all that follows
    fitted: Tensor  # [M, R] of the training rows, for floors

    @staticmethod
    def of(bank: EmbeddingBank, split: Split) -> _Asked:
        method = bank.method
        if not isinstance(method, Classifier):
            raise ValueError(
                f"{type(method).__name__} gives no labels: evaluate it with contextssl.evaluation.label_probe.LabelProbe"
            )
        return _Asked(bank, method, split, *(labels_by_rule(method.actions, bank, part) for part in (split, Split.TRAIN)))

    def name(self, rule: int) -> str:
        """Of a rule."""
        return self.method.actions.rules[rule].name

    def condition(self, context: Transitions, rules: Tensor) -> ConditionedEncoder:
        """The classifier after a context [1, T, D] whose pairs follow rules [T]."""
        with torch.inference_mode():
            return self.method.condition_rules(context, rules)

    def log_probability(self, conditioned: ConditionedEncoder) -> Tensor:
        """[N, num_labels] of every row."""
        size = 1024 if self.bank.device.type == "cpu" else 2**16
        features = self.bank.features(self.split)
        logits = self.bank.in_pieces(lambda rows: self.method.feature_logits(rows, conditioned), features, size)
        return logits.log_softmax(-1).cpu()

    def elsewhere(self, draw: int) -> Transitions:
        """[1, T, D] features of a context of the longest length from another split than the bank's."""
        bank = self.bank
        split = Split.TRAIN if bank.context_split is Split.VALIDATION else Split.VALIDATION
        seed = derive_seed(bank.seed, f"other-split/{draw}")
        items = bank.adapter.held_out(bank.context_lengths[-1] // 2, 1, seed, split).to(bank.device)
        state, _, next_state, _ = items.pairs()
        features = bank.in_pieces(self.method.represent, torch.cat([state, next_state]), bank.batch_size).unflatten(0, (2, 1, -1))
        return items.with_items(features[0], features[1])

    def posterior(self, context: Transitions, rule: int) -> Tensor:
        """[R] what the ideal observer makes of a context that follows the rule; nothing is impossible that was not trained on."""
        prior = self.method.rule_prior
        if not isinstance(self.method, ExampleClassifier):
            return torch.eye(len(prior))[rule]
        by_rule = self.method.actions.labels(context.latent[0, :, 1].cpu().unsqueeze(1), torch.arange(len(prior)))
        return rule_posterior(by_rule, by_rule[:, rule], torch.ones_like(prior) / len(prior))


def labels_by_rule(actions: LabelledActions, bank: EmbeddingBank, split: Split) -> Tensor:
    """[N, R] labels of a split's rows by every rule, on the CPU."""
    return actions.labels(bank.labelled(split).latent.cpu().unsqueeze(1), torch.arange(len(actions.rules)))


def calibration_error(log_probability: Tensor, truth: Tensor, num_bins: int = 15) -> float:
    """Expected calibration error (Guo et al., ICML 2017, eq. 3) of log-probabilities [N, K] for labels [N].

    Rows are put into equal bins of their largest probability; the mean over rows of |accuracy - confidence| of their bin.
    """
    confidence, prediction = log_probability.double().exp().max(1)
    place = (confidence * num_bins).ceil().long().clamp(1, num_bins) - 1
    gap = (prediction == truth).double() - confidence
    return float(torch.zeros(num_bins, dtype=torch.float64).index_add_(0, place, gap).abs().sum() / len(truth))
