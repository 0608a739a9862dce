"""fairlearn's classifiers on top of a trained model's embeddings, context by context."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from contextssl.adapter import Split
from contextssl.evaluation.cells import Cells, chosen_cells
from contextssl.evaluation.embeddings import Cell, EmbeddingBank
from contextssl.evaluation.probe import Labels, LinearProbe, Parts
from contextssl.evaluation.readouts import Readout
from contextssl.evaluation.results import Result
from domains.tabular.baselines.decisions import Integers, fair_classifiers
from domains.tabular.baselines.fixed import Rows
from domains.tabular.baselines.results import decided_results
from domains.tabular.fairness import GroupFairness
from domains.tabular.samplers import attribute_cell


def embedded_decision_results(
    bank: EmbeddingBank, fairness: GroupFairness, cells: Cells = None, seed: int = 0
) -> Iterator[Result]:
    """What `ExponentiatedGradient` and `ThresholdOptimizer` decide from standardised embeddings, in every cell.

    The method of a row is `context_ssl+threshold-optimizer`, its probe `decision`: the decisions are scored as they are
    (`group-fairness/1`). What tells a sensitive attribute from them is read by a linear probe from the decisions alone.
    About 8 seconds a cell on one core, with 20,000 rows to fit on.

    Args:
        bank: of a trained method on a table.
        fairness: target, attributes, split, and what is compared.
        cells: which contexts; all of the bank's when None.
        seed: of the rows to fit on and of decisions, which are draws.
    """
    for cell in chosen_cells(bank, cells):
        for name, decided in _decisions(bank, cell, fairness, seed).items():
            found = [*decided_results(bank, cell, fairness, decided[fairness.readout.split])]
            found += [row for attribute in fairness.sensitive for row in _leakage(bank, cell, fairness, attribute, decided)]
            yield from (replace(row, method=f"{row.method}+{name}") for row in found)


def _decisions(bank: EmbeddingBank, cell: Cell, fairness: GroupFairness, seed: int) -> dict[str, dict[Split, Integers]]:
    """Name of the classifier -> its decisions [N] on the rows of each split."""
    splits = (Split.TRAIN, Split.VALIDATION, fairness.readout.split)
    parts = Parts(*(bank.embeddings(cell, split)[None] for split in splits)).standardised
    standardised = (parts.fit, parts.choose, parts.report)
    rows: dict[Split, Rows] = {split: part[0].cpu().numpy() for split, part in zip(splits, standardised, strict=True)}
    groups = {split: _groups(bank, split, fairness.sensitive) for split in splits}
    labels = bank.labelled(Split.TRAIN).target(fairness.target).values.cpu().numpy()
    makers = fair_classifiers(rows[Split.TRAIN], labels, groups[Split.TRAIN], seed)
    return {name: {split: decide(rows[split], groups[split]) for split in splits} for name, decide in makers.items()}


def _groups(bank: EmbeddingBank, split: Split, sensitive: tuple[str, ...]) -> Integers:
    values = [bank.labelled(split).target(name).values.cpu().numpy() for name in sensitive]
    return attribute_cell(np.stack(values, axis=1))


def _leakage(
    bank: EmbeddingBank, cell: Cell, fairness: GroupFairness, attribute: str, decided: dict[Split, Integers]
) -> Iterator[Result]:
    """How well a linear probe reads the attribute from decisions."""
    split, probe = fairness.readout.split, LinearProbe(standardised=True)
    inputs = [torch.from_numpy(decided[part]).float()[None, :, None] for part in (Split.TRAIN, Split.VALIDATION, split)]
    fit, choose = (bank.labelled(part).target(attribute).values.cpu() for part in (Split.TRAIN, Split.VALIDATION))
    (outputs,) = probe.outputs(Parts(*inputs), [Labels(fit, choose, 2)])
    target = bank.labelled(split).target(attribute)
    yield from fairness.readout.results(
        bank, Readout((cell,), replace(target, values=target.values.cpu()), probe.name, outputs, fit)
    )
