"""Classes of rows from a column: the two sides of a sensitive attribute, the classes of a target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from domains.tabular.schema import REST, ClassRule, close_match
from domains.tabular.table_files import Cells

MAX_CLASSES = 100  # of a target; more are numbers or names that somebody forgot to put together
MAX_SHOWN = 6  # values in a message


@dataclass(frozen=True, slots=True)
class Classes:
    """The class of each row, by name, nan where its cell is missing; and the names in the order of their numbers."""

    labels: pd.Series
    names: tuple[str, ...]


def read_classes(cells: Cells, rule: ClassRule, where: str) -> Classes:
    """The classes that a rule finds in its column.

    Args:
        cells: the table.
        rule: what to look for.
        where: the setting, for messages: `targets.income`.

    Raises:
        ValueError: for a column of one value, a listed value that does not occur, one that occurs and is not listed, and
            for a column of numbers without a limit.
    """
    if rule.above is not None:
        return _two_sides(cells.numbers(rule.column), rule.above, where)
    words = cells.words(rule.column)
    found = sorted(words.dropna().unique())
    if len(found) < 2:
        raise ValueError(
            f"{where}: column {rule.column!r} holds {listed(found) or 'nothing'} and nothing else; two values are needed"
        )
    if rule.values is None and len(found) > MAX_CLASSES:
        raise ValueError(
            f"{where}: column {rule.column!r} holds {len(found):,} different values; give the one that counts, a list of classes, "
            "or `above: NUMBER`"
        )
    values = tuple(found) if rule.values is None else rule.values
    together = REST in values and REST not in found
    if absent := [value for value in values if value not in found and not (together and value == REST)]:
        raise ValueError(
            f"{where}: {absent[0]!r} does not occur in column {rule.column!r}, which holds {listed(found)}{close_match(absent[0], found)}"
        )
    others = [value for value in found if value not in values]
    if others and not together:
        raise ValueError(
            f"{where}: column {rule.column!r} also holds {listed(others)}; list them too, put all others together as {REST}, or add "
            "them to the `missing` marks"
        )
    # One other value needs no name that nobody knows.
    rest = others[0] if len(others) == 1 else REST
    labels = words.where(words.isna() | words.isin(values), rest)
    return Classes(labels, tuple(rest if together and value == REST else value for value in values))


def listed(values: list[str]) -> str:
    """The first few values for a message."""
    return ", ".join(values[:MAX_SHOWN]) + (f" and {len(values) - MAX_SHOWN:,} more" if len(values) > MAX_SHOWN else "")


def _two_sides(numbers: pd.Series, limit: float, where: str) -> Classes:
    names = (f"<={limit:g}", f">{limit:g}")
    above = numbers > limit
    if above.all() or not above.any():
        raise ValueError(f"{where}: all numbers are on one side of {limit:g}, from {numbers.min():g} to {numbers.max():g}")
    sides = pd.Series(np.where(above, names[1], names[0]), index=numbers.index, dtype=object)
    return Classes(sides.where(numbers.notna(), np.nan), names)
