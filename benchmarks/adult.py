"""Train and evaluate the Adult experiments; write benchmarks/results/adult.json, the tables and the figure.

python benchmarks/adult.py               every experiment and the baselines, three seeds
python benchmarks/adult.py --jobs 2      two runs at a time, one thread each
python benchmarks/adult.py --tables      tables and figure again from the stored numbers

Runs stay in outputs/benchmarks/adult: a second call skips what is done and continues what was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import runs
from adult_report import BASELINES, EXPERIMENTS, MAIN, Record, main_lines, show, table
from runs import ROOT, Trial, as_json

from contextssl.commands.configuration import build, compose_config
from contextssl.evaluation.results import Result, read_results, write_results
from contextssl.files import write_text
from domains.tabular.baselines import baseline_results

RUNS = Path("outputs/benchmarks/adult")
RESULTS = ROOT / "benchmarks/results/adult.json"
STORED_LENGTHS = (0, 14, 126)  # of the other experiments; of the main one all are stored


def measure(trials: Sequence[Trial], num_at_once: int, command: Sequence[str]) -> Record:
    """The record of all runs and of the baselines on the same data."""
    record = runs.measure(trials, num_at_once, command, lambda name, row: name == MAIN or row.context_length in STORED_LENGTHS)
    baselines, seconds = _baselines(trials[0])
    record["seconds"][BASELINES] = seconds
    record["results"] += runs.averaged(BASELINES, baselines)
    return record


def _baselines(trial: Trial) -> tuple[list[Result], float]:
    """What needs no training, measured once, with the wall seconds it took."""
    file, clock_file = trial.runs / "baselines.jsonl", trial.runs / "baselines.seconds.json"
    if not file.is_file():
        start = time.perf_counter()
        found = list(baseline_results(build(compose_config(trial.settings).domain)))
        write_text(clock_file, json.dumps(round(time.perf_counter() - start, 1)))
        write_results(found, file)
    return read_results(file), float(json.loads(clock_file.read_text()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure unless told otherwise, and write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--experiments", nargs="*", choices=EXPERIMENTS[1:], default=list(EXPERIMENTS[1:]), help=f"besides {MAIN}"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    options = parser.parse_args(words)
    if not options.tables:
        trials = [Trial(experiment, seed, runs=RUNS) for experiment in (MAIN, *options.experiments) for seed in options.seeds]
        write_text(RESULTS, as_json(measure(trials, options.jobs, ["python", "benchmarks/adult.py", *words])))
    record = json.loads(RESULTS.read_text())
    show(record)
    print(table(record["results"], main_lines()))


if __name__ == "__main__":
    main()
