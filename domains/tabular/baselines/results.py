"""From baselines to rows of results, by the protocols that measure trained methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from contextssl.evaluation.embeddings import FEATURES, Cell, EmbeddingBank
from contextssl.evaluation.probe import Probe
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.evaluation.readouts import cell_result
from contextssl.evaluation.results import Result
from domains.tabular.baselines.adversarial import AdversarialEncoder
from domains.tabular.baselines.decisions import DECISION_PROBE, Integers, decision_makers
from domains.tabular.baselines.fixed import PROBES, Baseline, FixedRepresentation, baselines
from domains.tabular.fairness import GROUP_FAIRNESS, GroupFairness, Predictions
from domains.tabular.sensitive_table import SensitiveTable

ADVERSARIES = (AdversarialEncoder(weight=0.3), AdversarialEncoder(weight=1.0), AdversarialEncoder(weight=3.0))


def baseline_results(
    adapter: SensitiveTable, fairness: GroupFairness | None = None, probes: tuple[Probe, ...] = PROBES
) -> Iterator[Result]:
    """What needs no training: a target by `group-fairness/1`; it and the sensitive attributes by `attribute-probe/1`.

    How well an attribute is read from a representation is its leakage. About 45 seconds on one core for real Adult.

    Args:
        adapter: the table.
        fairness: the target, the reported rows, and what is compared; all attributes in the first target when None.
        probes: what reads.
    """
    fairness = _of_first_target(adapter) if fairness is None else fairness
    for baseline in baselines(adapter, probes):
        yield from _read(adapter, baseline, fairness)


def trained_baseline_results(
    adapter: SensitiveTable,
    fairness: GroupFairness | None = None,
    probes: tuple[Probe, ...] = PROBES,
    adversaries: Sequence[AdversarialEncoder] = ADVERSARIES,
    seed: int = 0,
) -> Iterator[Result]:
    """The same for what is trained for one point between utility and fairness: adversarial encoders and fair classifiers.

    Decisions are scored as they are, with the probe called `decision`; what tells an attribute from them is read from the
    decisions alone, since they are all that such a classifier gives away.

    Args:
        adapter: the table.
        fairness: as of `baseline_results`.
        probes: what reads.
        adversaries: encoders to train; decision makers are those of `decision_makers`.
        seed: of what is trained.
    """
    fairness = _of_first_target(adapter) if fairness is None else fairness
    for adversary in adversaries:
        found = Baseline(adversary.name, adversary.fit(adapter, fairness.target, seed), probes)
        yield from _with_seed(_read(adapter, found, fairness), seed)
    for name, decide in decision_makers(adapter, fairness.target, seed).items():
        yield from _with_seed(_read(adapter, Baseline(name, decide, probes[:1]), fairness, decided=True), seed)


def _of_first_target(adapter: SensitiveTable) -> GroupFairness:
    return GroupFairness(adapter.targets[0].name, adapter.sensitive)


def _read(adapter: SensitiveTable, baseline: Baseline, fairness: GroupFairness, decided: bool = False) -> Iterator[Result]:
    """All rows of one baseline; where it decides by itself, nobody else reads the target."""
    bank = EmbeddingBank(FixedRepresentation(baseline.representation, adapter.actions), adapter, method_name=baseline.name)
    targets = adapter.sensitive if decided else (fairness.target, *adapter.sensitive)
    readout = ReadoutProtocol(probes=baseline.probes, targets=targets, split=fairness.readout.split)
    for found in readout.readouts(bank):
        yield from readout.results(bank, found)
        if found.target.name == fairness.target:
            yield from fairness.results(bank, found)
    if decided:
        decision = torch.round(bank.features(fairness.readout.split)[:, 0]).cpu().numpy().astype(np.int64)
        yield from decided_results(bank, FEATURES, fairness, decision)


def decided_results(bank: EmbeddingBank, cell: Cell, fairness: GroupFairness, decision: Integers) -> Iterator[Result]:
    """Group metrics of decisions [N] on the reported rows, made in a cell."""
    split = fairness.readout.split
    truth = bank.labelled(split).target(fairness.target).values.cpu().numpy()
    for row in fairness.metrics(Predictions(truth, decision), fairness.groups(bank)):
        result = cell_result(bank, cell, GROUP_FAIRNESS, fairness.target, DECISION_PROBE, row.metric, split, row.value, row.floor)
        yield replace(result, low=row.low, high=row.high)


def _with_seed(rows: Iterator[Result], seed: int) -> Iterator[Result]:
    yield from (replace(row, seed=seed) for row in rows)
