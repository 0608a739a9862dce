"""The paper's main table: the transformation between two views, read from both of their embeddings (protocol 6.4)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from contextssl.adapter import ProbeTarget
from contextssl.adapters import relative_action
from contextssl.evaluation.embeddings import Cell, EmbeddingBank
from contextssl.evaluation.probe import LinearProbe, MLPProbe, Probe
from contextssl.evaluation.readouts import PairReadoutBase, Sample

RELATIVE_R2 = "relative-r2/1"

RELATIVE_PROBES: tuple[Probe, ...] = (
    LinearProbe(),
    LinearProbe(standardised=True),
    MLPProbe(),
    MLPProbe(standardised=True),
)


@dataclass(frozen=True)
class RelativeProtocol(PairReadoutBase):
    """Relative actions of pairs of views, from the two embeddings side by side.

    `relative-r2/1`:
    *split*: fit on training items, choose on validation items, report on `split`.
    *sampling*: ordered pairs of two different views of an item, drawn once: 24 of each item to fit on, up to 50,000; 24 to
    choose on, up to 2,048; 8 to report. The paper draws one pair of each training item anew in each of 200 epochs, and
    reports one pair of each test item; more reported pairs only make the number steadier.
    *inputs*: each view is asked by itself, as (view, no action), after the context; the two unit-norm embeddings are
    concatenated, [N, 2E]; raw features in the cell of features.
    *targets*: the action of each group, `relative_<group>`, from the latents of both views by the group's kind
    (`contextssl.adapters.relative_action`); the quaternion's sign stays as it comes.
    *probes*: every group is read by raw and by standardised linear and MLP probes. The paper reads quaternions with an
    MLP of width 1024-1024 and all else linearly, both by Adam at a constant rate of 1e-3 with the last weights kept:
    `ReleasedProbe`, with `groups` to say which probe reads what (configs/evaluation/iebench_reference.yaml).
    *metric*: the three R2 of protocol 6.1 with the floor of a constant predictor; published numbers are `r2_pooled`,
    whose floor on relative quaternions is .229.

    Attributes:
        groups: names of groups, all when None.
    """

    name: str = RELATIVE_R2
    probes: tuple[Probe, ...] = RELATIVE_PROBES
    groups: tuple[str, ...] | None = None

    def inputs(self, bank: EmbeddingBank, cell: Cell, sample: Sample, bits: int | None) -> Tensor:
        """[N, 2E] embeddings of x and y."""
        return bank.embeddings(cell, sample.split, bits)[sample.rows].flatten(1)

    def truth(self, bank: EmbeddingBank, cell: Cell, sample: Sample) -> tuple[ProbeTarget, ...]:
        """The action of each group, from x to y."""
        actions = bank.adapter.actions
        latent = bank.labelled(sample.split).latent.to(sample.rows.device)[sample.rows]
        action = relative_action(actions, latent[:, 0], latent[:, 1]).float()
        names = self.groups or actions.names
        return tuple(ProbeTarget(f"relative_{name}", action[:, actions.action_slice(name)], group=name) for name in names)
