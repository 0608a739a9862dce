"""Named, versioned read-out protocols: from a bank of embeddings to results.

A protocol's id changes its version whenever its numbers could change. C cells, M reported rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from contextssl.adapter import ProbeTarget, Split
from contextssl.evaluation.embeddings import FEATURES, Cell, EmbeddingBank
from contextssl.evaluation.metrics import (
    Metric,
    accuracy,
    auroc,
    balanced_accuracy,
    constant_floor,
    r2_dim_mean,
    r2_pooled,
    r2_varw,
)
from contextssl.evaluation.probe import Labels, LinearProbe, MLPProbe, NearestNeighbours, Parts, Probe
from contextssl.evaluation.results import Result
from contextssl.evaluation.strong import GradientBoosting, KernelRidge

ATTRIBUTE_PROBE = "attribute-probe/1"
STRONGEST_PROBE = "strongest-probe/1"

CLASS_METRICS: dict[str, Metric] = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}
VALUE_METRICS: dict[str, Metric] = {"r2_pooled": r2_pooled, "r2_dim_mean": r2_dim_mean, "r2_varw": r2_varw}

STANDARD_PROBES: tuple[Probe, ...] = (
    LinearProbe(),
    LinearProbe(standardised=True),
    MLPProbe(),
    MLPProbe(standardised=True),
    NearestNeighbours(),
)


@dataclass(frozen=True)
class Readout:
    """What one probe said about one target in several cells: what metrics, fairness measures and plots start from.

    Attributes:
        cells: C of them.
        target: the target as it was fitted, its values on the reported rows.
        probe: its name in tables, with the number of bits when embeddings were quantised.
        outputs: [C, M, K] class scores or values.
        fitted: the target's values on the rows the probe was fitted on, for floors.
    """

    cells: tuple[Cell, ...]
    target: ProbeTarget
    probe: str
    outputs: Tensor
    fitted: Tensor

    @property
    def predictions(self) -> Tensor:
        """[C, M] labels, or [C, M, K] values."""
        return self.outputs if self.target.num_classes is None else self.outputs.argmax(-1)

    @property
    def score(self) -> Tensor:
        """[C, M] how much class 1 is preferred to class 0, for targets of two classes."""
        return self.outputs[..., 1] - self.outputs[..., 0]

    def measurements(self) -> Iterator[tuple[str, Tensor, float]]:
        """Every metric's name, its values [C] and its floor."""
        truth, classes = self.target.values, self.target.num_classes
        for name, metric in (VALUE_METRICS if classes is None else CLASS_METRICS).items():
            yield name, metric(truth, self.predictions), constant_floor(self.fitted, truth, metric)
        if classes == 2:
            yield "auroc", auroc(truth, self.score), 0.5


