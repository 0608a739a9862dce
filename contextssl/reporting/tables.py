"""Tables are pivots of result rows; no number in one is typed by hand. Markdown and HTML from the same table."""

from __future__ import annotations

import html
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from contextssl.evaluation.intervals import KEY
from contextssl.evaluation.results import Result
from contextssl.reporting import names
from contextssl.reporting.number_format import MISSING, margin, number, with_margin
from contextssl.reporting.summary import PLAIN, environment_rank, probe_rank, summary_frame


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table: a mean with the bounds of its 95 % interval, None where there is none, and a mark behind it."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table ready for printing.

    Attributes:
        corner: headings of the row labels.
        columns: headings of the columns, each a path with the outermost heading first.
        rows: labels of the rows, each as many as `corner` has.
        cells: for each row one number per column.
    """

    corner: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[Cell, ...], ...]


_PRINTED: dict[str, Callable[[str], str]] = {
    "target": names.target_name,
    "metric": names.metric_name,
    "probe": names.probe_name,
    "environment": names.environment_name,
    "control": names.control_name,
    "method": names.method_name,
}
_SORTED: dict[str, Callable[[str], Hashable]] = {"probe": probe_rank, "environment": environment_rank}


def printed(column: str, value: object) -> str:
    """A value of a result column as tables print it."""
    if column == "context_length":
        return f"c = {value}"
    return _PRINTED.get(column, str)(str(value))


def pivot(
    frame: pd.DataFrame,
    rows: Sequence[str] = ("target", "probe", "metric"),
    columns: Sequence[str] = ("environment", "context_length"),
    floor: bool = True,
) -> Table:
    """A table of `summary_frame` rows: one line per combination of `rows`, one column per combination of `columns`.

    Lines and columns keep the order of first appearance, except probes (weakest first), environments (told first)
    and context lengths (ascending). `floor` adds a column with the constant predictor's score where one is known.

    Raises:
        ValueError: when two numbers would share a cell, naming the columns in which they differ.
    """
    _check_unique(frame, [*rows, *columns])
    row_keys, column_keys = _ordered(frame, rows), _ordered(frame, columns)
    found = {tuple(record[name] for name in (*rows, *columns)): record for record in frame.to_dict("records")}
    floors = {tuple(r[name] for name in rows): r["floor"] for r in found.values() if pd.notna(r["floor"])} if floor else {}
    headings = [_heading(columns, key) for key in column_keys]
    blank = ("",) * max(len(columns) - 1, 0)
    return Table(
        corner=tuple(name.replace("_", " ") for name in rows),
        columns=((*blank, "floor"), *headings) if floors else tuple(headings),
        rows=tuple(tuple(printed(name, value) for name, value in zip(rows, key, strict=True)) for key in row_keys),
        cells=tuple(
            ((Cell(floors.get(row)),) if floors else ()) + tuple(_cell(found.get((*row, *column))) for column in column_keys)
            for row in row_keys
        ),
    )


def _heading(columns: Sequence[str], key: tuple[object, ...]) -> tuple[str, ...]:
    """Printed values; what no context was involved in has no context length either."""
    free = names.CONTEXT_FREE in key
    return tuple(
        "" if free and name == "context_length" else printed(name, value) for name, value in zip(columns, key, strict=True)
    )


def _cell(record: dict[Hashable, object] | None) -> Cell:
    if record is None:
        return Cell()
    mean, low, high = (None if pd.isna(record[name]) else float(record[name]) for name in ("mean", "low", "high"))  # type: ignore[call-overload, arg-type]
    return Cell(mean, low, high)


def _check_unique(frame: pd.DataFrame, axes: list[str]) -> None:
    shared = frame[frame.duplicated(axes, keep=False)]
    if shared.empty:
        return
    first = shared[(shared[axes] == shared[axes].iloc[0]).all(axis=1)]
    differing = [name for name in KEY if name not in axes and first[name].nunique() > 1]
    raise ValueError(
        f"several numbers for one cell of the table: they differ in {names.join(differing) or 'nothing, the rows are repeated'}; "
        "filter the results or add that column to the table"
    )


def _ordered(frame: pd.DataFrame, axes: Sequence[str]) -> list[tuple[object, ...]]:
    """Combinations that occur, sorted by axis: by the column's own order where it has one, else as first met."""
    orders = []
    for name in axes:
        values = list(dict.fromkeys(frame[name]))
        key = _SORTED.get(name)
        ordered = sorted(values, key=key) if key else sorted(values) if name == "context_length" else values  # type: ignore[arg-type]
        orders.append({value: position for position, value in enumerate(ordered)})
    keys = dict.fromkeys(frame[list(axes)].itertuples(index=False, name=None))
    return sorted(keys, key=lambda key: [order[value] for order, value in zip(orders, key, strict=True)])


