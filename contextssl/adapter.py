"""The contract between a domain and the core: five members and a few plain records.

An adapter owns raw data, splits, transformations, the meaning of its actions, and its encoder. It does not own
batching, devices, losses, optimizers or metrics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from torch import Tensor, nn

from contextssl.actions import ActionSpace
from contextssl.batch import Transitions


class Split(StrEnum):
    """Fit on `train`, choose on `validation`, report on `test`."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Sequences(Protocol):
    """A deterministic source of sequences: item i depends on (seed, i) and on nothing else."""

    def __len__(self) -> int:
        """Number of sequences in one pass; indices beyond it go on with fresh draws."""
        ...

    def __getitem__(self, index: int) -> Transitions:
        """Sequence `index >= 0` as a batch of one, [1, T, ...]."""
        ...


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Something one may try to read out of a representation.

    Attributes:
        name: `income`, `rotation`...
        values: [N] int64 class labels when `num_classes` is given, else [N, K] float32 values.
        num_classes: number of classes, or None for a regression target.
        group: the ActionSpace group that this target measures, or None for what lies outside all groups.
    """

    name: str
    values: Tensor
    num_classes: int | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        if self.num_classes is None:
            if self.values.ndim != 2 or not self.values.is_floating_point():
                raise ValueError(
                    f"target {self.name!r}: expected float values [N, K], found {self.values.dtype} {list(self.values.shape)}"
                )
        elif self.values.ndim != 1 or self.values.is_floating_point():
            raise ValueError(
                f"target {self.name!r}: expected class labels [N], found {self.values.dtype} {list(self.values.shape)}"
            )
        elif len(self.values) and not 0 <= int(self.values.min()) <= int(self.values.max()) < self.num_classes:
            raise ValueError(f"target {self.name!r}: labels outside 0..{self.num_classes - 1}")


@dataclass(frozen=True, slots=True)
class LabelledData:
    """One split, item by item, for probes and retrieval.

    Attributes:
        inputs: [N, *input] items as the encoder takes them, untransformed where the domain has such a thing.
        item: [N] int64 identifier of the underlying item; rows that are views of one item share it. Identifiers
            are unique across splits, so that disjointness can be checked.
        latent: [N, L] individual transformation parameters of each row.
        targets: what may be read out, each with N rows.
    """

    inputs: Tensor
    item: Tensor
    latent: Tensor
    targets: tuple[ProbeTarget, ...]

    def __post_init__(self) -> None:
        rows = len(self.inputs)
        lengths = {"item": len(self.item), "latent": len(self.latent), **{t.name: len(t.values) for t in self.targets}}
        if wrong := {name: length for name, length in lengths.items() if length != rows}:
            raise ValueError(f"expected {rows} rows like inputs, found {wrong}")

    def __len__(self) -> int:
        return len(self.inputs)

    def target(self, name: str) -> ProbeTarget:
        """The target of that name; ValueError with the known names otherwise."""
        for target in self.targets:
            if target.name == name:
                return target
        raise ValueError(f"unknown target {name!r}: this data has {[target.name for target in self.targets]}")


class DomainAdapter(ABC):
    """A domain: its actions, its encoder, its data. All data are deterministic functions of the seed.

    `manifest` describes the data (source, digests, rows per split, whether anything stands in for real data) and is
    stored beside every number that comes from it. `trajectories` says that every sequence, of training and held out,
    shows one item: T transitions are T + 1 views of it, `next_state[:, t]` is `state[:, t + 1]`, latents alike.
    """

    actions: ActionSpace
    manifest: dict[str, object]
    trajectories: bool = False

    @abstractmethod
    def build_encoder(self) -> nn.Module:
        """A freshly initialised module that satisfies `contextssl.encoder.Encoder`."""

    @abstractmethod
    def train_sequences(self, length: int, seed: int) -> Sequences:
        """Training sequences of `length` transitions, from training items only."""

    @abstractmethod
    def held_out(self, length: int, count: int, seed: int, split: Split = Split.TRAIN) -> Transitions:
        """`count` sequences of `length` transitions drawn from `split`, for contexts and queries.

        Contexts come from training items by default, as in the paper's evaluation (protocol 6.0).
        """

    @abstractmethod
    def labelled(self, split: Split) -> LabelledData:
        """The items of a split with their targets."""
