"""An adapter for a table of numbers with one sensitive column of zeros and ones. `domains.tabular` has the full thing.

N rows, D columns, T pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import ProbeTarget, Split
from contextssl.adapters.items import ItemAdapter, checked, digest


class Pairing(Protocol):
    """How the partner of a row is found."""

    def __call__(self, table: Tensor, rows: Tensor, wanted: Tensor, column: int, draws: torch.Generator) -> Tensor:
        """Partners [T, D] of rows [T] of the table [N, D], whose sensitive column is `wanted` [T]."""
        ...


@dataclass(frozen=True, slots=True)
class NearestRows:
    """A random one of the nearest other rows with the wanted value: both rows are real, proxies differ too.

    Distances are Euclidean over the standardised other columns.
    """

    num_neighbours: int = 10

    def __call__(self, table: Tensor, rows: Tensor, wanted: Tensor, column: int, draws: torch.Generator) -> Tensor:
        """See `Pairing`."""
        others = torch.cat([table[:, :column], table[:, column + 1 :]], dim=1)
        others = (others - others.mean(0)) / others.std(0).clamp_min(1e-6)
        distance = torch.cdist(others[rows], others)
        distance[torch.arange(len(rows)), rows] = torch.inf
        distance[table[:, column] != wanted[:, None]] = torch.inf
        nearest = distance.topk(min(self.num_neighbours, len(table) - 1), largest=False)
        usable = nearest.values.isfinite().sum(1).clamp_min(1)
        pick = (torch.rand(len(rows), generator=draws) * usable).long()
        return table[nearest.indices[torch.arange(len(rows)), pick]]


@dataclass(frozen=True, slots=True)
class FlippedColumn:
    """The row itself with the wanted value; other columns are replaced with this probability by those of random rows."""

    corruption: float = 0.3

    def __call__(self, table: Tensor, rows: Tensor, wanted: Tensor, column: int, draws: torch.Generator) -> Tensor:
        """See `Pairing`."""
        shape = (len(rows), table.shape[1])
        donors = torch.randint(len(table), shape, generator=draws)
        replaced = torch.rand(shape, generator=draws) < self.corruption
        partner = torch.where(replaced, table.gather(0, donors), table[rows])
        partner[:, column] = wanted
        return partner


class TableAdapter(ItemAdapter):
    """Pairs are a row and a partner whose sensitive value is drawn anew, 50/50.

    Args:
        table: [N, D] numbers, one item a row.
        column: index of the sensitive column, zeros and ones.
        targets: per row, N rows each.
        encoder: builds a fresh encoder of [N, D].
        pairing: how partners are found, within a split.
        name: name of the sensitive group.
        shares: fractions of the rows for validation and test.
        seed: of the split.
        trajectories: whether every sequence shows one row and then partners of it.

    Raises:
        ValueError: for a sensitive column that is not zeros and ones or has one value only in a split, and as
            `ItemAdapter` says.
    """

    def __init__(
        self, table: Tensor, column: int, targets: Sequence[ProbeTarget], *, encoder: Callable[[], nn.Module],
        pairing: Pairing | None = None, name: str = "sensitive", shares: tuple[float, float] = (0.15, 0.15), seed: int = 0,
        trajectories: bool = False,
    ) -> None:  # fmt: skip
        self._table, self._pairing = checked("table", table, 2).float(), pairing or NearestRows()
        self._column = range(table.shape[1])[column]
        if not torch.isin(self._table[:, column], torch.tensor([0.0, 1.0])).all():
            raise ValueError(f"table: expected zeros and ones in the sensitive column {column}, found other values")
        actions = ActionSpace([Group(name, 2, 1, Kind.SWITCH, "[s, 1 - s] of the partner; 0 and 1")])
        super().__init__(
            actions, targets, num_items=len(table), encoder=encoder, relative=None, shares=shares, seed=seed, digest=digest(table),
            trajectories=trajectories,
        )  # fmt: skip
        for split, items in self.items.items():
            if len(self._table[items, column].unique()) < 2:
                raise ValueError(f"table: the {split} split has one value only in the sensitive column {column}; give more rows")

    def pairs(self, items: Tensor, split: Split, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows and their partners from the same split."""
        members = self.items[split]
        table, rows = self._table[members], torch.searchsorted(members, items)
        wanted = torch.randint(2, (len(items),), generator=draws).float()
        partner = self._pairing(table, rows, wanted, self._column, draws)
        x = table[rows]
        return x, x[:, [self._column]], partner, partner[:, [self._column]]

    def views(self, items: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The rows themselves."""
        return self._table[items], self._table[items][:, [self._column]], items
