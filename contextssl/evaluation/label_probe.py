"""Labels that depend on the environment, read by a linear head from representations that were not trained on them.

C cells, N rows, W width, E environments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from contextssl.adapter import Split
from contextssl.evaluation.controls import Control
from contextssl.evaluation.embeddings import EMPTY, FEATURES, Cell, EmbeddingBank
from contextssl.evaluation.label_shift import ANY_RULE, labels_by_rule
from contextssl.evaluation.metrics import accuracy, constant_floor
from contextssl.evaluation.probe import Labels, LinearProbe, Parts, Probe
from contextssl.evaluation.readouts import cell_result
from contextssl.evaluation.results import Result
from contextssl.labels import LabelledActions
from contextssl.method import ContextualMethod
from contextssl.seeding import generator

LABEL_PROBE = "label-probe/1"


@dataclass(frozen=True)
class LabelProbe:
    """One head for all environments: the baselines of Gupta et al. 2024, Table 5 (protocol 8).

    `label-probe/1`:
    *split*: fit on training rows, choose on validation rows, report on `split`.
    *inputs*: encoder features, and for contextual methods embeddings after no context and after the bank's true contexts.
    *targets*: every environment that has a rule gives its own labels to all rows. One head is fitted on the rows of all
    environments together, each with the representation it has there; features and embeddings after no context are the same
    in all of them, so the head can only settle on one label or the other.
    *metric*: accuracy of the labels of each environment, `label_<rule>`, against a constant label, and `label_any`.

    Attributes:
        probe: the head.
        split: what to report on.
        num_train, num_choose: at most so many rows, drawn at random.
        seed: of the rows.
        name: protocol id and version.
    """

    probe: Probe = LinearProbe()
    split: Split = Split.TEST
    num_train: int = 8192
    num_choose: int = 2048
    seed: int = 0
    name: str = LABEL_PROBE

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", Split(self.split))  # configs give it as a word

    def __call__(self, bank: EmbeddingBank) -> Iterator[Result]:
        """One result for each representation and environment; ValueError for a domain without labels or rules."""
        actions = bank.adapter.actions
        if not isinstance(actions, LabelledActions):
            raise ValueError("this domain has no labels by environment: wrap it in domains.supervised.label_shift.LabelShift")
        rules = {e.name: actions.rule(e.name) for e in bank.environments if e.name in {rule.name for rule in actions.rules}}
        if not rules:
            raise ValueError(f"none of the environments {[e.name for e in bank.environments]} has a rule")
        for cells in self._series(bank, list(rules)):
            yield from self._read(bank, actions, dict(zip(rules.values(), cells, strict=True)))

    def _series(self, bank: EmbeddingBank, names: list[str]) -> Iterator[list[Cell]]:
        """Cells that share a head: one for each environment."""
        yield [FEATURES] * len(names)
        if not isinstance(bank.method, ContextualMethod):
            return
        for length in bank.context_lengths:
            for draw in range(bank.context_draws if length else 1):
                yield [Cell(name, str(Control.TRUE), length, draw) if length else EMPTY for name in names]

    def _read(self, bank: EmbeddingBank, actions: LabelledActions, cells: dict[int, Cell]) -> Iterator[Result]:
        """The rows of one head; `cells` are the representations by the rule that holds there."""
        parts = [
            self._rows(bank, split, most) for split, most in ((Split.TRAIN, self.num_train), (Split.VALIDATION, self.num_choose))
        ]
        (fit, fit_labels), (choose, choose_labels) = (
            self._mixed(bank, actions, cells, split, rows)
            for split, rows in zip((Split.TRAIN, Split.VALIDATION), parts, strict=True)
        )
        report = torch.cat([bank.embeddings(cell, self.split) for cell in cells.values()])
        # Only labels that occur: the free intercept of one that never does would run away.
        known, place = torch.cat([fit_labels, choose_labels]).unique(return_inverse=True)
        labels = Labels(place[: len(fit_labels)], place[len(fit_labels) :], len(known))
        scores = self.probe.outputs(Parts(fit[None], choose[None], report[None]), [labels])[0][0]
        prediction = known[scores.argmax(-1)].cpu()
        truth, fitted = (labels_by_rule(actions, bank, split) for split in (self.split, Split.TRAIN))
        for (rule, cell), given in zip(cells.items(), prediction.chunk(len(cells)), strict=True):
            floor = constant_floor(fitted[:, rule], truth[:, rule], accuracy)
            right = {f"label_{actions.rules[rule].name}": given == truth[:, rule]}
            if rule == next(iter(cells)) or cell not in (FEATURES, EMPTY):
                right[ANY_RULE] = (given[:, None] == truth[:, list(cells)]).any(1)
            for target, hits in right.items():
                known = None if target == ANY_RULE else floor
                value = float(hits.double().mean())
                yield cell_result(bank, cell, self.name, target, self.probe.name, "accuracy", self.split, value, known)

    def _rows(self, bank: EmbeddingBank, split: Split, most: int) -> Tensor:
        """Row numbers to fit or to choose on."""
        return torch.randperm(len(bank.labelled(split)), generator=generator(self.seed, f"label-probe/{split}"))[:most]

    def _mixed(
        self, bank: EmbeddingBank, actions: LabelledActions, cells: dict[int, Cell], split: Split, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """[E N, W] representations and [E N] labels of the rows in all environments."""
        labels = labels_by_rule(actions, bank, split)[rows]
        inputs = torch.cat([bank.embeddings(cell, split)[rows.to(bank.device)] for cell in cells.values()])
        return inputs, torch.cat([labels[:, rule] for rule in cells]).to(bank.device)