def select(frame: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Rows whose columns equal the given values; a list, tuple or set means any of them.

    Raises:
        ValueError: for a column that results do not have.
    """
    for name, value in where.items():
        if name not in frame.columns:
            raise ValueError(f"results have no column {name!r}: they have {names.join(list(KEY))}")
        allowed = value if isinstance(value, list | tuple | set | frozenset) else [value]
        frame = frame[frame[name].isin(list(allowed))]
    return frame


def markdown_table(
    results: Iterable[Result],
    rows: Sequence[str] = ("target", "probe", "metric"),
    columns: Sequence[str] = ("environment", "context_length"),
    **where: object,
) -> str:
    """A Markdown table of result rows, averaged over seeds and context draws: `.845 ± .004`.

    `where` filters first: `markdown_table(results, target="sex", context_length=[0, 126])`. Controls are left out
    unless `where`, `rows` or `columns` mention them.
    """
    return to_markdown(_selected(results, rows, columns, where))


def html_table(
    results: Iterable[Result],
    rows: Sequence[str] = ("target", "probe", "metric"),
    columns: Sequence[str] = ("environment", "context_length"),
    **where: object,
) -> str:
    """The same table as `markdown_table`, as an HTML `table` element."""
    return to_html(_selected(results, rows, columns, where))


def _selected(results: Iterable[Result], rows: Sequence[str], columns: Sequence[str], where: dict[str, object]) -> Table:
    if "control" not in {*where, *rows, *columns}:
        where = where | {"control": PLAIN}
    return pivot(select(summary_frame(results), **where), rows, columns)


def to_markdown(table: Table) -> str:
    """The table in Markdown; the paths of column headings are joined with commas."""
    headings = [", ".join(part for part in path if part) for path in table.columns]
    lines = [[*table.corner, *headings], ["---"] * len(table.corner) + ["---:"] * len(headings)]
    lines += [[*labels, *map(_cell_text, cells)] for labels, cells in zip(table.rows, table.cells, strict=True)]
    return "".join("| " + " | ".join(part.replace("|", "\\|").replace("\n", " ") for part in line) + " |\n" for line in lines)


def _cell_text(cell: Cell) -> str:
    return with_margin(cell.mean, cell.low, cell.high) + cell.mark


def to_html(table: Table) -> str:
    """The table as one HTML `table`; repeated row labels and outer column headings are merged."""
    return f"<table>\n<thead>\n{_head(table)}</thead>\n<tbody>\n{_body(table)}</tbody>\n</table>\n"


def _head(table: Table) -> str:
    # A level without a word in any column would be an empty line.
    levels = [level for level in range(max(map(len, table.columns), default=0)) if any(path[level] for path in table.columns)]
    lines = []
    for level in levels or [0]:
        line = ""
        if level == min(levels, default=0):
            line += "".join(f'<th class="label" rowspan="{len(levels) or 1}">{html.escape(name)}</th>' for name in table.corner)
        for prefix, paths in groupby(table.columns, key=lambda path: path[: level + 1]):
            line += f'<th colspan="{len(list(paths))}" scope="col">{html.escape(prefix[level])}</th>'
        lines.append(f"<tr>{line}</tr>\n")
    return "".join(lines)


def _body(table: Table) -> str:
    lines, previous = [], None
    for labels, cells in zip(table.rows, table.cells, strict=True):
        # A label equal to the one above it, with all labels left of it equal too, is left blank.
        shared = 0
        while previous is not None and shared < len(labels) - 1 and labels[: shared + 1] == previous[: shared + 1]:
            shared += 1
        head = "".join(
            f'<th class="label" scope="row">{html.escape(label) if column >= shared else ""}</th>'
            for column, label in enumerate(labels)
        )
        body = "".join(f"<td>{_cell_html(cell)}</td>" for cell in cells)
        opening = '<tr class="first">' if shared == 0 and len(labels) > 1 else "<tr>"
        lines.append(f"{opening}{head}{body}</tr>\n")
        previous = labels
    return "".join(lines)


def _cell_html(cell: Cell) -> str:
    half = margin(cell.low, cell.high)
    return (
        number(cell.mean)
        + html.escape(cell.mark)
        + (f" <small>± {number(half)}</small>" if half is not None and number(cell.mean) != MISSING else "")
    )
