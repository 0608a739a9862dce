"""What was measured for a table, as the JSON file it is printed from."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from contextssl.evaluation.intervals import Summary, summarise
from contextssl.evaluation.results import Result
from contextssl.reproduction.noise import difference
from contextssl.reproduction.tables import Block, Column, Line, PaperTable

Record = dict[str, Any]

SHOWN = ("probe", "metric", "mean", "sd", "low", "high", "draw_sd", "num_seeds", "num_draws", "floor")


def blocks(table: PaperTable, results: Mapping[str, Sequence[Result]]) -> list[Record]:
    """The table's blocks, every cell with all probes and metrics that were measured and its comparison.

    Cells of a column with several lengths are compared with the first length of their line, all others with the best line
    of their column; paired over seeds where seeds are shared.

    Args:
        table: what is made.
        results: row key -> results of its finished runs.
    """
    return [_block(table, block, results) for block in table.blocks]


def _block(table: PaperTable, block: Block, results: Mapping[str, Sequence[Result]]) -> Record:
    lines = [_line(table, block, line, results.get(line.row, ())) for line in block.lines]
    _compare(lines, block.columns)
    columns = [
        {"read": column.read, "label": table.readings[column.read].label, "length": length, "environment": column.environment,
         "percent": table.readings[column.read].percent}
        for column in block.columns for length in column.places
    ]  # fmt: skip
    return {"title": block.title, "note": block.note, "columns": columns, "lines": lines}


def _line(table: PaperTable, block: Block, line: Line, results: Sequence[Result]) -> Record:
    row = table.row(line.row)
    cells = [cell for column in block.columns for cell in _cells(table, line, column, results)]
    return {
        "row": line.row, "label": row.label, "groups": list(row.groups), "line": line.label, "environment": line.environment,
        "cells": cells,
    }  # fmt: skip


def _cells(table: PaperTable, line: Line, column: Column, results: Sequence[Result]) -> Iterator[Record]:
    """One cell for each context length."""
    reading = table.readings[line.instead.get(column.read, column.read)]
    for place, length in enumerate(column.places):
        found = reading.select(results, column.environment or line.environment, length)
        published = line.number(column.read, place)
        own = [result for result in found if (result.probe, result.metric) == (reading.probe, reading.metric)]
        numbers = [_numbers(summary) for summary in summarise(found)]
        shown = next((one for one in numbers if (one["probe"], one["metric"]) == (reading.probe, reading.metric)), None)
        yield {
            "published": published, "probe": reading.probe, "metric": reading.metric, "shown": shown,
            "by_seed": {str(seed): _rounded(value) for seed, value in by_seed(own).items()},
            "others": [one for one in numbers if one is not shown],
        }  # fmt: skip


def by_seed(results: Sequence[Result]) -> dict[int, float]:
    """Seed -> mean over its context draws."""
    found: dict[int, list[float]] = defaultdict(list)
    for result in results:
        found[result.seed].append(result.value)
    return {seed: float(np.mean(values)) for seed, values in sorted(found.items())}


def _compare(lines: Sequence[Record], columns: Sequence[Column]) -> None:
    """Add to each cell its difference from what it is compared with."""
    place = 0
    for column in columns:
        series = [[line["cells"][place + step] for step in range(len(column.places))] for line in lines]
        place += len(column.places)
        if len(column.places) > 1:
            for cells in series:
                _compare_lengths(cells, column.places[0])
        else:
            _compare_lines([cells[0] for cells in series], lines)


def _compare_lengths(cells: Sequence[Record], first: int | None) -> None:
    for number, cell in enumerate(cells):
        cell["best"] = False
        cell["against"] = _against(cell, cells[0], f"{first} tokens") if number else None


def _compare_lines(cells: Sequence[Record], lines: Sequence[Record]) -> None:
    known = [number for number, cell in enumerate(cells) if cell["shown"]]
    best = max(known, key=lambda number: cells[number]["shown"]["mean"]) if len(known) > 1 else None
    for number, cell in enumerate(cells):
        cell["best"] = number == best
        cell["against"] = None if best is None or number == best else _against(cell, cells[best], _called(lines[best]))


def _called(line: Record) -> str:
    return ", ".join(part for part in (line["label"], line["line"]) if part)


def _against(cell: Record, other: Record, what: str) -> Record | None:
    found = difference(_seeds(cell), _seeds(other))
    if found is None:
        return None
    numbers = {key: _rounded(value) for key, value in asdict(found).items()}
    return {"what": what, **numbers, "beyond_noise": found.beyond_noise}


def _seeds(cell: Record) -> dict[int, float]:
    return {int(seed): value for seed, value in cell["by_seed"].items()}


def _numbers(summary: Summary) -> Record:
    return {name: _rounded(getattr(summary, name)) for name in SHOWN}


def _rounded(value: object) -> object:
    """Floats to five digits; JSON has no nan."""
    if not isinstance(value, float) or isinstance(value, bool):
        return value
    return round(value, 5) if math.isfinite(value) else None


def as_json(record: Record) -> str:
    """The record as JSON, a line of the table on a line, so that a change of some numbers is a small difference."""
    head = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items() if key != "blocks"]
    parts = []
    for block in record["blocks"]:
        begin = json.dumps({key: value for key, value in block.items() if key != "lines"})[:-1]
        parts.append(f'{begin}, "lines": [\n' + ",\n".join(map(json.dumps, block["lines"])) + "\n]}")
    return "{\n" + ",\n".join([*head, '"blocks": [\n' + ",\n".join(parts) + "\n]"]) + "\n}\n"
