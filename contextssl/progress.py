"""Progress for whoever is watching: a bar on a terminal, now and then a line everywhere else."""

from __future__ import annotations

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LOG = logging.getLogger("contextssl")
LINE_SECONDS = 15.0

CONSOLE = Console(stderr=True)
"""Shared with the log's handler, so that messages appear above a bar and not through it."""


class Progress:
    """Shows step, loss, rate and time left; a context manager.

    Args:
        num_steps: of the whole run.
        start: steps done before.
        console: where to draw.
    """

    def __init__(self, num_steps: int, start: int = 0, console: Console = CONSOLE) -> None:
        self.num_steps, self.start, self.console = num_steps, start, console
        self._bar: Bar | None = None
        self._began = self._last_line = time.perf_counter()

    def __enter__(self) -> Progress:
        self._began = time.perf_counter()
        self._last_line = float("-inf")
        if self.console.is_terminal:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]}  {task.fields[rate]}"),
                TimeRemainingColumn(),
            )
            self._bar = Bar(*columns, console=self.console)
            self._task = self._bar.add_task("train", total=self.num_steps, completed=self.start, loss="-", rate="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, step: int, loss: float) -> None:
        """Show that `step` steps are done."""
        now = time.perf_counter()
        rate = (step - self.start) / max(now - self._began, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, loss=f"{loss:.4f}", rate=f"{rate:.1f} steps/s")
        elif now - self._last_line >= LINE_SECONDS or step == self.num_steps:
            self._last_line = now
            left = (self.num_steps - step) / max(rate, 1e-9)
            LOG.info("step %d/%d  loss %.4f  %.1f steps/s  %s left", step, self.num_steps, loss, rate, _duration(left))


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
