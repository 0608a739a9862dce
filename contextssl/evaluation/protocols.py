"""Named, versioned protocols that read targets of single items out of a bank of embeddings.

A protocol's id changes its version whenever its numbers could change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from contextssl.actions import ActionSpace
from contextssl.adapter import LabelledData, ProbeTarget, Split
from contextssl.evaluation.cells import Cells
from contextssl.evaluation.embeddings import Cell, EmbeddingBank
from contextssl.evaluation.metrics import Metric, r2_max
from contextssl.evaluation.probe import LinearProbe, MLPProbe, NearestNeighbours, Probe
from contextssl.evaluation.readouts import VALUE_METRICS, Readout, ReadoutBase, Sample, Samples, picked
from contextssl.evaluation.strong import GradientBoosting, KernelRidge

__all__ = ["ATTRIBUTE_PROBE", "STANDARD_PROBES", "STRONGEST_PROBE", "Readout", "ReadoutProtocol", "strongest_probe"]

ATTRIBUTE_PROBE = "attribute-probe/1"
STRONGEST_PROBE = "strongest-probe/1"

STANDARD_PROBES: tuple[Probe, ...] = (
    LinearProbe(),
    LinearProbe(standardised=True),
    MLPProbe(),
    MLPProbe(standardised=True),
    NearestNeighbours(),
)


@dataclass(frozen=True)
class ReadoutProtocol(ReadoutBase):
    """Targets of single items: classification and individual latents (protocol 6.2, 6.3), from features and embeddings.

    `attribute-probe/1`: targets are attributes of single items. Logistic regression and ridge use up to 50,000
    training rows, MLP probes 8,192 rows and 20 epochs, neighbours 4,096; validation up to 2,048. All rows of the split
    are reported. Classes are scored by accuracy, balanced accuracy and, when there are two, AUROC, against a
    predictor of the most frequent class (0.5 for AUROC); values by the three R2 of protocol 6.1 against the mean. Where
    every item has one row, scores of classes come with 95 % intervals over rows (`contextssl.evaluation.row_intervals`).

    `strongest-probe/1`: whitened kernel ridge and boosting, on float32 and on quantised embeddings, reported on at
    most 4,096 rows; encoder features are left out.

    Attributes:
        targets: their names, all when None.
        functions: in place of a group's own parameters read all functions of them (`Group.functions`) where there are
            more, as target `<group>_functions`, scored by the best read one too (`r2_max`): an embedding is free of a
            group only when it is free of all of them.
        num_train, num_choose, num_report: at most so many rows, drawn at random; None for all.
    """

    name: str = ATTRIBUTE_PROBE
    probes: tuple[Probe, ...] = STANDARD_PROBES
    targets: tuple[str, ...] | None = None
    functions: bool = False
    num_train: int | None = 50_000
    num_choose: int | None = 2048
    num_report: int | None = None

    def samples(self, bank: EmbeddingBank) -> Samples:
        """Row numbers, the first ones of a random order."""
        draws = torch.Generator().manual_seed(self.seed)
        fit, choose = self._partition(bank, draws)
        report = torch.arange(len(bank.labelled(self.split)))
        if self.num_report is not None and self.num_report < len(report):
            report = torch.randperm(len(report), generator=draws)[: self.num_report].sort().values
        return (
            Sample(fit.split, fit.rows[: self.num_train].to(bank.device)),
            Sample(choose.split, choose.rows[: self.num_choose].to(bank.device)),
            Sample(self.split, report.to(bank.device)),
        )

    def inputs(self, bank: EmbeddingBank, cell: Cell, sample: Sample, bits: int | None) -> Tensor:
        """[N, E] embeddings, or features."""
        return bank.embeddings(cell, sample.split, bits)[sample.rows]

    def truth(self, bank: EmbeddingBank, cell: Cell, sample: Sample) -> tuple[ProbeTarget, ...]:
        """The adapter's own targets, or the functions of its groups."""
        data = bank.labelled(sample.split)
        names = self.targets or tuple(target.name for target in bank.labelled(Split.TRAIN).targets)
        found = [data.target(name) for name in names]
        if self.functions:
            found = [_functions(bank.adapter.actions, data, target) for target in found]
        return tuple(picked(target, sample.rows) for target in found)

    def independent(self, bank: EmbeddingBank) -> bool:
        """Whether every item has one reported row, as in tables."""
        item = bank.labelled(self.split).item
        return len(item.unique()) == len(item)

    @property
    def value_metrics(self) -> Mapping[str, Metric]:
        """The three R2; for functions the R2 of the best read one as well."""
        return VALUE_METRICS | {"r2_max": r2_max} if self.functions else VALUE_METRICS


def strongest_probe(
    bits: tuple[int | None, ...] = (None, 6, 4), cells: Cells = None, functions: bool = False, boosting: bool = True,
    num_train: int = 2048,
) -> ReadoutProtocol:  # fmt: skip
    """`strongest-probe/1`: what the strongest probes read, at full and at finite precision.

    It takes seconds a cell: give it a few cells, such as the longest contexts.

    Args:
        bits: precisions of the embeddings, None for float32.
        cells: which cells.
        functions: as in `ReadoutProtocol`; the kernel probe then chooses its settings for each function.
        boosting: whether to boost too, one model for each coordinate of a target.
        num_train: rows of the kernel; its time grows with their third power.
    """
    kernel: Probe = KernelRidge(num_train=num_train, by_coordinate=functions)
    probes = (kernel, GradientBoosting()) if boosting else (kernel,)
    return ReadoutProtocol(name=STRONGEST_PROBE, probes=probes, bits=bits, cells=cells, functions=functions, num_report=4096)


def _functions(actions: ActionSpace, data: LabelledData, target: ProbeTarget) -> ProbeTarget:
    """All functions of the target's group instead of the target, if there are more of them than parameters."""
    if target.group is None or (group := actions.group(target.group)).num_functions == group.latent_dim:
        return target
    latent = data.latent[:, actions.latent_slice(group.name)]
    return ProbeTarget(f"{group.name}_functions", group.functions(latent).float(), group=group.name)
