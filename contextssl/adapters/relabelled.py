"""The same domain with other labelled rows: what protocols need that ask about items in another form."""

from __future__ import annotations

from torch import nn

from contextssl.adapter import DomainAdapter, Sequences, Split
from contextssl.batch import Transitions


class RelabelledDomain(DomainAdapter):
    """A domain's actions, encoder, training sequences and contexts; subclasses say what `labelled` is.

    Args:
        domain: the adapter that everything else comes from.
    """

    def __init__(self, domain: DomainAdapter) -> None:
        self._domain = domain
        self.actions, self.manifest, self.trajectories = domain.actions, domain.manifest, domain.trajectories

    def build_encoder(self) -> nn.Module:
        """The domain's."""
        return self._domain.build_encoder()

    def train_sequences(self, length: int, seed: int) -> Sequences:
        """The domain's."""
        return self._domain.train_sequences(length, seed)

    def held_out(self, length: int, count: int, seed: int, split: Split = Split.TRAIN) -> Transitions:
        """The domain's."""
        return self._domain.held_out(length, count, seed, split)
