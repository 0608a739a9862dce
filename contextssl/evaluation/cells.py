"""Which of a bank's cells a protocol reports on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contextssl.evaluation.embeddings import FEATURES, Cell, EmbeddingBank


@dataclass(frozen=True)
class CellFilter:
    """The cells of a bank whose fields are among those given; None lets all values pass.

    Encoder features and the empty context are cells like others: environment `-`, controls `-` and `empty`, length 0.
    Of a context-free method, which has no cell but its features, none may be left.

    Attributes:
        environments, controls, lengths, draws: allowed values of the fields of `Cell`.
    """

    environments: Sequence[str] | None = None
    controls: Sequence[str] | None = None
    lengths: Sequence[int] | None = None
    draws: Sequence[int] | None = None

    def __call__(self, bank: EmbeddingBank) -> tuple[Cell, ...]:
        """The bank's cells that pass, in its order.

        Raises:
            ValueError: when none of a contextual method's does.
        """
        chosen = tuple(cell for cell in bank.cells if self._passes(cell))
        if not chosen and bank.cells != (FEATURES,):
            raise ValueError(f"{self} leaves none of the bank's {len(bank.cells)} cells: name values that the bank has")
        return chosen

    def _passes(self, cell: Cell) -> bool:
        pairs = (
            (self.environments, cell.environment),
            (self.controls, str(cell.control)),
            (self.lengths, cell.length),
            (self.draws, cell.draw),
        )
        return all(allowed is None or value in allowed for allowed, value in pairs)


Cells = Sequence[Cell] | CellFilter | None
"""How a protocol names its cells: one by one, by a filter, or all of the bank's when None."""


def chosen_cells(bank: EmbeddingBank, cells: Cells) -> tuple[Cell, ...]:
    """The cells meant."""
    if cells is None:
        return bank.cells
    return cells(bank) if isinstance(cells, CellFilter) else tuple(cells)
