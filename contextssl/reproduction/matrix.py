"""From a table and a scale to jobs: one for each row, learning rate and seed, in folders that say which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contextssl.reproduction.jobs import Job
from contextssl.reproduction.tables import PaperTable, Row, Scale

RATE = "train.optimizer.lr"


@dataclass(frozen=True)
class Matrix:
    """The runs of a table at a scale.

    Attributes:
        table: what is made.
        scale: key of one of its scales.
        num_seeds: runs of each row, with seeds 0, 1...
        folder: of all runs; a run stands in `<row>/lr-<rate>/seed-<seed>`, without the middle where no rate is chosen.
        compose: the text of config.yaml that settings compose to.
        overrides: settings for every run, after those of the table.
        options: further words of `contextssl train`, such as `--configs DIR`.
    """

    table: PaperTable
    scale: str
    num_seeds: int
    folder: Path
    compose: Callable[[Sequence[str]], str] = field(repr=False)
    overrides: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    _known: dict[Path, Job] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def plan(self) -> Scale:
        """The scale."""
        return self.table.scales[self.scale]

    @property
    def rates(self) -> tuple[float, ...]:
        """Candidates for the learning rate; none where the scale has none or the caller has set one."""
        return () if any(word.startswith(f"{RATE}=") for word in self.overrides) else self.plan.rates

    def job(self, row: Row, rate: float | None, seed: int) -> Job:
        """One run."""
        given = () if rate is None else (f"{RATE}={rate:g}",)
        words = (*self.plan.overrides, *row.overrides, *row.at.get(self.scale, ()), *given, *self.overrides)
        settings = (*words, f"++evaluation.bank.method_name={row.key}", f"seed={seed}", f"name={row.key}")
        place = self.folder / row.key / ("" if rate is None else f"lr-{rate:g}") / f"seed-{seed}"
        if place not in self._known:  # composing takes a fifth of a second
            at = "" if rate is None else f", rate {rate:g}"
            name = f"{row.key}{at}, seed {seed}"
            self._known[place] = Job(name, place, (*self.options, *settings), self.compose(settings))
        return self._known[place]

    def candidates(self, row: Row) -> dict[float, Job]:
        """Rate -> the run of the first seed with it."""
        return {rate: self.job(row, rate, 0) for rate in self.rates}

    def runs(self, row: Row, rate: float | None) -> list[Job]:
        """The runs that the table shows, the first of them a candidate."""
        return [self.job(row, rate, seed) for seed in range(self.num_seeds)]
