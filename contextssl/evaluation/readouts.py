"""What all read-out protocols share: cells in batches, probes on them, metrics, rows of results.

C cells, N rows to fit on, M reported rows, K outputs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from contextssl.adapter import ProbeTarget, Split
from contextssl.evaluation.cells import Cells, chosen_cells
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
from contextssl.evaluation.pairs import draw_pairs
from contextssl.evaluation.probe import Labels, Parts, Probe
from contextssl.evaluation.results import Result
from contextssl.evaluation.row_intervals import (
    Bounds,
    accuracy_interval,
    auroc_interval,
    balanced_accuracy_interval,
)
from contextssl.seeding import generator

CLASS_METRICS: dict[str, Metric] = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}
VALUE_METRICS: dict[str, Metric] = {"r2_pooled": r2_pooled, "r2_dim_mean": r2_dim_mean, "r2_varw": r2_varw}


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

    def measurements(self, value_metrics: Mapping[str, Metric] = VALUE_METRICS) -> Iterator[tuple[str, Tensor, float]]:
        """Every metric's name, its values [C] and its floor."""
        truth, classes = self.target.values, self.target.num_classes
        for name, metric in (value_metrics if classes is None else CLASS_METRICS).items():
            yield name, metric(truth, self.predictions), constant_floor(self.fitted, truth, metric)
        if classes == 2:
            yield "auroc", auroc(truth, self.score), 0.5

    def bounds(self, metric: str) -> Bounds | None:
        """95 % bounds [C] of a metric over reported rows that are independent; None for metrics that have none."""
        if self.target.num_classes is None or metric not in ("accuracy", "balanced_accuracy", "auroc"):
            return None
        if metric == "auroc":
            return auroc_interval(self.target.values, self.score)
        interval = accuracy_interval if metric == "accuracy" else balanced_accuracy_interval
        return interval(self.target.values, self.predictions)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a probe is fitted on, chosen on or reported on.

    Attributes:
        split: where from.
        rows: [N] row numbers of the split, or [N, 2] of the two views of each pair.
    """

    split: Split
    rows: Tensor


Samples = tuple[Sample, Sample, Sample]
"""To fit on, in random order; to choose on; to report on."""


@dataclass(frozen=True)
class ReadoutBase(ABC):
    """Every target, read by every probe, in every cell. Fit on train, choose on validation, report on `split`.

    With `split` validation, for choosing recipes without looking at the test split, a tenth of the training items
    takes the place of validation. Cells of a batch are read together; no probe calls the encoder.

    Attributes:
        name: protocol id and version.
        probes: what reads.
        split: what to report on.
        bits: precisions of the embeddings, None for float32. Features are never quantised.
        cells: which cells, the bank's own when None.
        seed: of all draws of rows and pairs.
        memory: bytes of embeddings that the probes of one batch of cells may hold.
    """

    name: str
    probes: tuple[Probe, ...]
    split: Split = Split.TEST
    bits: tuple[int | None, ...] = (None,)
    cells: Cells = None
    seed: int = 0
    memory: int = 2**30

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", Split(self.split))  # configs give it as a word

    @abstractmethod
    def samples(self, bank: EmbeddingBank) -> Samples:
        """Which rows or pairs, on the bank's device."""

    @abstractmethod
    def inputs(self, bank: EmbeddingBank, cell: Cell, sample: Sample, bits: int | None) -> Tensor:
        """[N, W] what the probes read."""

    @abstractmethod
    def truth(self, bank: EmbeddingBank, cell: Cell, sample: Sample) -> tuple[ProbeTarget, ...]:
        """What they read it for: targets with values [N] or [N, K] on the rows of the sample."""

    def alike(self, bank: EmbeddingBank, cell: Cell) -> Hashable:
        """What cells must share to be read together: width and targets."""
        return cell == FEATURES

    def independent(self, bank: EmbeddingBank) -> bool:
        """Whether no two reported rows are of one item, so that a number has an interval over rows."""
        del bank
        return False

    @property
    def value_metrics(self) -> Mapping[str, Metric]:
        """How targets that are values are scored."""
        return VALUE_METRICS

    def __call__(self, bank: EmbeddingBank) -> Iterator[Result]:
        """One result for each cell, target, probe and metric."""
        for readout in self.readouts(bank):
            yield from self.results(bank, readout)

    def results(self, bank: EmbeddingBank, readout: Readout) -> Iterator[Result]:
        """The readout's metrics as rows, with intervals where reported rows are independent."""
        independent = self.independent(bank)
        for metric, values, floor in readout.measurements(self.value_metrics):
            bounds = readout.bounds(metric) if independent else None
            for place, (cell, value) in enumerate(zip(readout.cells, values.tolist(), strict=True)):
                row = cell_result(bank, cell, self.name, readout.target.name, readout.probe, metric, self.split, value, floor)
                low, high = (None, None) if bounds is None else (float(side[place]) for side in bounds)
                yield row if low is None or math.isnan(low) else replace(row, low=low, high=high)

    def readouts(self, bank: EmbeddingBank) -> Iterator[Readout]:
        """What every probe says, before any metric."""
        samples, chosen = self.samples(bank), chosen_cells(bank, self.cells)
        for bits in self.bits:
            cells = [cell for cell in chosen if bits is None or cell != FEATURES]
            for batch in self._batches(bank, cells, samples):
                parts = Parts(*(torch.stack([self.inputs(bank, cell, sample, bits) for cell in batch]) for sample in samples))
                yield from self._read(bank, batch, parts, samples, bits)

    def _read(
        self, bank: EmbeddingBank, batch: tuple[Cell, ...], parts: Parts, samples: Samples, bits: int | None
    ) -> Iterator[Readout]:
        targets = list(zip(*(self.truth(bank, batch[0], sample) for sample in samples), strict=True))
        labels = [Labels(fit.values, choose.values, fit.num_classes) for fit, choose, _ in targets]
        for probe in self.probes:
            name = probe.name if bits is None else f"{probe.name}-{bits}bit"
            for (fit, _, report), outputs in zip(targets, probe.outputs(parts, labels), strict=True):
                yield Readout(batch, report, name, outputs, fit.values)

    def _batches(self, bank: EmbeddingBank, cells: list[Cell], samples: Samples) -> Iterator[tuple[Cell, ...]]:
        """Cells that are alike, few enough for the memory."""
        num_rows = sum(len(sample.rows) for sample in samples)
        for _, group in groupby(cells, key=lambda cell: self.alike(bank, cell)):
            batch = list(group)
            one_row = Sample(samples[2].split, samples[2].rows[:1])
            width = self.inputs(bank, batch[0], one_row, None).shape[1]
            size = max(1, self.memory // (4 * num_rows * width))
            yield from (tuple(batch[start : start + size]) for start in range(0, len(batch), size))

    def _partition(self, bank: EmbeddingBank, draws: torch.Generator) -> tuple[Sample, Sample]:
        """All rows to fit on and to choose on, each in random order."""
        train = torch.randperm(len(bank.labelled(Split.TRAIN)), generator=draws)
        if self.split is Split.TEST:
            choose = torch.randperm(len(bank.labelled(Split.VALIDATION)), generator=draws)
            return Sample(Split.TRAIN, train), Sample(Split.VALIDATION, choose)
        item = bank.labelled(Split.TRAIN).item.cpu()
        items = item.unique()
        kept_back = items[torch.randperm(len(items), generator=draws)[: max(1, len(items) // 10)]]
        aside = torch.isin(item[train], kept_back)
        return Sample(Split.TRAIN, train[~aside]), Sample(Split.TRAIN, train[aside])


@dataclass(frozen=True)
class PairReadoutBase(ReadoutBase):
    """A read-out protocol over ordered pairs of two different views of one item, drawn at random.

    Attributes:
        pairs_per_item: pairs of each item to fit on and to choose on.
        report_pairs_per_item: pairs of each item to report on.
        num_train, num_choose: at most so many of these pairs; None for all.
    """

    pairs_per_item: int = 24
    report_pairs_per_item: int = 8
    num_train: int | None = 50_000
    num_choose: int | None = 2048

    def samples(self, bank: EmbeddingBank) -> Samples:
        """Pairs of views of the items of each part."""
        fit, choose = self._partition(bank, generator(self.seed, "pair-items"))
        report = Sample(self.split, torch.arange(len(bank.labelled(self.split))))
        return (
            self._paired(bank, fit, "fit", self.pairs_per_item, self.num_train),
            self._paired(bank, choose, "choose", self.pairs_per_item, self.num_choose),
            self._paired(bank, report, "report", self.report_pairs_per_item, None),
        )

    def _paired(self, bank: EmbeddingBank, sample: Sample, part: str, per_item: int, most: int | None) -> Sample:
        rows = sample.rows.sort().values
        pairs = draw_pairs(bank.labelled(sample.split).item.cpu()[rows], per_item, generator(self.seed, f"pairs/{part}"))
        return Sample(sample.split, rows[pairs[:most]].to(bank.device))


def picked(target: ProbeTarget, rows: Tensor) -> ProbeTarget:
    """The target's values on the rows, on the rows' device."""
    return ProbeTarget(target.name, target.values.to(rows.device)[rows], target.num_classes, target.group)


def cell_result(
    bank: EmbeddingBank, cell: Cell, protocol: str, target: str, probe: str, metric: str, split: Split, value: float,
    floor: float | None,
) -> Result:  # fmt: skip
    """A row of results for a number measured in a cell."""
    return Result(
        protocol=protocol,
        target=target,
        probe=probe,
        metric=metric,
        environment=cell.environment,
        control=str(cell.control),
        context_length=cell.length,
        context_draw=cell.draw,
        seed=bank.training_seed,
        split=str(split),
        value=value,
        floor=floor,
        method=bank.method_name,
    )
