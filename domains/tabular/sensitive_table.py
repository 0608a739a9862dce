"""A table whose items are rows and whose transformations are changes of sensitive attributes (protocol 5.4).

What UCI Adult, clinical tables and a user's own table share. N rows, T pairs, D input columns, K sensitive attributes,
M targets that contexts can tell as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.adapters import trajectory
from contextssl.batch import Transitions, stack
from domains.tabular.encoders import TabularEncoder
from domains.tabular.preprocessing import MISSING, Categorical, Numeric, TablePreprocessor, TableSchema
from domains.tabular.samplers import FittedSampler, Matched, Pairs, PairSampler, Table, attribute_cell

Latents = npt.NDArray[np.float32]
NUM_MEASURED = 4096  # training pairs that the scales of actions and latents are measured on


class ActionCode(StrEnum):
    """How a pair's action is written, two numbers per group; (0, 0) always means "not told"."""

    TARGET = "target"  # the value of y: (s_y, 1 - s_y)
    RELATIVE = "relative"  # what happens to x: unchanged (1, 0), flipped (0, 1)

    @property
    def units(self) -> str:
        """What the two numbers mean."""
        return "one-hot of y's value (1, 0)" if self is ActionCode.TARGET else "one-hot (unchanged, flipped)"

    def write(self, latent_x: npt.NDArray[np.generic], latent_y: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """[..., G] latents of x and y, each 0 or 1 -> [..., 2G] actions."""
        first = latent_y == 1 if self is ActionCode.TARGET else latent_y == latent_x
        return np.stack([first, ~first], axis=-1).reshape(*first.shape[:-1], -1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class SensitiveAttribute:
    """An input column of two categories: its latent is 0 for the first of `values` and 1 for the second."""

    name: str
    values: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """A column of classes that is predicted and is no input; `classes` in the order of their numbers."""

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableSequences:
    """Training sequences; item i is a function of (seed, i). One pass shows about as many pairs as there are rows."""

    adapter: SensitiveTable
    length: int
    seed: int

    def __len__(self) -> int:
        return max(1, len(self.adapter.table(Split.TRAIN)) // self.length)

    def __getitem__(self, index: int) -> Transitions:
        return self.adapter.sequence(Split.TRAIN, self.length, np.random.default_rng((self.seed, 0, index)))


class SensitiveTable(DomainAdapter):
    """Rows as items; a change of a sensitive attribute as the transformation, one group for each attribute.

    Two action numbers for each group, as `action_code` says. The rows keep their sensitive columns. Probe targets:
    `targets`, and each attribute. A target can be a group as well: a context that tells it says what embeddings are for,
    in the labels of its pairs. The latent holds the attributes, then those targets.

    Args:
        frames: rows of each split before preprocessing; without validation rows that split is left out. The index
            is the item: row numbers that no two splits share.
        schema: the input columns; its sensitive ones are those of `attributes`, in the same order, each a
            `Categorical` whose categories are the attribute's values.
        attributes: the sensitive attributes.
        targets: what else is read out.
        pairs: how partners are drawn; `Matched` on all columns that are not sensitive when None.
        action_code: how actions are written.
        encoder: from the input width to a fresh encoder.
        balance_sensitive: draw x evenly over the combinations of sensitive values, not evenly over rows.
        trajectories: whether every sequence shows one row and then partners of it (for seq-JEPA).
        told_targets: targets of two classes that are groups as well; latent 1 is the second class.
        comparable: the rows as samplers compare them, with a default index; `comparable_columns` when None.
        item: a column of whole numbers that tells whose row it is, where several rows are of one person.
        manifest: what is to be said of the data: name, source, whether they stand in for others.

    Raises:
        ValueError: when these disagree, for a told target that is none of `targets` or has not two classes, for a split
            without one of an attribute's values, for a constant target, and for cells that the schema does not allow (`TablePreprocessor`).
    """

    def __init__(
        self, frames: Mapping[Split, pd.DataFrame], schema: TableSchema, *, attributes: Sequence[SensitiveAttribute],
        targets: Sequence[Target], pairs: PairSampler | None = None, action_code: ActionCode | str = ActionCode.TARGET,
        encoder: Callable[[int], nn.Module] = TabularEncoder, balance_sensitive: bool = False, trajectories: bool = False,
        told_targets: Sequence[str] = (), comparable: Callable[[pd.DataFrame], pd.DataFrame] | None = None, item: str | None = None,
        manifest: Mapping[str, object],
    ) -> None:  # fmt: skip
        self.attributes, self.targets = tuple(attributes), tuple(targets)
        self.sensitive = tuple(attribute.name for attribute in self.attributes)
        self.sampler = Matched(columns=None) if pairs is None else pairs
        self.action_code = ActionCode(action_code)
        self.balance_sensitive, self.trajectories = balance_sensitive, trajectories
        self._encoder, self._comparable, self._item = encoder, comparable, item
        _check_schema(schema, self.attributes, self.targets)
        self.told_targets = tuple(_told_target(name, self.targets) for name in told_targets)
        self._frames = {split: frames[split] for split in Split if split in frames}
        self._check_frames()
        self.preprocessor = TablePreprocessor(schema).fit(self._frames[Split.TRAIN])
        self._inputs = {split: self.preprocessor.transform(frame) for split, frame in self._frames.items()}
        self._fitted: dict[Split, FittedSampler] = {}
        groups = [Group(name, 2, 1, Kind.SWITCH, self.action_code.units) for name in (*self.sensitive, *told_targets)]
        sample = self.draw(Split.TRAIN, NUM_MEASURED, np.random.default_rng((0, len(Split))))
        self.actions = ActionSpace(groups).measured(sample.action, sample.latent)
        self.manifest = dict(manifest) | self._description()

    def build_encoder(self) -> nn.Module:
        """A fresh encoder of the preprocessed rows."""
        return self._encoder(self._inputs[Split.TRAIN].shape[1])

    def train_sequences(self, length: int, seed: int) -> TableSequences:
        """Sequences of pairs of training rows."""
        return TableSequences(self, length, seed)

    def held_out(self, length: int, count: int, seed: int, split: Split = Split.TRAIN) -> Transitions:
        """`count` sequences of pairs drawn from the split's rows, partners and corruption included."""
        stream = 1 + list(Split).index(Split(split))
        return stack([self.sequence(split, length, np.random.default_rng((seed, stream, index))) for index in range(count)])

    def labelled(self, split: Split) -> LabelledData:
        """Every row of the split, uncorrupted, with the targets and the sensitive attributes."""
        frame = self.raw(split)
        latent = self._latents[Split(split)]
        others = [ProbeTarget(t.name, torch.from_numpy(_labels(frame, t)), len(t.classes)) for t in self.targets]
        attributes = [ProbeTarget(name, torch.from_numpy(latent[:, k].copy()), 2, name) for k, name in enumerate(self.sensitive)]
        rows = frame.index if self._item is None else frame[self._item]
        item = torch.from_numpy(rows.to_numpy(dtype=np.int64, copy=True))
        return LabelledData(self._inputs[Split(split)], item, torch.from_numpy(latent).float(), (*others, *attributes))

    def raw(self, split: Split) -> pd.DataFrame:
        """The split's rows before preprocessing."""
        if Split(split) not in self._frames:
            raise ValueError(f"there are no {split} rows: this table was given with {', '.join(self._frames)} rows only")
        return self._frames[Split(split)]

    def table(self, split: Split) -> Table:
        """The split's rows as the pair samplers see them."""
        return self._tables[Split(split)]

    def draw(self, split: Split, length: int, rng: np.random.Generator) -> Transitions:
        """One sequence of `length` pairs of the split's rows, with no randomness but rng's."""
        rows = self._draw_rows(split, length, rng)
        pairs = self._sampler(split).draw(rows, rng)
        latent_x, latent_y = self._pair_latents(split, rows, pairs)
        latent = np.stack([latent_x, latent_y], axis=1)
        as_batch: Callable[[npt.NDArray[np.float32]], Tensor] = lambda array: torch.from_numpy(array)[None]  # noqa: E731
        action = self.action_code.write(latent_x, latent_y)
        return Transitions(as_batch(pairs.x), as_batch(action), as_batch(pairs.y), as_batch(latent))

    def sequence(self, split: Split, length: int, rng: np.random.Generator) -> Transitions:
        """What `draw` gives; or one row x and as many partners y of it as are needed, one after the other (`trajectories`)."""
        if not self.trajectories:
            return self.draw(split, length, rng)
        rows = np.repeat(self._draw_rows(split, 1, rng), max(1, length))
        pairs = self._sampler(split).draw(rows, rng)
        latent_x, latent_y = self._pair_latents(split, rows, pairs)
        views, values = np.concatenate([pairs.x[:1], pairs.y]), np.concatenate([latent_x[:1], latent_y])
        latent = torch.from_numpy(values[: length + 1])
        write = lambda x, y: torch.from_numpy(self.action_code.write(x.numpy(), y.numpy()))  # noqa: E731
        return trajectory(torch.from_numpy(views[: length + 1]), latent, write)

    def _pair_latents(self, split: Split, rows: npt.NDArray[np.int64], pairs: Pairs) -> tuple[Latents, Latents]:
        """[T, K + M] of x and of y: the attributes that were drawn, and the labels of the rows behind them."""
        labels = self._latents[Split(split)][:, len(self.sensitive) :]
        sides = ((pairs.sensitive_x, labels[rows]), (pairs.sensitive_y, labels[pairs.rows_y]))
        latent_x, latent_y = (np.concatenate(side, axis=1).astype(np.float32) for side in sides)
        return latent_x, latent_y

    def _sampler(self, split: Split) -> FittedSampler:
        if split not in self._fitted:
            self._fitted[split] = self.sampler.fit(self.table(split))
        return self._fitted[split]

    def _draw_rows(self, split: Split, length: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        if not self.balance_sensitive:
            return rng.integers(len(self.table(split)), size=length)
        cells = self._cells[split]
        chosen = rng.integers(len(cells), size=length)
        place = rng.random(length)
        return np.array([cells[c][int(p * len(cells[c]))] for c, p in zip(chosen, place, strict=True)], dtype=np.int64)

    @cached_property
    def _tables(self) -> dict[Split, Table]:
        blocks, schema = self.preprocessor.blocks, self.preprocessor.schema
        compared = self._comparable or (lambda frame: comparable_columns(frame, schema))
        return {
            split: Table(
                self._inputs[split].numpy(), blocks, self._sensitive_values(frame), self.sensitive, compared(frame)
            )
            for split, frame in self._frames.items()
        }  # fmt: skip

    @cached_property
    def _latents(self) -> dict[Split, npt.NDArray[np.int64]]:
        """Per split, [N, K + M] the attributes of its rows, and their classes of the told targets."""
        return {
            split: np.column_stack([self._sensitive_values(frame), *(_labels(frame, target) for target in self.told_targets)])
            for split, frame in self._frames.items()
        }

    @cached_property
    def _cells(self) -> dict[Split, list[npt.NDArray[np.int64]]]:
        """Per split, the rows of each combination of sensitive values."""
        cells = {split: attribute_cell(table.sensitive) for split, table in self._tables.items()}
        return {split: [np.flatnonzero(cell == value) for value in np.unique(cell)] for split, cell in cells.items()}

    def _sensitive_values(self, frame: pd.DataFrame) -> npt.NDArray[np.int64]:
        """[N, K] which of its two values each attribute has."""
        return np.stack([(frame[a.name] == a.values[1]).to_numpy(dtype=np.int64) for a in self.attributes], axis=1)

    def _check_frames(self) -> None:
        if absent := [str(split) for split in (Split.TRAIN, Split.TEST) if split not in self._frames]:
            raise ValueError(f"there are no {absent[0]} rows; a table needs rows to train on and rows to report on")
        for split, frame in self._frames.items():
            for attribute in self.attributes:
                _check_groups(frame, attribute, split)
            for target in self.targets:
                # Only training and test rows need every kind of row: nothing is scored on validation rows alone.
                if len(np.unique(_labels(frame, target))) < 2 and split is not Split.VALIDATION:
                    raise ValueError(
                        f"target {target.name!r} has one value only in the {split} split ({len(frame):,} rows): nothing can be "
                        "learnt about it; leave it out or split the rows otherwise"
                    )

    def _description(self) -> dict[str, object]:
        """What is measured on the rows, for the manifest."""
        majority = {}
        for split in self._frames:
            for target in self.labelled(split).targets:
                majority[f"{split}/{target.name}"] = round(torch.bincount(target.values).max().item() / len(target.values), 4)
        return {
            "rows": {str(split): len(frame) for split, frame in self._frames.items()},
            "input_dim": self._inputs[Split.TRAIN].shape[1],
            "sensitive": list(self.sensitive),
            "pairs": repr(self.sampler),
            "action_code": str(self.action_code),
            "majority_rate": majority,
        } | ({"told_targets": [target.name for target in self.told_targets]} if self.told_targets else {})


def comparable_columns(frame: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """The input columns as distances compare them: numbers on the schema's scale, missing ones at the median, and strings."""

    def compared(column: Numeric | Categorical) -> pd.Series:
        cells = frame[column.name]
        if isinstance(column, Categorical):
            return cells.astype(object).where(cells.notna(), MISSING).astype(str)
        numbers = cells.astype(float)
        scaled = pd.Series(np.log1p(numbers), index=cells.index) if column.log1p else numbers
        return scaled.fillna(scaled.median())

    return pd.DataFrame({column.name: compared(column) for column in schema.columns}, index=frame.index).reset_index(drop=True)


def _labels(frame: pd.DataFrame, target: Target) -> npt.NDArray[np.int64]:
    """[N] class numbers; ValueError for a cell that is none of the classes."""
    cells = frame[target.name].astype(str)
    labels = pd.Index(target.classes).get_indexer(pd.Index(cells))
    if (wrong := np.flatnonzero(labels < 0)).size:
        raise ValueError(f"target {target.name!r}: {cells.iloc[wrong[0]]!r} is none of the classes {list(target.classes)}")
    return labels.astype(np.int64)


def _told_target(name: str, targets: Sequence[Target]) -> Target:
    found = next((target for target in targets if target.name == name), None)
    if found is None or len(found.classes) != 2:
        why = "is no target" if found is None else f"has the classes {list(found.classes)}"
        raise ValueError(
            f"told_targets: {name!r} {why}; name targets of two classes: {[t.name for t in targets if len(t.classes) == 2]}"
        )
    return found


def _check_groups(frame: pd.DataFrame, attribute: SensitiveAttribute, split: Split) -> None:
    counts = frame[attribute.name].value_counts()
    if strange := sorted(set(counts.index) - set(attribute.values)):
        raise ValueError(f"sensitive attribute {attribute.name!r}: {strange[0]!r} is none of its values {list(attribute.values)}")
    for value in attribute.values:
        if not counts.get(value, 0):
            raise ValueError(
                f"sensitive attribute {attribute.name!r}: the {split} split has no row with {value!r} ({len(frame):,} rows); "
                "give more rows or split them otherwise"
            )


def _check_schema(schema: TableSchema, attributes: Sequence[SensitiveAttribute], targets: Sequence[Target]) -> None:
    names = [attribute.name for attribute in attributes]
    if not attributes or list(schema.sensitive) != names:
        raise ValueError(f"expected one or more attributes that are the schema's {list(schema.sensitive)}, found {names}")
    declared = {column.name: column.categories for column in schema.columns if isinstance(column, Categorical)}
    for attribute in attributes:
        if declared[attribute.name] != attribute.values:
            raise ValueError(
                f"sensitive column {attribute.name!r}: the schema must declare the categories {list(attribute.values)}, "
                f"found {declared[attribute.name]}"
            )
    read = [target.name for target in targets]
    if mixed := [name for name in read if name in schema.names]:
        raise ValueError(f"{mixed[0]!r} is both an input and a target; leave it out of the input columns")
    if len(set(read)) < len(read):
        raise ValueError(f"target names must be distinct, found {read}")
