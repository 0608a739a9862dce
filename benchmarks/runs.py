"""What benchmarks of trained runs share: runs that go on where they stopped, averaged rows, pages and figures."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contextssl.commands.configuration import as_yaml, compose_config
from contextssl.evaluation.intervals import summarise
from contextssl.evaluation.results import Result, read_results
from contextssl.files import write_text
from contextssl.reporting.tables import Cell
from contextssl.run import Run, describe_environment

ROOT = Path(__file__).resolve().parents[1]
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """One run: an experiment with a seed, further overrides, and a name for them where one experiment is run in variants."""

    experiment: str
    seed: int
    overrides: tuple[str, ...] = ()
    runs: Path = Path("outputs/benchmarks")
    variant: str = ""

    @property
    def name(self) -> str:
        """What the run's rows are called in a record."""
        return f"{self.experiment}/{self.variant}" if self.variant else self.experiment

    @property
    def folder(self) -> Path:
        """Of the run; its log and its clock stand beside it."""
        return self.runs / self.name / f"seed-{self.seed}"

    @property
    def settings(self) -> list[str]:
        """What `contextssl train` is given."""
        return [f"experiment={self.experiment}", f"seed={self.seed}", *self.overrides]


def measure(jobs: Sequence[Job], num_at_once: int, command: Sequence[str], keep: Callable[[str, Result], bool]) -> Record:
    """The record of all runs: who, where, how long, and a row for every number, averaged over seeds and draws.

    Args:
        jobs: what to run, unless it is there already.
        num_at_once: so many at a time, one thread each.
        command: recorded.
        keep: whether a run of that name stores a result.

    Raises:
        ValueError: when a run's folder holds a run of another configuration.
        RuntimeError: when a run fails, naming its log.
    """
    for job in jobs:
        _check(job)
    with ThreadPoolExecutor(num_at_once) as pool:
        futures = [pool.submit(_carry_out, job) for job in jobs]
        try:
            seconds = [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    rows, clock = [], {}
    for name in dict.fromkeys(job.name for job in jobs):
        found = [(job, spent) for job, spent in zip(jobs, seconds, strict=True) if job.name == name]
        results = [result for job, _ in found for result in read_results(Run(job.folder).results)]
        rows += averaged(name, [result for result in results if keep(name, result)])
        clock[name] = {verb: [spent[verb] for _, spent in found] for verb in ("train", "evaluate")}
    manifest = json.loads(Run(jobs[0].folder).manifest.read_text())
    return {
        "command": list(command),
        "environment": describe_environment(command),
        "data": {key: value for key, value in manifest.items() if key != "source"},
        "seeds": sorted({job.seed for job in jobs}),
        "seconds": clock,
        "results": rows,
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
        print(f"{job.name}, seed {job.seed}: {verb} {clock[verb]} s", flush=True)
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


def averaged(name: str, results: Sequence[Result]) -> list[Record]:
    """One row for each number, over all seeds and draws."""
    return [{"experiment": name} | {k: _rounded(v) for k, v in asdict(row).items()} for row in summarise(results)]


def _rounded(value: object) -> object:
    """Floats to five digits; JSON has no nan."""
    if not isinstance(value, float):
        return value
    return round(value, 5) if math.isfinite(value) else None


def as_json(record: Record) -> str:
    """The record as JSON, one row a line, so that a change of some numbers is a small difference."""
    head = "".join(f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in record.items() if key != "results")
    return "{\n" + head + '"results": [\n' + ",\n".join(map(json.dumps, record["results"])) + "\n]\n}\n"


def packed(record: Record) -> Record:
    """The record with its rows as lists below one list of column names: less than half of the file."""
    rows = record["results"]
    columns = list(rows[0])
    return record | {"columns": columns, "results": [[row[column] for column in columns] for row in rows]}


def unpacked(record: Record) -> Record:
    """The record as it was before `packed`."""
    columns = record["columns"]
    plain = {key: value for key, value in record.items() if key != "columns"}
    return plain | {"results": [dict(zip(columns, row, strict=True)) for row in record["results"]]}


def cell(row: Record | None) -> Cell:
    """A row as a table shows it: mean ± standard deviation over seeds; an empty cell for None."""
    if row is None:
        return Cell()
    mean, sd = row["mean"], row["sd"]
    return Cell(mean) if sd is None or row["num_seeds"] < 2 else Cell(mean, mean - sd, mean + sd)


def filled(page: str, sections: Mapping[str, str]) -> str:
    """The page with what stands between `<!-- name:begin -->` and `<!-- name:end -->` replaced, for each section it has."""
    for name, text in sections.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        page = re.sub(f"{begin}\n.*?{end}", lambda _, b=begin, t=text, e=end: f"{b}\n\n{t}\n{e}", page, flags=re.S)  # type: ignore[misc]
    return page
