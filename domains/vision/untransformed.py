"""Read-outs from items as they are, where a domain's labelled rows are transformed views of them.

Classes are reported on un-augmented images (protocol 5.2), parameters of augmentations on augmented views: two sets of rows
after the same contexts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from contextssl.adapter import DomainAdapter, LabelledData, Split
from contextssl.adapters.relabelled import RelabelledDomain
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.evaluation.results import Result

UNTRANSFORMED = "untransformed-probe/1"


@runtime_checkable
class HasUntransformed(Protocol):
    """An adapter that can also show its items as they are."""

    def untransformed(self, split: Split) -> LabelledData:
        """The items of a split, each once, with their targets."""
        ...


class UntransformedItems(RelabelledDomain):
    """The same domain, the same contexts; labelled rows are the items as they are, targets are `untransformed_<target>`.

    Args:
        domain: an adapter with `untransformed`.

    Raises:
        ValueError: for an adapter without it.
    """

    def __init__(self, domain: DomainAdapter) -> None:
        if not isinstance(domain, HasUntransformed):
            raise ValueError(
                f"{type(domain).__name__} has no untransformed items; leave this protocol out of evaluation.protocols"
            )
        super().__init__(domain)
        self._items = domain

    def labelled(self, split: Split) -> LabelledData:
        """The split's items as they are."""
        data = self._items.untransformed(split)
        return replace(data, targets=tuple(replace(target, name=f"untransformed_{target.name}") for target in data.targets))


@dataclass(frozen=True)
class UntransformedProtocol:
    """A read-out protocol asked about items as they are.

    `untransformed-probe/1`: as `attribute-probe/1`, but every row is an untransformed item, in training of the probe and in
    the report (protocol 5.2, 6.2, 6.7); contexts are those of the bank.

    Attributes:
        readout: targets, probes, cells and rows. Its targets are named `untransformed_<target>`.
    """

    readout: ReadoutProtocol = ReadoutProtocol(name=UNTRANSFORMED)

    def __call__(self, bank: EmbeddingBank) -> Iterator[Result]:
        """One result for each cell, target, probe and metric."""
        return self.readout(untransformed_bank(bank))


def untransformed_bank(bank: EmbeddingBank) -> EmbeddingBank:
    """A bank of the same method after the same contexts, over the items as they are."""
    return bank.over(UntransformedItems(bank.adapter))
