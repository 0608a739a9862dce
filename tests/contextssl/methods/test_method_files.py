"""Method files are short, and none is a copy of another."""

from __future__ import annotations

import ast
from itertools import combinations
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).resolve().parents[3] / "contextssl" / "methods").glob("*.py"))
# The project's own methods and their parts; what they are compared with is to be read at a glance.
LONGER = {"context_ssl", "rehearsal"}


def code(source: str) -> list[str]:
    """The lines that say something: without imports, comments and blank lines."""
    imports = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = [line.strip() for number, line in enumerate(source.splitlines(), start=1) if number not in imports]
    return [line for line in lines if line and not line.startswith("#")]


def longest_shared_run(first: list[str], second: list[str]) -> list[str]:
    """The longest run of lines that stands in both."""
    best: list[str] = []
    lengths = [0] * (len(second) + 1)
    for i, line in enumerate(first):
        previous, lengths = lengths, [0] * (len(second) + 1)
        for j, other in enumerate(second):
            if line == other:
                lengths[j + 1] = previous[j] + 1
                if lengths[j + 1] > len(best):
                    best = first[i + 1 - lengths[j + 1] : i + 1]
    return best


@pytest.mark.parametrize(("first", "second"), [*combinations(FILES, 2)], ids=lambda path: path.stem)
def test_no_two_files_share_more_than_eight_lines_in_a_row(first: Path, second: Path) -> None:
    shared = longest_shared_run(code(first.read_text(encoding="utf-8")), code(second.read_text(encoding="utf-8")))
    assert len(shared) <= 8, "\n".join(shared)


def test_the_measure_sees_a_copy_whatever_stands_around_it() -> None:
    copied = [f"line_{i} = {i}" for i in range(9)]
    first = ["import a", *copied, "end = 1"]
    second = ["start = 2", *copied[:4], "", "# why", "from b import (", "    c,", ")", *copied[4:]]
    assert longest_shared_run(code("\n".join(first)), code("\n".join(second))) == copied
    assert longest_shared_run(code("\n".join(first)), code("end = 1\nline_3 = 3\nline_4 = 4")) == copied[3:5]


@pytest.mark.parametrize("path", [path for path in FILES if path.stem not in LONGER], ids=lambda path: path.stem)
def test_a_method_is_one_short_file(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150
