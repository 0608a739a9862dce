"""contextssl compare A B: the paired difference of two evaluated runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from contextssl.evaluation.paired import Difference, paired_differences
from contextssl.evaluation.results import Result, read_results
from contextssl.run import Run


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = argparse.ArgumentParser("contextssl compare", description="Difference B - A of every number that both runs have.")
    parser.add_argument("a", type=Path, metavar="A", help="run folder")
    parser.add_argument("b", type=Path, metavar="B", help="run folder")
    parser.add_argument("--target", help="only this target")
    parser.add_argument("--metric", help="only this metric")
    options = parser.parse_args(arguments)
    found = paired_differences(_results(options.a), _results(options.b))
    shown = [d for d in found if options.target in (None, d.target) and options.metric in (None, d.metric)]
    if not shown:
        raise ValueError(
            f"nothing to show for target {options.target} and metric {options.metric}: the runs share {len(found)} measurements of others"
        )
    Console(width=None if sys.stdout.isatty() else 160).print(_table(shown))
    return 0


def _table(differences: list[Difference]) -> Table:
    """One line each; what is the same in all lines is said once, above."""
    names = ("protocol", "target", "probe", "metric", "environment", "control", "context_length", "split", "method")
    values = {name: [str(getattr(difference, name)) for difference in differences] for name in names}
    constant = {name: column[0] for name, column in values.items() if len(set(column)) == 1}
    varying = [name for name in names if name not in constant]
    title = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in constant.items())
    table = Table(*(name.replace("_", " ") for name in varying), "A", "B", "B - A", "95 % interval", title=title)
    for line, difference in enumerate(differences):
        interval = "one pair" if difference.low is None else f"{difference.low:+.4f} to {difference.high:+.4f}"
        numbers = (f"{difference.a:.4f}", f"{difference.b:.4f}", f"{difference.mean:+.4f}", interval)
        table.add_row(*(values[name][line] for name in varying), *numbers)
    return table


def _results(folder: Path) -> list[Result]:
    path = Run.open(folder).results
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no results yet: contextssl evaluate run={folder}")
    return read_results(path)
