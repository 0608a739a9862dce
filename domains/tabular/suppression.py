"""What may be reported of people who agreed to research and not to publication: nothing that rests on a few of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from contextssl.adapter import Split
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.evaluation.results import Result
from domains.tabular.fairness import GroupFairness


@dataclass(frozen=True)
class Suppressed:
    """A protocol without the rows of yes-or-no targets that few of the reported people have, or few have not.

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
        rare = self._rare(bank)
        yield from (result for result in self.protocol(bank) if result.target not in rare)

    def _rare(self, bank: EmbeddingBank) -> set[str]:
        readout = self.protocol if isinstance(self.protocol, ReadoutProtocol) else self.protocol.readout
        targets = bank.labelled(Split(readout.split)).targets
        counted = [target for target in targets if target.num_classes == 2]
        return {target.name for target in counted if int(torch.bincount(target.values, minlength=2).min()) < self.smallest}
