"""Train and read out examples/digits.py with several seeds; write benchmarks/results/digits.json and the tutorial's tables.

python benchmarks/digits.py                train, read out, write both
python benchmarks/digits.py --tables       write the tables again from the stored numbers
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from contextssl.evaluation.intervals import summarise
from contextssl.files import write_text
from contextssl.reporting.names import probe_name
from contextssl.run import describe_environment

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/digits.json"
TUTORIAL = ROOT / "docs/tutorials/digits.md"
LENGTHS = (0, 2, 14, 30, 126)
Row = Mapping[str, Any]


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """The record of all seeds: one row for each environment, target, probe, metric and context length."""
    sys.path.insert(0, str(ROOT / "examples"))
    import digits  # the example is a file, not a package

    results, seconds = [], []
    for seed in seeds:
        start = time.process_time()
        results += [replace(result, seed=seed) for result in digits.run(seed=seed, lengths=LENGTHS)]
        seconds.append(round(time.process_time() - start, 1))
        print(f"seed {seed}: {seconds[-1]} CPU seconds")
    rows = [asdict(summary) for summary in summarise(results) if summary.metric in ("r2_varw", "accuracy")]
    return {"environment": describe_environment(sys.argv), "seeds": list(seeds), "cpu_seconds": seconds, "results": rows}


def tables(rows: Sequence[Row]) -> str:
    """The tutorial's tables in Markdown: the groups by every probe, and the digit by neighbours."""
    probes = [row["probe"] for row in rows if row["target"] == "rotation"]
    groups = ("rotation", "intensity")
    pieces = [
        _table(probe_name(probe), [(told, target, _curve(rows, told, target, probe)) for target in groups for told in groups])
        for probe in dict.fromkeys(probes)
    ]
    pieces.append(_table("accuracy, kNN, k = 10", [(told, "digit", _curve(rows, told, "digit", "knn-10")) for told in groups]))
    return "\n".join(pieces)


def _curve(rows: Sequence[Row], told: str, target: str, probe: str) -> list[str]:
    """One cell for each context length; the empty context is the same for all."""
    wanted = [("-", "empty", 0)] + [(told, "true", length) for length in LENGTHS[1:]]
    found = {
        (row["environment"], row["control"], row["context_length"]): f"{row['mean']:.2f} ± {row['high'] - row['mean']:.2f}"
        for row in rows
        if (row["target"], row["probe"]) == (target, probe)
    }
    return [found[key].replace("-0.00", "0.00").replace("0.", ".") for key in wanted]


def _table(title: str, lines: Sequence[tuple[str, str, list[str]]]) -> str:
    head = f"| {title} | context tells | c = 0 | {' | '.join(map(str, LENGTHS[1:]))} |\n|---|---|{'---:|' * len(LENGTHS)}\n"
    return head + "".join(f"| {target} | {told} | {' | '.join(cells)} |\n" for told, target, cells in lines)


def with_tables(page: str, rows: Sequence[Row]) -> str:
    """The tutorial with its tables replaced."""
    return re.sub(
        r"(<!-- tables -->\n).*(<!-- end of tables -->)",
        lambda marks: marks[1] + "\n" + tables(rows) + "\n" + marks[2],
        page,
        flags=re.S,
    )


def main() -> None:
    """Measure unless told otherwise, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.tables:
        write_text(RESULTS, json.dumps(measure(arguments.seeds), indent=1) + "\n")
    rows = json.loads(RESULTS.read_text())["results"]
    write_text(TUTORIAL, with_tables(TUTORIAL.read_text(), rows))
    print(tables(rows))


if __name__ == "__main__":
    main()
