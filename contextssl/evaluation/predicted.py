"""What can be read from the predicted embedding of a view under an action (z^r; protocol 6.2 and 6.3)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from torch import Tensor

from contextssl.adapter import ProbeTarget, Split
from contextssl.evaluation.cells import CellFilter, Cells
from contextssl.evaluation.controls import Control
from contextssl.evaluation.embeddings import Cell, EmbeddingBank
from contextssl.evaluation.probe import Probe
from contextssl.evaluation.protocols import STANDARD_PROBES
from contextssl.evaluation.readouts import PairReadoutBase, Sample, picked

PREDICTED_PROBE = "predicted-probe/1"


@dataclass(frozen=True)
class PredictedProtocol(PairReadoutBase):
    """Targets of single views, read from (x, action from x to y) after the context: did the prediction move?

    `predicted-probe/1`:
    *split and sampling*: those of `relative-r2/1`, ordered pairs of two different views of an item.
    *inputs*: unit-norm embeddings of queries (x, action), the action told as the cell's environment says; after no
    context (`EMPTY`) all of it. Encoder features have no such query and are left out.
    *targets*: the adapter's own, as `predicted_<target>`. Groups that the query is told are those of y, groups it is not
    told those of x (protocol 6.3); what belongs to no group, such as a class, is x's.
    *probes and metric*: those of `attribute-probe/1`.

    Attributes:
        targets: their names, all when None.
    """

    name: str = PREDICTED_PROBE
    probes: tuple[Probe, ...] = STANDARD_PROBES
    cells: Cells = CellFilter(controls=(Control.TRUE, Control.EMPTY))
    targets: tuple[str, ...] | None = None

    def alike(self, bank: EmbeddingBank, cell: Cell) -> Hashable:
        """Cells told the same, for which the same targets move."""
        return bank.conditioned(cell).environment

    def inputs(self, bank: EmbeddingBank, cell: Cell, sample: Sample, bits: int | None) -> Tensor:
        """[N, E] predicted embeddings of y."""
        return bank.predictions(cell, sample.split, sample.rows, bits)

    def truth(self, bank: EmbeddingBank, cell: Cell, sample: Sample) -> tuple[ProbeTarget, ...]:
        """Told groups of y, all else of x."""
        data, told = bank.labelled(sample.split), bank.conditioned(cell).environment.groups
        names = self.targets or tuple(target.name for target in bank.labelled(Split.TRAIN).targets)
        x, y = sample.rows.unbind(1)
        found = [picked(target, y if target.group in told else x) for target in map(data.target, names)]
        return tuple(replace(target, name=f"predicted_{target.name}") for target in found)
