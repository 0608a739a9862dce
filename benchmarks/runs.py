"""What benchmarks of trained runs share: runs that go on where they stopped, averaged rows, pages and figures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contextssl.commands.configuration import as_yaml, compose_config
from contextssl.evaluation.intervals import summarise
from contextssl.evaluation.results import Result
from contextssl.reporting.tables import Cell
from contextssl.reproduction.jobs import VERBS, Job
from contextssl.reproduction.launchers import LocalLauncher
from contextssl.run import Run, describe_environment

ROOT = Path(__file__).resolve().parents[1]
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a benchmark: an experiment with a seed, further overrides, and a name for them where it is run in variants."""

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
        """Of the run."""
        return self.runs / self.name / f"seed-{self.seed}"

    @property
    def settings(self) -> tuple[str, ...]:
        """What `contextssl train` is given."""
        return (f"experiment={self.experiment}", f"seed={self.seed}", *self.overrides)

    @property
    def job(self) -> Job:
        """What is carried out."""
        return Job(f"{self.name}, seed {self.seed}", self.folder, self.settings, as_yaml(compose_config(self.settings)))


def measure(trials: Sequence[Trial], num_at_once: int, command: Sequence[str], keep: Callable[[str, Result], bool]) -> Record:
    """The record of all runs: who, where, how long, and a row for every number, averaged over seeds and draws.

    Args:
        trials: what to run, unless it is there already.
        num_at_once: so many at a time, one thread each.
        command: recorded.
        keep: whether a run of that name stores a result.

    Raises:
        ValueError: when a run's folder holds a run of another configuration.
        RuntimeError: when a run fails, naming its log.
    """
    jobs = [trial.job for trial in trials]
    _carry_out(jobs, num_at_once)
    rows, clock = [], {}
    for name in dict.fromkeys(trial.name for trial in trials):
        found = [job for trial, job in zip(trials, jobs, strict=True) if trial.name == name]
        rows += averaged(name, [result for job in found for result in job.results if keep(name, result)])
        clock[name] = {verb: [job.seconds[verb] for job in found] for verb in VERBS}
    manifest = json.loads(Run(jobs[0].folder).manifest.read_text())
    return {
        "command": list(command),
        "environment": describe_environment(command),
        "data": {key: value for key, value in manifest.items() if key != "source"},
        "seeds": sorted({trial.seed for trial in trials}),
        "seconds": clock,
        "results": rows,
    }


def _carry_out(jobs: Sequence[Job], num_at_once: int) -> None:
    for job in jobs:
        job.check()
    launcher = LocalLauncher(num_at_once, num_cores=num_at_once)
    for outcome in launcher.outcomes([job for job in jobs if not job.done]):
        if outcome.error is not None:
            raise RuntimeError(outcome.error)
        print(f"{outcome.job.name}: {outcome.job.seconds} s", flush=True)


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
