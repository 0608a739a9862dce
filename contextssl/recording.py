"""What happens between steps: metrics, diagnosis, checkpoints, progress, and stopping when asked to."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor

from contextssl.batch import Transitions
from contextssl.checkpoint import complete_checkpoints, restore_checkpoint, save_checkpoint
from contextssl.distributed import ProcessLost, num_processes, rank
from contextssl.method import Method
from contextssl.metrics_log import MetricsLog, append_json
from contextssl.processes import Interrupted, from_first, highest
from contextssl.progress import Progress
from contextssl.run import Run
from contextssl.training import TrainingState

LOG = logging.getLogger("contextssl")
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

Diagnose = Callable[[Method, Transitions], tuple[dict[str, float], list[str]]]
"""Measures a method on a batch: numbers by name, and sentences of warning. Called in eval mode, without gradients."""


class Logger(Protocol):
    """Where metrics go besides the run folder."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take one row."""
        ...

    def finish(self) -> None:
        """Called once, however the run ends."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """How often to do what, in steps; None for never.

    Attributes:
        log_every: metrics.
        checkpoint_every: checkpoints, besides the one after the last step.
        keep_last: checkpoints to keep.
        diagnose_every: signs of collapse.
    """

    log_every: int = 10
    checkpoint_every: int | None = 500
    keep_last: int = 2
    diagnose_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("log_every", "checkpoint_every", "keep_last", "diagnose_every"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1) and not (
                value is None and name in ("checkpoint_every", "diagnose_every")
            ):
                raise ValueError(f"record.{name}: expected a whole number of at least 1, found {value!r}")


class Recorder:
    """The `on_step` of a run. Metrics are those of the logged step itself, so that a resumed run logs the same numbers.

    Of several processes the first one records; all stop together when one of them is asked to.

    Args:
        run: its folder.
        state: what is trained and saved.
        num_steps: of the whole run.
        recording: how often to do what.
        digests: kept in checkpoints.
        logger: a second destination of metrics.
        diagnose, diagnosis_batch: the collapse monitor and what it looks at.
    """

    def __init__(
        self,
        run: Run,
        state: TrainingState,
        num_steps: int,
        recording: Recording,
        digests: Mapping[str, str],
        logger: Logger,
        diagnose: Diagnose | None = None,
        diagnosis_batch: Transitions | None = None,
    ) -> None:
        self.run, self.state, self.num_steps, self.recording, self.digests, self.logger = (
            run,
            state,
            num_steps,
            recording,
            digests,
            logger,
        )
        self.diagnose, self.diagnosis_batch = diagnose, diagnosis_batch
        self.metrics = MetricsLog(run.folder)
        self.progress = Progress(num_steps, state.step)
        self._unchecked: list[tuple[int, dict[str, Tensor]]] = []
        self._last_row: tuple[int, float] = (state.step, time.perf_counter())
        self._signal: int | None = None

    def __call__(self, step: int, terms: dict[str, Tensor]) -> None:
        """Record one finished step.

        Raises:
            FloatingPointError: at the next logged step after a term stopped being finite, naming both.
            Interrupted: after saving a checkpoint, when a signal has asked to stop.
        """
        asked = highest(self._signal or 0)
        last = step == self.num_steps
        if rank() == 0:
            self._record(step, terms, last, saving=last or asked > 0 or _due(step, self.recording.checkpoint_every))
        if asked and not last:
            highest(0)  # the others wait for the checkpoint
            name = signal.Signals(asked).name
            raise Interrupted(asked, f"stopped by {name} after step {step}; continue with: {self._command}")

    @property
    def _command(self) -> str:
        return f"contextssl train resume={self.run.folder}"

    def _record(self, step: int, terms: dict[str, Tensor], last: bool, saving: bool) -> None:
        self._unchecked.append((step, terms))
        diagnosing = last or _due(step, self.recording.diagnose_every)
        if diagnosing or _due(step, self.recording.log_every):
            self._log(step, terms, self._diagnosis(step) if diagnosing else {})
        if saving:
            self._check_finite()
            self._check_weights()
            self.metrics.flush()
            save_checkpoint(self.run.checkpoints, self.state, self.digests, self.recording.keep_last)

    def resume(self) -> None:
        """Go back to the newest checkpoint, if there is one.

        Raises:
            ValueError: when the configuration or the data are not those of the checkpoint.
        """
        for checkpoint in from_first(lambda: complete_checkpoints(self.run.checkpoints)[-1:]):
            self._compare(checkpoint, restore_checkpoint(checkpoint, self.state))
        from_first(lambda: self.metrics.rewind(self.state.step))
        self.progress = Progress(self.num_steps, self.state.step)
        self._last_row = (self.state.step, time.perf_counter())
        LOG.info("resumed after step %d of %d", self.state.step, self.num_steps)

    @contextmanager
    def listening(self) -> Iterator[Recorder]:
        """While training: show progress, and turn SIGTERM, SIGUSR1 and the first Ctrl-C into a checkpoint and a clean stop.

        Raises:
            ProcessLost: saying how to go on.
        """

        def stop(number: int, _frame: FrameType | None) -> None:
            self._signal = number
            if num_processes() == 1:  # launchers pass on signals that their processes have got already
                signal.signal(number, before[signal.Signals(number)])  # asked twice: stop at once

        numbers = STOPPING if threading.current_thread() is threading.main_thread() else ()
        before: dict[signal.Signals, Any] = {number: signal.signal(number, stop) for number in numbers}
        try:
            with self.progress:
                yield self
        except ProcessLost as lost:
            if numbers:
                before[signal.SIGTERM] = signal.SIG_IGN  # the launcher will end what is left, but first we say why
            kept = complete_checkpoints(self.run.checkpoints)
            newest = f"go on from {kept[-1].name}" if kept else "begin again"
            raise ProcessLost(f"{lost}; to {newest}, with as many processes as you like: {self._command}") from lost
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.logger.finish()

    def _log(self, step: int, terms: dict[str, Tensor], diagnosis: dict[str, float]) -> None:
        self._check_finite()
        values = {f"train/loss/{name}": float(term) for name, term in terms.items()}
        row = {
            "train/loss": math.fsum(values.values()),
            **values,
            "lr": float(self.state.optimizer.param_groups[0]["lr"]),
            **diagnosis,
        }
        self.metrics.append(step, row)
        self.logger.log(step, row)
        now, (previous_step, previous) = time.perf_counter(), self._last_row
        rate = (step - previous_step) / max(now - previous, 1e-9)
        append_json(self.run.timing, {"step": step, "time": round(time.time(), 3), "steps_per_second": round(rate, 4)})
        self._last_row = (step, now)
        self.progress.advance(step, row["train/loss"])

    def _diagnosis(self, step: int) -> dict[str, float]:
        if self.diagnose is None or self.diagnosis_batch is None or self.recording.diagnose_every is None:
            return {}
        method = self.state.method
        training = method.training
        method.eval()
        with torch.no_grad():
            numbers, warnings = self.diagnose(method, self.diagnosis_batch.to(self.state.device))
        method.train(training)
        for warning in warnings:
            LOG.warning("%s (step %d)", warning, step)
        return {f"diagnostics/{name}": number for name, number in numbers.items()}

    def _check_finite(self) -> None:
        """One transfer from the device for all steps since the last check."""
        steps, self._unchecked = self._unchecked, []
        flat = [(step, name, term) for step, terms in steps for name, term in terms.items()]
        if not flat:
            return
        values = torch.stack([term for *_, term in flat])
        for (step, name, _), value in zip(flat, values.tolist(), strict=True):
            if not math.isfinite(value):
                saved = complete_checkpoints(self.run.checkpoints)
                kept = f"the last checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
                raise FloatingPointError(
                    f"loss term {name!r} is {value} at step {step}: check the data for it or lower the learning rate; {kept}"
                )

    def _check_weights(self) -> None:
        """A gradient can break where its loss did not; such weights must not replace a good checkpoint."""
        weights = dict(self.state.method.named_parameters())
        finite = torch.stack([weight.isfinite().all() for weight in weights.values()]).tolist()
        if broken := [name for name, fine in zip(weights, finite, strict=True) if not fine]:
            raise FloatingPointError(
                f"weights {broken[0]!r} are not finite after step {self.state.step}: lower the learning rate or clip gradients"
            )

    def _compare(self, checkpoint: Path, saved: Mapping[str, str]) -> None:
        for what, meaning in (("config", "config.yaml is"), ("data", "the data are")):
            if saved[what] != self.digests[what]:
                raise ValueError(
                    f"{meaning} not what {checkpoint} was trained with: restore it, or start a new run with init_from={checkpoint}"
                )
        if saved["code"] != self.digests["code"] and self.state.step < self.num_steps:
            LOG.warning("the code has changed since the checkpoint: the run goes on, but not bit for bit as it would have")


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
