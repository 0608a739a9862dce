"""Group fairness of whatever a table predicts, by whatever it holds for sensitive: no names in the configuration."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from contextssl.adapter import LabelledData, ProbeTarget
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.evaluation.results import Result
from domains.tabular.fairness import GroupFairness

LOG = logging.getLogger("contextssl")


@dataclass(frozen=True)
class TableFairness:
    """`group-fairness/1` of each target of two classes, for each sensitive attribute of the domain.

    A pair of which some group has no row of some class has no rates to compare: it is left out, and said.

    Attributes:
        readout: which probes read the targets; its own list of targets is not used.
        num_resamples: of the bootstrap.
    """

    readout: ReadoutProtocol = ReadoutProtocol()
    num_resamples: int = 1000

    def __call__(self, bank: EmbeddingBank) -> Iterator[Result]:
        """The rows of every target in turn."""
        data = bank.labelled(self.readout.split)
        for target in data.targets:
            if target.group is None and target.num_classes == 2 and (sensitive := _comparable(data, target)):
                yield from GroupFairness(target.name, sensitive, self.readout, self.num_resamples)(bank)


def _comparable(data: LabelledData, target: ProbeTarget) -> tuple[str, ...]:
    """The sensitive attributes whose groups all have rows of both classes."""
    found = []
    for attribute in data.targets:
        if attribute.group is None or attribute.num_classes is None:
            continue
        cells = torch.bincount(attribute.values.cpu() * 2 + target.values.cpu(), minlength=2 * attribute.num_classes)
        if cells.all():
            found.append(attribute.name)
        else:
            LOG.warning("fairness of %s by %s is left out: some group has rows of one class only", target.name, attribute.name)
    return tuple(found)
