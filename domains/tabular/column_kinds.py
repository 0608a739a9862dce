"""What an input column is: as the schema says, or found from what it holds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from domains.tabular.schema import ColumnKind, ColumnRule
from domains.tabular.table_files import Cells

FEW_NUMBERS = 10  # a column of at most so many different numbers is taken for codes
MAX_FOUND = 100  # categories of a column that nobody named
MAX_NAMED = 1000  # categories of a column that the schema calls categorical: each is an input of the encoder
MOSTLY = 0.9  # share of numbers from which the other cells are taken for mistakes

IGNORED = ColumnRule(ColumnKind.IGNORE)


def found_rule(cells: Cells, column: str) -> tuple[ColumnRule, str]:
    """What a column is that the schema does not name, and for ignored ones why.

    Numbers of more than ten different values are numeric, anything else of up to 100 different values is categorical.
    Left out are columns of one value, of identifiers, and of texts.

    Raises:
        ValueError: for a column that is nearly all numbers, naming the first cell that is none.
    """
    known = cells.frame[column].dropna()
    distinct = known.nunique()
    if distinct == 0 or (distinct == 1 and len(known) == len(cells.frame)):
        return IGNORED, "one value"
    numbers, wrong = cells.parsed(column)
    if wrong.size == 0 and not pd.api.types.is_bool_dtype(known):
        if _are_identifiers(numbers):
            return IGNORED, "identifiers"
        return ColumnRule(ColumnKind.NUMERIC if distinct > FEW_NUMBERS else ColumnKind.CATEGORICAL), ""
    if distinct <= MAX_FOUND:
        return ColumnRule(ColumnKind.CATEGORICAL), ""
    if len(wrong) < (1 - MOSTLY) * len(known):
        raise ValueError(
            f"{cells.place(wrong[0])}: {column} is {cells.shown(column, wrong[0])} where most cells are numbers; correct it, add "
            f"it to the schema's `missing` marks, or say what {column} is under `columns`"
        )
    return IGNORED, f"{distinct:,} different values"


def check_rule(cells: Cells, column: str, rule: ColumnRule) -> None:
    """Raise ValueError when the cells of a column are not what the schema says they are."""
    known = cells.frame[column].dropna()
    if rule.kind is not ColumnKind.IGNORE and known.empty:
        raise ValueError(f"columns.{column}: all cells are missing; ignore the column")
    if rule.kind is ColumnKind.CATEGORICAL and (count := known.nunique()) > MAX_NAMED:
        raise ValueError(
            f"columns.{column}: {count:,} categories are more than {MAX_NAMED:,}; put some together or ignore the column"
        )
    if rule.kind is ColumnKind.NUMERIC:
        numbers = cells.numbers(column)
        if rule.log1p and (wrong := np.flatnonzero(numbers.to_numpy() <= -1)).size:
            raise ValueError(
                f"{cells.place(wrong[0])}: {column} is {cells.shown(column, wrong[0])}; log1p needs numbers above -1"
            )


def _are_identifiers(numbers: pd.Series) -> bool:
    """Whether these are whole numbers that all differ and lie close together, as row numbers do."""
    known = numbers.dropna()
    return bool(
        known.is_unique and (known % 1 == 0).all() and known.max() - known.min() < 2 * len(known) and len(known) > FEW_NUMBERS
    )
