"""Train and evaluate the Adult experiments; write benchmarks/results/adult.json, the tables and the figure.

python benchmarks/adult.py               every experiment and the baselines, three seeds
python benchmarks/adult.py --jobs 2      two runs at a time, one thread each
python benchmarks/adult.py --tables      tables and figure again from the stored numbers

Runs stay in outputs/benchmarks/adult: a second call skips what is done and continues what was interrupted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from adult_report import BASELINES, EXPERIMENTS, MAIN, Record, main_lines, show, table

from contextssl.commands.configuration import as_yaml, build, compose_config
from contextssl.evaluation.intervals import summarise
from contextssl.evaluation.results import Result, read_results, write_results
from contextssl.files import write_text
from contextssl.run import Run, describe_environment
from domains.tabular.baselines import baseline_results

ROOT = Path(__file__).resolve().parents[1]
RUNS = Path("outputs/benchmarks/adult")
RESULTS = ROOT / "benchmarks/results/adult.json"
STORED_LENGTHS = (0, 14, 126)  # of the other experiments; of the main one all are stored


@dataclass(frozen=True, slots=True)
class Job:
    """One run: an experiment with a seed, and further overrides."""

    experiment: str
    seed: int
    overrides: tuple[str, ...] = ()
    runs: Path = RUNS

    @property
    def folder(self) -> Path:
        """Of the run; its log and its clock stand beside it."""
        return self.runs / self.experiment / f"seed-{self.seed}"

    @property
    def settings(self) -> list[str]:
        """What `contextssl train` is given."""
        return [f"experiment={self.experiment}", f"seed={self.seed}", *self.overrides]


def measure(jobs: Sequence[Job], num_at_once: int, command: Sequence[str]) -> Record:
    """The record of all runs: who, where, how long, and a row for every number, averaged over seeds and draws."""
    for job in jobs:
        _check(job)
    with ThreadPoolExecutor(num_at_once) as pool:
        futures = [pool.submit(_carry_out, job) for job in jobs]
        try:
            seconds = [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    first = Run(jobs[0].folder)
    baselines, baseline_seconds = _baselines(jobs[0])
    rows, clock = [], {}
    for experiment in dict.fromkeys(job.experiment for job in jobs):
        found = [(job, spent) for job, spent in zip(jobs, seconds, strict=True) if job.experiment == experiment]
        results = [result for job, _ in found for result in read_results(Run(job.folder).results)]
        kept = [result for result in results if experiment == MAIN or result.context_length in STORED_LENGTHS]
        rows += _rows(experiment, kept)
        clock[experiment] = {verb: [spent[verb] for _, spent in found] for verb in ("train", "evaluate")}
    manifest = json.loads(first.manifest.read_text())
    return {
        "command": list(command),
        "environment": describe_environment(command),
        "data": {key: value for key, value in manifest.items() if key != "source"},
        "seeds": sorted({job.seed for job in jobs}),
        "seconds": clock | {BASELINES: baseline_seconds},
        "results": rows + _rows(BASELINES, baselines),
    }


def _check(job: Job) -> None:
    """A folder from an earlier call must hold what would be run now."""
    found = Run(job.folder).config
    if found.is_file() and found.read_text() != as_yaml(compose_config(job.settings)):
        raise ValueError(f"{job.folder} was made by another configuration: remove it to run this one")


def _carry_out(job: Job) -> dict[str, float]:
    """Train and evaluate as far as it is not done; wall seconds of both verbs, those of earlier calls included."""
    run, clock_file = Run(job.folder), job.folder.with_suffix(".seconds.json")
    clock: dict[str, float] = json.loads(clock_file.read_text()) if clock_file.is_file() else {}
    if run.results.is_file():
        return clock
    training = [f"resume={job.folder}"] if run.config.is_file() else [*job.settings, f"run={job.folder}"]
    for verb, words in (("train", training), ("evaluate", [f"run={job.folder}"])):
        start = time.perf_counter()
        try:
            _contextssl([verb, *words], job.folder.with_suffix(".log"))
        finally:
            clock[verb] = round(clock.get(verb, 0.0) + time.perf_counter() - start, 1)
            write_text(clock_file, json.dumps(clock) + "\n")
        print(f"{job.experiment}, seed {job.seed}: {verb} {clock[verb]} s", flush=True)
    return clock


def _contextssl(words: Sequence[str], log: Path) -> None:
    """The command in a process of its own, with one thread; what it says goes into the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    with log.open("a") as said:
        command = [sys.executable, "-m", "contextssl.commands.main", *words]
        done = subprocess.run(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
    if done.returncode:
        last = log.read_text().strip().rpartition("\n")[2]
        raise RuntimeError(f"contextssl {' '.join(words)} failed ({last}); {log} says more")


def _baselines(job: Job) -> tuple[list[Result], float]:
    """What needs no training, measured once, with the wall seconds it took."""
    file, clock_file = job.runs / "baselines.jsonl", job.runs / "baselines.seconds.json"
    if not file.is_file():
        start = time.perf_counter()
        found = list(baseline_results(build(compose_config(job.settings).domain)))
        write_text(clock_file, json.dumps(round(time.perf_counter() - start, 1)))
        write_results(found, file)
    return read_results(file), float(json.loads(clock_file.read_text()))


def _rows(experiment: str, results: Sequence[Result]) -> list[Record]:
    return [{"experiment": experiment} | {k: _rounded(v) for k, v in asdict(row).items()} for row in summarise(results)]


def _rounded(value: object) -> object:
    """Floats to five digits; JSON has no nan."""
    if not isinstance(value, float):
        return value
    return round(value, 5) if math.isfinite(value) else None


def as_json(record: Record) -> str:
    """The record as JSON, one row a line, so that a change of some numbers is a small difference."""
    head = "".join(f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in record.items() if key != "results")
    return "{\n" + head + '"results": [\n' + ",\n".join(map(json.dumps, record["results"])) + "\n]\n}\n"


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
        jobs = [Job(experiment, seed) for experiment in (MAIN, *options.experiments) for seed in options.seeds]
        write_text(RESULTS, as_json(measure(jobs, options.jobs, ["python", "benchmarks/adult.py", *words])))
    record = json.loads(RESULTS.read_text())
    show(record)
    print(table(record["results"], main_lines()))


if __name__ == "__main__":
    main()