@dataclass(frozen=True)
class ReadoutProtocol:
    """Every target, read by every probe, in every cell. Fit on train, choose on validation, report on `split`.

    With `split` validation, for choosing recipes without looking at the test split, a tenth of the training items
    takes the place of validation.

    `attribute-probe/1`: targets are attributes of single items. Logistic regression and ridge use up to 50,000
    training rows, MLP probes 8,192 rows and 20 epochs, neighbours 4,096; validation up to 2,048. All rows of the split
    are reported. Classes are scored by accuracy, balanced accuracy and, when there are two, AUROC, against a
    predictor of the most frequent class (0.5 for AUROC); values by the three R2 of protocol 6.1 against the mean.

    `strongest-probe/1`: whitened kernel ridge and boosting, on float32 and on quantised embeddings, reported on at
    most 4,096 rows; encoder features are left out.

    Attributes:
        name: protocol id and version.
        probes: what reads.
        targets: names of targets, all when None.
        split: what to report on.
        bits: precisions of the embeddings, None for float32. Features are never quantised.
        cells: which cells, the bank's own when None.
        num_train, num_choose, num_report: at most so many rows, drawn at random; None for all.
        seed: of those draws.
        memory: bytes of embeddings that the probes of one batch of cells may hold.
    """

    name: str = ATTRIBUTE_PROBE
    probes: tuple[Probe, ...] = STANDARD_PROBES
    targets: tuple[str, ...] | None = None
    split: Split = Split.TEST
    bits: tuple[int | None, ...] = (None,)
    cells: tuple[Cell, ...] | None = None
    num_train: int | None = 50_000
    num_choose: int | None = 2048
    num_report: int | None = None
    seed: int = 0
    memory: int = 2**30

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", Split(self.split))  # configs give it as a word

    def __call__(self, bank: EmbeddingBank) -> Iterator[Result]:
        """One result for each cell, target, probe and metric."""
        for readout in self.readouts(bank):
            yield from self.results(bank, readout)

    def results(self, bank: EmbeddingBank, readout: Readout) -> Iterator[Result]:
        """The readout's metrics as rows."""
        for metric, values, floor in readout.measurements():
            for cell, value in zip(readout.cells, values.tolist(), strict=True):
                yield Result(
                    protocol=self.name,
                    target=readout.target.name,
                    probe=readout.probe,
                    metric=metric,
                    environment=cell.environment,
                    control=str(cell.control),
                    context_length=cell.length,
                    context_draw=cell.draw,
                    seed=bank.training_seed,
                    split=str(self.split),
                    value=value,
                    floor=floor,
                    method=bank.method_name,
                )

    def readouts(self, bank: EmbeddingBank) -> Iterator[Readout]:
        """What every probe says, before any metric."""
        rows = self._rows(bank)
        chosen = bank.cells if self.cells is None else self.cells
        for bits in self.bits:
            cells = [cell for cell in chosen if bits is None or cell != FEATURES]
            for batch in self._batches(bank, cells, rows):
                parts = Parts(*(self._stack(bank, batch, split, picked, bits) for split, picked in rows))
                yield from self._read(bank, batch, parts, rows, bits)

    def _read(
        self, bank: EmbeddingBank, batch: tuple[Cell, ...], parts: Parts, rows: list[tuple[Split, Tensor]], bits: int | None
    ) -> Iterator[Readout]:
        names = self.targets or tuple(target.name for target in bank.labelled(Split.TRAIN).targets)
        targets = [[_picked(bank.labelled(split).target(name), picked) for split, picked in rows] for name in names]
        labels = [Labels(fit.values, choose.values, fit.num_classes) for fit, choose, _ in targets]
        for probe in self.probes:
            name = probe.name if bits is None else f"{probe.name}-{bits}bit"
            for (fit, _, report), outputs in zip(targets, probe.outputs(parts, labels), strict=True):
                yield Readout(batch, report, name, outputs, fit.values)

    def _rows(self, bank: EmbeddingBank) -> list[tuple[Split, Tensor]]:
        """Split and row numbers to fit on, to choose on and to report on; the first in random order."""
        generator = torch.Generator().manual_seed(self.seed)
        train = torch.randperm(len(bank.labelled(Split.TRAIN)), generator=generator)
        if self.split is Split.TEST:
            choose_split, choose = Split.VALIDATION, torch.randperm(len(bank.labelled(Split.VALIDATION)), generator=generator)
        else:
            item = bank.labelled(Split.TRAIN).item.cpu()
            items = item.unique()
            kept_back = items[torch.randperm(len(items), generator=generator)[: max(1, len(items) // 10)]]
            aside = torch.isin(item[train], kept_back)
            choose_split, choose, train = Split.TRAIN, train[aside], train[~aside]
        report = torch.arange(len(bank.labelled(self.split)))
        if self.num_report is not None and self.num_report < len(report):
            report = torch.randperm(len(report), generator=generator)[: self.num_report].sort().values
        limited = [(Split.TRAIN, train[: self.num_train]), (choose_split, choose[: self.num_choose]), (self.split, report)]
        return [(split, picked.to(bank.device)) for split, picked in limited]

    def _batches(self, bank: EmbeddingBank, cells: list[Cell], rows: list[tuple[Split, Tensor]]) -> Iterator[tuple[Cell, ...]]:
        """Cells of one width, few enough for the memory."""
        num_rows = sum(len(picked) for _, picked in rows)
        for _, group in groupby(cells, key=lambda cell: cell == FEATURES):
            alike = list(group)
            width = bank.embeddings(alike[0], self.split).shape[1]
            size = max(1, self.memory // (4 * num_rows * width))
            yield from (tuple(alike[start : start + size]) for start in range(0, len(alike), size))

    @staticmethod
    def _stack(bank: EmbeddingBank, cells: tuple[Cell, ...], split: Split, picked: Tensor, bits: int | None) -> Tensor:
        return torch.stack([bank.embeddings(cell, split, bits)[picked] for cell in cells])


def strongest_probe(bits: tuple[int | None, ...] = (None, 6, 4), cells: tuple[Cell, ...] | None = None) -> ReadoutProtocol:
    """`strongest-probe/1`: what the strongest probes read, at full and at finite precision.

    It takes seconds a cell: give it a few cells, such as the longest contexts.
    """
    return ReadoutProtocol(
        name=STRONGEST_PROBE, probes=(KernelRidge(), GradientBoosting()), bits=bits, cells=cells, num_report=4096
    )


def _picked(target: ProbeTarget, rows: Tensor) -> ProbeTarget:
    return ProbeTarget(target.name, target.values.to(rows.device)[rows], target.num_classes, target.group)
