"""Pair samplers: from a row x to a partner row y whose sensitive attributes are drawn anew (protocol 5.4).

A sampler is a small frozen record of choices; `fit` looks at the rows of one split and returns the drawer of pairs.
All randomness comes from the generator passed to `draw`.

Letters: N rows of the table, T pairs drawn, D input columns, K sensitive attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import mutual_info_score

from domains.tabular.neighbours import distance_columns, nearest_rows

Rows = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """The rows of one split, as the samplers see them.

    Attributes:
        values: [N, D] preprocessed rows.
        blocks: source column -> its output columns.
        sensitive: [N, K] 0 or 1, the index of the category; a sensitive block is the one-hot of it.
        sensitive_names: the K source columns.
        frame: the N rows before preprocessing, for distances and mutual information. Numbers are compared on the
            scale they have here.
    """

    values: Rows
    blocks: Mapping[str, slice]
    sensitive: Integers
    sensitive_names: tuple[str, ...]
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def free_columns(self) -> tuple[str, ...]:
        """The source columns that are not sensitive, which corruption may replace."""
        return tuple(name for name in self.blocks if name not in self.sensitive_names)

    @cached_property
    def output_owner(self) -> Integers:
        """[D], position in `free_columns` of the source column an output column belongs to, -1 for sensitive ones."""
        owner = np.full(self.values.shape[1], -1, dtype=np.int64)
        for position, name in enumerate(self.free_columns):
            owner[self.blocks[name]] = position
        return owner

    def with_sensitive(self, rows: Rows, sensitive: Integers) -> Rows:
        """A copy of rows [T, D] whose sensitive blocks say `sensitive` [T, K]."""
        changed = rows.copy()
        for position, name in enumerate(self.sensitive_names):
            changed[:, self.blocks[name]] = np.eye(2, dtype=np.float32)[sensitive[:, position]]
        return changed

    def corrupted(self, rows: Rows, probability: float, rng: np.random.Generator) -> Rows:
        """Rows [T, D], each non-sensitive source column replaced with this probability by that of a random row.

        All output columns of a source column move together, so a corrupted row is one the schema could produce.
        """
        if probability == 0:
            return rows
        shape = (len(rows), len(self.free_columns))
        replaced, donors = rng.random(shape) < probability, rng.integers(len(self), size=shape)
        # Sensitive outputs have owner -1: they read some donor's choice here and are masked out below.
        outputs = np.arange(rows.shape[1])
        chosen = replaced[:, self.output_owner] & (self.output_owner >= 0)
        return np.where(chosen, self.values[donors[:, self.output_owner], outputs], rows)


@dataclass(frozen=True, slots=True)
class Pairs:
    """T drawn pairs: rows x and y [T, D], their sensitive attributes [T, K], and the table's row that y was made from [T]."""

    x: Rows
    y: Rows
    sensitive_x: Integers
    sensitive_y: Integers
    rows_y: Integers


class FittedSampler(Protocol):
    """Draws pairs from the table it was fitted on."""

    def draw(self, rows: Integers, rng: np.random.Generator) -> Pairs:
        """A partner for each of the T row indices."""
        ...


class PairSampler(Protocol):
    """The choices of a way to draw pairs."""

    def fit(self, table: Table) -> FittedSampler:
        """The same choices, ready to draw from this table."""
        ...


@dataclass(frozen=True, slots=True)
class Flip:
    """y is x with each sensitive attribute flipped with probability 1/2; both are corrupted independently.

    Only the explicit column differs systematically: proxies of the attribute stay in both views, so a model made
    invariant by these pairs may still reveal it.
    """

    corruption: float = 0.3

    def fit(self, table: Table) -> FittedFlip:
        """Ready to draw from this table."""
        return FittedFlip(self, table)


@dataclass(frozen=True, slots=True)
class FittedFlip:
    """`Flip` on a table."""

    sampler: Flip
    table: Table

    def draw(self, rows: Integers, rng: np.random.Generator) -> Pairs:
        """The rows and their flipped, corrupted copies."""
        x, s_x = self.table.values[rows], self.table.sensitive[rows]
        s_y = np.where(rng.random(s_x.shape) < 0.5, 1 - s_x, s_x)
        corruption = self.sampler.corruption
        y = self.table.with_sensitive(self.table.corrupted(x, corruption, rng), s_y)
        return Pairs(self.table.corrupted(x, corruption, rng), y, s_x, s_y, rows)


@dataclass(frozen=True, slots=True)
class Matched:
    """y is one of the nearest other rows whose sensitive attributes are a fresh 50/50 draw.

    The distance is Gower's over `columns`: positives agree in them and differ in whatever else goes with the
    attribute, so invariance removes proxies too.

    Attributes:
        columns: source columns that must agree, Adult's by default, all when None; sensitive ones are left out.
        num_neighbours: y is drawn from that many nearest rows of the required attributes.
        corruption: probability of replacing a source column of y.
        corrupt_x: whether x is corrupted as well.
    """

    columns: tuple[str, ...] | None = (
        "age", "education_num", "capital_gain", "capital_loss", "hours_per_week",
        "workclass", "race", "marital_group", "occupation",
    )  # fmt: skip
    num_neighbours: int = 20
    corruption: float = 0.15
    corrupt_x: bool = False

    def fit(self, table: Table) -> FittedMatched:
        """Find the neighbours; ValueError for unknown columns or too few rows of some attribute values."""
        wanted = table.free_columns if self.columns is None else self.columns
        columns = [name for name in wanted if name not in table.sensitive_names]
        if unknown := [name for name in columns if name not in table.frame]:
            raise ValueError(f"cannot match on {unknown}: the table has the columns {list(table.frame.columns)}")
        distances = distance_columns(table.frame[columns])
        cell = attribute_cell(table.sensitive)
        neighbours = []
        for value in range(2 ** table.sensitive.shape[1]):
            members = np.flatnonzero(cell == value)
            if len(members) <= self.num_neighbours:
                required = cell_attributes(np.array([value]), table.sensitive.shape[1])[0].tolist()
                raise ValueError(
                    f"matching needs more than {self.num_neighbours} rows with {list(table.sensitive_names)} = {required}, "
                    f"found {len(members)}; lower num_neighbours or give more rows"
                )
            neighbours.append(nearest_rows(distances, members, self.num_neighbours))
        return FittedMatched(self, table, np.stack(neighbours))


