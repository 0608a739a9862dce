"""What can be read from the aggregate of several views of an item (seq-JEPA's invariant representation; protocol 7.7, 10.7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from contextssl.adapter import ProbeTarget
from contextssl.adapters.relative import relative_action
from contextssl.evaluation.cells import Cells
from contextssl.evaluation.embeddings import FEATURES, Cell, EmbeddingBank
from contextssl.evaluation.pairs import draw_views
from contextssl.evaluation.probe import LinearProbe, Probe
from contextssl.evaluation.readouts import Readout, ReadoutBase, Sample, Samples, picked
from contextssl.seeding import generator

AGGREGATE_PROBE = "aggregate-probe/1"


@runtime_checkable
class Aggregates(Protocol):
    """A method that makes one vector of several observations of an item."""

    def aggregate_features(self, features: Tensor, action: Tensor) -> Tensor:
        """[N, M, D] features of observations and the actions between them [N, M - 1, A] -> [N, W]."""
        ...


@dataclass(frozen=True)
class AggregateProtocol(ReadoutBase):
    """Targets of items, read from the aggregate of `num_views` different views of each and the actions between them.

    `aggregate-probe/1`:
    *split*: fit on training items, choose on validation items, report on `split`.
    *sampling*: ordered rows of `num_views` different views of an item, drawn once: 8 of each item to fit on, up to 50,000;
    8 to choose on, up to 2,048; 4 to report. Aggregates of other numbers of views are other rows of the same items. The
    paper draws views anew in each of 300 epochs.
    *inputs*: aggregates [N, W] of the views' features and of their relative actions from the latents of both views
    (`contextssl.adapters.relative_action`). One view is its aggregate without any action.
    *targets*: what belongs to no group, such as a class, as `<target>_from_<num_views>_views`.
    *probes and metric*: linear probes, raw and standardised, those of `attribute-probe/1`.
    Methods that aggregate nothing have no rows.

    Attributes:
        num_views: M, views in an aggregate.
        targets: their names; all that belong to no group when None.
        draws_per_item: draws of views of each item to fit on and to choose on.
        report_draws_per_item: draws of each item to report on.
        num_train, num_choose: at most so many of these draws; None for all.

    Raises:
        ValueError: when an item has fewer than `num_views` views.
    """

    name: str = AGGREGATE_PROBE
    probes: tuple[Probe, ...] = (LinearProbe(), LinearProbe(standardised=True))
    cells: Cells = (FEATURES,)
    num_views: int = 1
    targets: tuple[str, ...] | None = None
    draws_per_item: int = 8
    report_draws_per_item: int = 4
    num_train: int | None = 50_000
    num_choose: int | None = 2048

    def readouts(self, bank: EmbeddingBank) -> Iterator[Readout]:
        """What every probe says; nothing for a method without aggregates."""
        if isinstance(bank.method, Aggregates):
            yield from super().readouts(bank)

    def samples(self, bank: EmbeddingBank) -> Samples:
        """Draws of views of the items of each part."""
        fit, choose = self._partition(bank, generator(self.seed, "aggregate-items"))
        report = Sample(self.split, torch.arange(len(bank.labelled(self.split))))
        return (
            self._drawn(bank, fit, "fit", self.draws_per_item, self.num_train),
            self._drawn(bank, choose, "choose", self.draws_per_item, self.num_choose),
            self._drawn(bank, report, "report", self.report_draws_per_item, None),
        )

    def inputs(self, bank: EmbeddingBank, cell: Cell, sample: Sample, bits: int | None) -> Tensor:
        """[N, W] aggregates of the views of each row."""
        method, actions = bank.method, bank.adapter.actions
        assert isinstance(method, Aggregates)
        features, latent = bank.features(sample.split), bank.labelled(sample.split).latent.to(bank.device)

        def aggregate(rows: Tensor) -> Tensor:
            action = relative_action(actions, latent[rows[:, :-1]], latent[rows[:, 1:]]).float()
            return method.aggregate_features(features[rows], action)

        return bank.in_pieces(aggregate, sample.rows, bank.batch_size)

    def truth(self, bank: EmbeddingBank, cell: Cell, sample: Sample) -> tuple[ProbeTarget, ...]:
        """The items' targets, those of the first view."""
        data = bank.labelled(sample.split)
        names = self.targets or tuple(target.name for target in data.targets if target.group is None)
        suffix = f"from_{self.num_views}_view{'s' * (self.num_views > 1)}"
        found = [picked(data.target(name), sample.rows[:, 0]) for name in names]
        return tuple(replace(target, name=f"{target.name}_{suffix}") for target in found)

    def _drawn(self, bank: EmbeddingBank, sample: Sample, part: str, per_item: int, most: int | None) -> Sample:
        rows = sample.rows.sort().values
        item, draws = bank.labelled(sample.split).item.cpu()[rows], generator(self.seed, f"aggregates/{part}")
        return Sample(sample.split, rows[draw_views(item, self.num_views, per_item, draws)[:most]].to(bank.device))
