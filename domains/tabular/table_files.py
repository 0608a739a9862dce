"""Reading a table that nobody prepared: CSV (plain, .gz, .xz) or Parquet, every wrong line named.

N rows.
"""

from __future__ import annotations

import csv
import gzip
import lzma
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

SEPARATORS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
OPENERS: dict[str, Callable[..., IO[str]]] = {".gz": gzip.open, ".xz": lzma.open}


@dataclass(frozen=True, slots=True)
class Cells:
    """A table as it stands in its file.

    Attributes:
        frame: N rows with a default index; missing cells are nan, others text without spaces around it, or numbers as
            Parquet stores them.
        path: the file.
        lines: [N] where each row begins in the file, None where files have no lines.
    """

    frame: pd.DataFrame
    path: Path
    lines: npt.NDArray[np.int64] | None

    @property
    def names(self) -> list[str]:
        """Its columns in order."""
        return [str(name) for name in self.frame.columns]

    def place(self, row: int) -> str:
        """`people.csv:17`, or `people.parquet, row 16`."""
        return f"{self.path}, row {row + 1}" if self.lines is None else f"{self.path}:{self.lines[row]}"

    def words(self, column: str) -> pd.Series:
        """A column as text; whole numbers without a point, missing cells as nan."""
        cells = self.frame[column]
        if pd.api.types.is_float_dtype(cells) and (cells.dropna() == np.floor(cells.dropna())).all():
            cells = cells.astype("Int64")
        return cells.astype(str).astype(object).where(cells.notna(), np.nan)

    def numbers(self, column: str) -> pd.Series:
        """A column as float64, missing cells as nan; ValueError naming the first cell that is no finite number."""
        numbers, wrong = self.parsed(column)
        if wrong.size:
            raise ValueError(
                f"{self.place(wrong[0])}: {column} is {self.shown(column, wrong[0])}, which is not a finite number; correct it, "
                "add it to the schema's `missing` marks, or call the column categorical"
            )
        return numbers

    def parsed(self, column: str) -> tuple[pd.Series, npt.NDArray[np.int64]]:
        """A column as float64, nan where that fails, and the rows where there is something else than a finite number."""
        cells = self.frame[column]
        boolean = pd.api.types.is_bool_dtype(cells)
        numbers = pd.to_numeric(cells.astype(object) if boolean else cells, errors="coerce").astype(np.float64)
        return numbers, np.flatnonzero(cells.notna().to_numpy() & ~np.isfinite(numbers.to_numpy()))

    def shown(self, column: str, row: int) -> str:
        """One cell for a message, shortened."""
        text = str(self.frame[column].iloc[row])
        return repr(text if len(text) <= 20 else text[:17] + "...")


def read_cells(path: Path, separator: str | None, missing: Collection[str]) -> Cells:
    """The table in a CSV or Parquet file; the kind is told by the name.

    Args:
        path: `.parquet`, or else a CSV in UTF-8 with a header; `.gz` and `.xz` are unpacked.
        separator: between the cells of a CSV; None finds it from the header.
        missing: what stands for a missing cell.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a broken file, repeated column names, a line with too many or too few cells, or no rows.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table; `file` is a path from the schema's own folder")
    frame, lines = _parquet(path) if path.suffix == ".parquet" else _csv(path, separator)
    if frame.empty:
        raise ValueError(f"{path}: the table has no rows")
    marks = set(missing)
    for column in frame.columns:
        if not (pd.api.types.is_numeric_dtype(frame[column]) or pd.api.types.is_bool_dtype(frame[column])):
            text = frame[column].astype(object)
            frame[column] = text.where(text.notna() & ~text.isin(marks), np.nan)
    return Cells(frame, path, lines)


def _parquet(path: Path) -> tuple[pd.DataFrame, None]:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    frame = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
    frame.columns = pd.Index(_checked_names([str(name).strip() for name in frame.columns], path))
    return frame.reset_index(drop=True), None


def _csv(path: Path, separator: str | None) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    # Lines are taken one by one, because pandas fills short lines up and shifts long ones without a word.
    rows: list[list[str]] = []
    lines: list[int] = []
    known: dict[str, str] = {}  # one object for equal cells: most cells of most tables repeat
    try:
        with OPENERS.get(path.suffix, open)(path, "rt", newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            separator = separator or max(SEPARATORS, key=first.count)
            header = _header(next(csv.reader([first], delimiter=separator), []), separator, path)
            reader = csv.reader(file, delimiter=separator)
            start = 2
            for cells in reader:
                if len(cells) == len(header):
                    rows.append([known.setdefault(cell, cell) for cell in map(str.strip, cells)])
                    lines.append(start)
                elif any(cell.strip() for cell in cells):
                    raise ValueError(
                        f"{path}:{start}: {len(cells)} cells where the header has {len(header)}; the line is broken, or a cell "
                        f"that holds {SEPARATORS.get(separator, repr(separator))} is not quoted"
                    )
                start = reader.line_num + 2
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: the file is not text in UTF-8 ({error.reason}); save it as UTF-8") from error
    except (OSError, EOFError, lzma.LZMAError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as a CSV ({error}); the file is damaged or of another kind") from error
    columns: dict[str, Any] = (
        dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)) if rows else dict.fromkeys(header, [])
    )
    return pd.DataFrame(columns, dtype=object), np.array(lines, dtype=np.int64)


def _header(names: list[str], separator: str, path: Path) -> list[str]:
    names = [name.strip() for name in names]
    if len(names) < 2:
        seen = [word for character, word in SEPARATORS.items() if character != separator and character in "".join(names)]
        guess = (
            f"it seems that {seen[0]} separates them, which the schema says as `separator`"
            if seen
            else "give a CSV with a header"
        )
        raise ValueError(f"{path}: the header has one column between {SEPARATORS.get(separator, repr(separator))}; {guess}")
    # An index that was written with the table has no name.
    return _checked_names([name or f"column {place}" for place, name in enumerate(names, start=1)], path)


def _checked_names(names: list[str], path: Path) -> list[str]:
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ValueError(f"{path}: the column {twice[0]!r} stands in the header twice; rename one or remove it")
    return names
