"""Making a table: choose learning rates, run what is missing, and keep the record up to date after every run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from contextssl.evaluation.results import Result
from contextssl.reproduction import record
from contextssl.reproduction.jobs import VERBS, Job
from contextssl.reproduction.launchers import Launcher
from contextssl.reproduction.learning_rates import Choice, choose
from contextssl.reproduction.matrix import Matrix
from contextssl.reproduction.record import Record
from contextssl.reproduction.tables import Row
from contextssl.run import Run, describe_environment

LOG = logging.getLogger("contextssl")


@dataclass
class Campaign:
    """All runs of a table, done or not.

    Attributes:
        matrix: the runs.
        command: recorded.
        choices: row key -> rate chosen earlier; other rows try the candidates first, if there are any.
        failed: name of a run -> why it failed.
        environment: what this process runs in.
    """

    matrix: Matrix
    command: tuple[str, ...]
    choices: dict[str, Choice] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    environment: Mapping[str, object] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = describe_environment(self.command)

    def run(self, launcher: Launcher, keep: Callable[[Record], None]) -> None:
        """Run what is missing; `keep` is given the record before the first run and after every one.

        Raises:
            ValueError: before anything is run, when a folder holds a run of another configuration.
        """
        self._check()
        self._decide(all_tried=False)
        self._check()
        keep(self.record())
        self._carry_out([job for row in self._undecided for job in self.matrix.candidates(row).values()], launcher, keep)
        self._decide(all_tried=True)
        self._carry_out([job for _, job in self.runs], launcher, keep)
        keep(self.record())

    def _check(self) -> None:
        for job in self.jobs:
            job.check()

    @property
    def jobs(self) -> list[Job]:
        """What is known to be needed, candidates for learning rates first."""
        candidates = [job for row in self._undecided for job in self.matrix.candidates(row).values()]
        return [*candidates, *(job for _, job in self.runs)]

    @property
    def runs(self) -> list[tuple[Row, Job]]:
        """The runs that the table shows, of rows whose rate is known; seed by seed, so that all rows get on alike."""
        rows = [(row, self.matrix.runs(row, rate)) for row in self.matrix.table.rows if (rate := self._rate(row)) is not False]
        return [(row, jobs[seed]) for seed in range(self.matrix.num_seeds) for row, jobs in rows]

    def record(self) -> Record:
        """What is measured so far, and of which runs it will be."""
        shown = self.runs
        unrated = [row.key for row in self.matrix.table.rows if self._rate(row) is False]
        missing = unrated + [job.name for _, job in shown if not job.done]
        return {
            "title": self.matrix.table.title,
            "source": self.matrix.table.source,
            "note": self.matrix.table.note,
            "scale": self.matrix.scale,
            "about_scale": self.matrix.plan.about,
            "command": list(self.command),
            "complete": not missing,
            "missing": missing,
            "failed": self.failed,
            "environment": dict(self.environment),
            "data": _manifests([job for _, job in shown if job.done]),
            "seeds": list(range(self.matrix.num_seeds)),
            "seconds": _seconds(shown),
            "score": [asdict(self.matrix.table.readings[key]) for key in self.matrix.table.score],
            "learning_rates": {
                key: {"rate": choice.rate, "scores": {f"{rate:g}": value for rate, value in choice.scores.items()}}
                for key, choice in self.choices.items()
            },
            "blocks": record.blocks(self.matrix.table, _results(shown)),
        }

    @property
    def _undecided(self) -> list[Row]:
        """Rows whose own learning rate is still to be chosen."""
        return [row for row in self.matrix.table.rows if row.rate_of is None and self._rate(row) is False]

    def _rate(self, row: Row) -> float | None | bool:
        """The row's rate, None where its settings say it, False where it is still to be chosen."""
        if not self.matrix.rates:
            return None
        key = row.rate_of or row.key
        return self.choices[key].rate if key in self.choices else False

    def _carry_out(self, jobs: Sequence[Job], launcher: Launcher, keep: Callable[[Record], None]) -> None:
        waiting = [job for job in jobs if not job.done]
        for number, outcome in enumerate(launcher.outcomes(waiting), start=1):
            if outcome.error is not None:
                self.failed[outcome.job.name] = outcome.error
                LOG.warning("%s failed: %s", outcome.job.name, outcome.error)
            else:
                clock = ", ".join(f"{verb} {seconds:.0f} s" for verb, seconds in outcome.job.seconds.items())
                LOG.info("%d of %d: %s: %s", number, len(waiting), outcome.job.name, clock)
            keep(self.record())

    def _decide(self, *, all_tried: bool) -> None:
        """Choose the rates of rows whose candidates are all done, or of all rows now that no other candidate can be tried."""
        for row in self._undecided:
            found = {rate: job.results for rate, job in self.matrix.candidates(row).items()}
            if not all_tried and not all(found.values()):
                continue
            if (choice := choose(self.matrix.table, row, found)) is not None:
                self.choices[row.key] = choice
                LOG.info("%s: learning rate %g", row.key, choice.rate)


def _results(runs: Sequence[tuple[Row, Job]]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for row, job in runs:
        found.setdefault(row.key, []).extend(job.results)
    return found


def _seconds(runs: Sequence[tuple[Row, Job]]) -> dict[str, dict[str, list[float]]]:
    """Row key -> verb -> wall seconds of each finished run."""
    found: dict[str, dict[str, list[float]]] = {}
    for row, job in runs:
        for verb in VERBS if job.done else ():
            found.setdefault(row.key, {}).setdefault(verb, []).append(job.seconds.get(verb, 0.0))
    return found


def _manifests(jobs: Sequence[Job]) -> list[Mapping[str, object]]:
    """The different data that the runs were made of; where it lay on a disk is left out."""
    return list(_different(json.loads(Run(job.folder).manifest.read_text()) for job in jobs))


def _different(manifests: Iterator[dict[str, object]]) -> Iterator[dict[str, object]]:
    seen = []
    for manifest in manifests:
        kept = {key: value for key, value in manifest.items() if key != "source"}
        if kept not in seen:
            seen.append(kept)
            yield kept
