"""The metrics of a run: rows of numbers by step, in a file that a stopped and resumed run leaves as an uninterrupted one does."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

from contextssl.files import write_text


class MetricsLog:
    """`metrics.jsonl`, appended row by row, and `metrics.csv`, made from it.

    Rows hold nothing that depends on the clock or the machine: those numbers go to `timing.jsonl`.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add one row; OSError when it cannot be written, with the rows before it intact."""
        append_json(self.path, {"step": step, **values})

    def flush(self) -> None:
        """Bring all rows safely to the disk, and write them as CSV."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
            write_text(self.path.with_suffix(".csv"), _as_csv(self.rows()))

    def rows(self) -> list[dict[str, float]]:
        """All complete rows; a last line that was cut short is left out."""
        if not self.path.exists():
            return []
        return [
            json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
        ]

    def rewind(self, step: int) -> None:
        """Forget the rows after `step`: the run goes on from there and will write them again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))


def append_json(path: Path, row: Mapping[str, object]) -> None:
    """Append one line of JSON, whole or not at all."""
    line = (json.dumps(row) + "\n").encode()
    end = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            file.write(line)
    except OSError as error:
        os.truncate(path, end)
        raise OSError(f"cannot write {path}: {error.strerror or error}; the rows before are intact") from error


def _as_csv(rows: list[dict[str, float]]) -> str:
    """One column for each name that occurs, in order of first occurrence."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
