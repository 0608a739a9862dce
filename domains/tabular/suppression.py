"""What may be reported of people who agreed to research and not to publication: nothing that rests on a few of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from contextssl.adapter import Split
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.evaluation.results import Result
from domains.tabular.fairness import GroupFairness

LOG = logging.getLogger("contextssl")


@dataclass(frozen=True)
class Suppressed:
    """A protocol without the rows of targets whose most frequent class few of the reported people have, or few have not.

    Accuracies and floors tell how many those are. Data that say of themselves that they stand in for others are
    reported whole.

    Attributes:
        protocol: what is measured.
        smallest: the smallest number of people of either class.
    """

    protocol: ReadoutProtocol | GroupFairness
    smallest: int = 10

    def __call__(self, bank: EmbeddingBank) -> Iterator[Result]:
        """The protocol's rows that may be reported."""
        if getattr(bank.adapter, "manifest", {}).get("stand_in"):
            yield from self.protocol(bank)
            return
        if rare := self._rare(bank):
            LOG.warning(
                "left out: %s; of the real people reported, fewer than %d have its most frequent value, or another one",
                ", ".join(sorted(rare)),
                self.smallest,
            )
        yield from (result for result in self.protocol(bank) if result.target not in rare)

    def _rare(self, bank: EmbeddingBank) -> set[str]:
        readout = self.protocol if isinstance(self.protocol, ReadoutProtocol) else self.protocol.readout
        targets = bank.labelled(Split(readout.split)).targets
        return {target.name for target in targets if target.num_classes and self._is_rare(torch.bincount(target.values))}

    def _is_rare(self, counts: Tensor) -> bool:
        """Of two classes, whether one is rare; of more, whether few are in the largest, which the floor counts, or outside it."""
        largest = int(counts.max())
        return min(largest, int(counts.sum()) - largest) < self.smallest
