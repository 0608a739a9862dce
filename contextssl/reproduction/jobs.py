"""Runs as jobs: each trained and evaluated by the normal commands in processes of their own, going on where they stopped.

Beside a run folder `seed-0` stand its lock `seed-0.lock`, its clock `seed-0.seconds.json` and what its commands said,
`seed-0.log`. Any of these processes may be killed at any moment; calling again finishes the job.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import contextssl
from contextssl.evaluation.results import Result, read_results
from contextssl.files import write_text
from contextssl.reproduction.locks import POLL, Stopped, exclusive
from contextssl.run import Run

# Ends, with a checkpoint saved, when the process that started it ends.
COMMAND = (sys.executable, "-m", "contextssl.commands.attended")
VERBS = ("train", "evaluate")
BEFORE_CONFIG = {"manifest.json", "environment.json"}  # written before config.yaml, by which a run folder is known


@dataclass(frozen=True, slots=True)
class Job:
    """One run.

    Attributes:
        name: what messages call it.
        folder: of the run.
        settings: what `contextssl train` is given besides the folder.
        config: the text of config.yaml that they compose to.
    """

    name: str
    folder: Path
    settings: tuple[str, ...]
    config: str = field(repr=False)

    @property
    def results(self) -> list[Result]:
        """What the run measured; empty before it is done."""
        return read_results(Run(self.folder).results) if self.done else []

    @property
    def done(self) -> bool:
        """Whether the run is trained and evaluated."""
        return Run(self.folder).results.is_file()

    @property
    def state(self) -> str:
        """`done`, `begun` or `to do`."""
        return "done" if self.done else "begun" if Run(self.folder).config.is_file() else "to do"

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds of both verbs so far."""
        file = self._beside(".seconds.json")
        return dict(json.loads(file.read_text())) if file.is_file() else {}

    @property
    def log(self) -> Path:
        """What its commands said."""
        return self._beside(".log")

    def check(self) -> None:
        """Raise ValueError when the folder holds a run of another configuration."""
        found = Run(self.folder).config
        if found.is_file() and found.read_text() != self.config:
            raise ValueError(
                f"{self.folder} was made by another configuration: remove it to run this one, or choose another folder"
            )

    def carry_out(self, environment: Mapping[str, str], stop: threading.Event) -> None:
        """Train and evaluate as far as it is not done.

        Args:
            environment: variables for the processes, beside this one's.
            stop: once it is set, the process at work is asked to save a checkpoint and end.

        Raises:
            ValueError: as `check`.
            RuntimeError: when a command fails, naming its log.
            Stopped: after `stop` was set.
        """
        with exclusive(self._beside(".lock"), stop) as lock:
            self.check()
            if self.done:
                return
            self._remove_unborn()
            begun = Run(self.folder).config.is_file()
            training = [f"resume={self.folder}"] if begun else [*self.settings, f"run={self.folder}"]
            for verb, words in zip(VERBS, (training, [f"run={self.folder}"]), strict=True):
                start = time.perf_counter()
                try:
                    run_command([verb, *words], self.log, environment, stop, lock.fileno())
                finally:
                    clock = self.seconds
                    clock[verb] = round(clock.get(verb, 0.0) + time.perf_counter() - start, 1)
                    write_text(self._beside(".seconds.json"), json.dumps(clock) + "\n")

    def _beside(self, suffix: str) -> Path:
        return self.folder.with_name(self.folder.name + suffix)

    def _remove_unborn(self) -> None:
        """Remove a folder whose run was killed before it had its config.yaml; anything else in it is left for `train` to refuse."""
        if self.folder.is_dir() and not Run(self.folder).config.is_file():
            names = {path.name for path in self.folder.iterdir()}
            if all(name in BEFORE_CONFIG or name.startswith(".") for name in names):
                shutil.rmtree(self.folder)


def run_command(words: Sequence[str], log: Path, environment: Mapping[str, str], stop: threading.Event, lock: int) -> None:
    """Run a verb in a process of its own that ends with this one; what it says is added to the log.

    Args:
        words: verb and arguments.
        log: file.
        environment: variables beside this process's.
        stop: once it is set, the process gets SIGTERM.
        lock: file descriptor that the process holds open as long as it lives.

    Raises:
        RuntimeError: when it fails.
        Stopped: when it was stopped.
    """
    package = str(Path(contextssl.__file__).parents[1])
    variables = (
        os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))} | dict(environment)
    )
    options: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "env": variables,
        "pass_fds": (lock,),
        "start_new_session": True,
    }
    with log.open("a") as said, subprocess.Popen([*COMMAND, *words], stdout=said, **options) as process:
        while process.poll() is None:
            if stop.wait(POLL):
                process.terminate()
                raise Stopped(f"contextssl {words[0]} was stopped")
    if process.returncode:
        last = log.read_text().strip().rpartition("\n")[2]
        raise RuntimeError(f"contextssl {' '.join(words)} failed ({last}); {log} says more")
