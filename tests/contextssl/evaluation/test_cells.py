"""A filter leaves the cells that it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contextssl.evaluation.cells import CellFilter, chosen_cells
from contextssl.evaluation.embeddings import EMPTY, FEATURES, Cell, EmbeddingBank

MakeBank = Callable[..., EmbeddingBank]


def test_a_filter_leaves_what_fits_all_its_fields(make_bank: MakeBank) -> None:
    bank = make_bank()
    found = CellFilter(environments=("turn", "side"), controls=("true", "noise"), lengths=(6,), draws=(1,))(bank)
    assert set(found) == {Cell(told, control, 6, 1) for told in ("turn", "side") for control in ("true", "noise")}
    assert CellFilter(controls=("empty", "-"))(bank) == (FEATURES, EMPTY)
    assert CellFilter()(bank) == bank.cells


def test_cells_are_named_one_by_one_or_by_a_filter_or_are_all(make_bank: MakeBank) -> None:
    bank = make_bank()
    assert chosen_cells(bank, [EMPTY]) == (EMPTY,)
    assert chosen_cells(bank, CellFilter(lengths=(0,))) == (FEATURES, EMPTY)
    assert chosen_cells(bank, None) == bank.cells


def test_a_filter_that_leaves_nothing_is_a_mistake(make_bank: MakeBank) -> None:
    with pytest.raises(ValueError, match="leaves none of the bank's"):
        CellFilter(lengths=(126,))(make_bank())