@dataclass(frozen=True, slots=True)
class FittedMatched:
    """`Matched` on a table. `neighbours` [2^K, N, num_neighbours]: row indices by required attribute cell."""

    sampler: Matched
    table: Table
    neighbours: npt.NDArray[np.int32]

    def draw(self, rows: Integers, rng: np.random.Generator) -> Pairs:
        """The rows and a random near neighbour of each, with attributes drawn 50/50."""
        s_x = self.table.sensitive[rows]
        s_y = rng.integers(2, size=s_x.shape)
        pick = rng.integers(self.sampler.num_neighbours, size=len(rows))
        partners = self.neighbours[attribute_cell(s_y), rows, pick]
        corruption = self.sampler.corruption
        y = self.table.corrupted(self.table.values[partners], corruption, rng)
        x = self.table.values[rows]
        return Pairs(
            self.table.corrupted(x, corruption, rng) if self.sampler.corrupt_x else x, y, s_x, s_y, partners.astype(np.int64)
        )


@dataclass(frozen=True, slots=True)
class ProxySwap:
    """Flip each sensitive attribute with probability 1/2, and with it all its proxies, jointly from one donor row.

    A proxy is a source column whose mutual information with the attribute exceeds `threshold` nats (relationship,
    marital status and occupation on Adult). The donor is a random row with y's values of all attributes, so that a column which
    is a proxy of several fits each of them.

    Attributes:
        threshold: in nats.
        corruption: probability of replacing a source column, independently on x and y.
    """

    threshold: float = 0.05
    corruption: float = 0.15

    def fit(self, table: Table) -> FittedProxySwap:
        """Find the proxies; ValueError when an attribute has one value only, or no row has some combination of values."""
        num_attributes = table.sensitive.shape[1]
        proxies = []
        for name, s in zip(table.sensitive_names, table.sensitive.T, strict=True):
            if len(np.unique(s)) < 2:
                raise ValueError(f"column {name!r} has one value only; swapping proxies needs rows of both")
            proxies.append(tuple(c for c in table.free_columns if mutual_information(table.frame[c], s) > self.threshold))
        cell = attribute_cell(table.sensitive)
        donors = tuple(np.flatnonzero(cell == value) for value in range(2**num_attributes))
        if empty := [value for value, rows in enumerate(donors) if not len(rows)]:
            required = cell_attributes(np.array(empty[:1]), num_attributes)[0].tolist()
            raise ValueError(
                f"swapping proxies needs a row of every combination of values, and none has {list(table.sensitive_names)} = {required}; "
                "give more rows or fewer attributes"
            )
        return FittedProxySwap(self, table, tuple(proxies), donors)


@dataclass(frozen=True, slots=True)
class FittedProxySwap:
    """`ProxySwap` on a table: the proxies of each sensitive attribute, and the rows of each combination of their values."""

    sampler: ProxySwap
    table: Table
    proxies: tuple[tuple[str, ...], ...]
    donors: tuple[Integers, ...]

    def draw(self, rows: Integers, rng: np.random.Generator) -> Pairs:
        """The rows and copies with some attributes and their proxies swapped."""
        table, x = self.table, self.table.values[rows]
        s_x = table.sensitive[rows]
        s_y = np.where(rng.random(s_x.shape) < 0.5, 1 - s_x, s_x)
        y, cell, flipped = x.copy(), attribute_cell(s_y), s_x != s_y
        for value, members in enumerate(self.donors):
            changed = np.flatnonzero((cell == value) & flipped.any(1))
            donor = members[rng.integers(len(members), size=len(changed))]
            for proxies, swapped in zip(self.proxies, flipped[changed].T, strict=True):
                for name in proxies:
                    y[changed[swapped], table.blocks[name]] = table.values[donor[swapped], table.blocks[name]]
        corruption = self.sampler.corruption
        y = table.with_sensitive(table.corrupted(y, corruption, rng), s_y)
        return Pairs(table.corrupted(x, corruption, rng), y, s_x, s_y, rows)


def attribute_cell(sensitive: Integers) -> Integers:
    """[T, K] binary attributes -> [T] number of the cell, in 0..2^K - 1, first attribute most significant."""
    weights = 2 ** np.arange(sensitive.shape[1])[::-1]
    return np.asarray(sensitive @ weights, dtype=np.int64)


def cell_attributes(cell: Integers, num_attributes: int) -> Integers:
    """The inverse of `attribute_cell`: [T] -> [T, K]."""
    return np.asarray((cell[:, None] >> np.arange(num_attributes)[::-1]) & 1, dtype=np.int64)


def mutual_information(column: pd.Series, sensitive: Integers, num_bins: int = 10) -> float:
    """Mutual information in nats between a column and a binary attribute; numbers are cut into quantile bins first."""
    if pd.api.types.is_numeric_dtype(column):
        column = pd.qcut(column, num_bins, labels=False, duplicates="drop")
    return float(mutual_info_score(pd.factorize(column)[0], sensitive))
