"""Where jobs run: a few at a time on this machine, or on a Slurm cluster through submitit."""

from __future__ import annotations

import importlib
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from contextssl.reproduction.jobs import Job


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended; `error` is a sentence, None when it is done."""

    job: Job
    error: str | None = None


class Launcher(Protocol):
    """Anything that carries out jobs."""

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """The outcome of every job, as they end; closing the iterator stops what has not ended."""
        ...


def attempt(job: Job, environment: Mapping[str, str], stop: threading.Event | None = None) -> Outcome:
    """Carry out the job; its failure becomes a sentence, so that the others go on."""
    try:
        job.carry_out(environment, stop or threading.Event())
    except (RuntimeError, ValueError, OSError) as error:
        return Outcome(job, " ".join(str(error).split()))
    return Outcome(job)


@dataclass(frozen=True)
class LocalLauncher:
    """Jobs on this machine, its cores and GPUs divided between those that run at the same time.

    Attributes:
        num_at_once: jobs at a time.
        num_cores: of the machine.
        gpus: names for CUDA_VISIBLE_DEVICES; jobs take turns.
    """

    num_at_once: int = 1
    num_cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    gpus: tuple[str, ...] = field(default_factory=lambda: visible_gpus())

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Launcher`."""
        stop, slots = threading.Event(), queue.SimpleQueue[int]()
        for slot in range(self.num_at_once):
            slots.put(slot)

        def work(job: Job) -> Outcome:
            slot = slots.get()
            try:
                return attempt(job, self.environment(slot), stop)
            finally:
                slots.put(slot)

        with ThreadPoolExecutor(self.num_at_once, thread_name_prefix="job") as pool:
            futures = [pool.submit(work, job) for job in jobs]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:  # Ctrl-C, or the caller has had enough: the jobs save what they have
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def environment(self, slot: int) -> dict[str, str]:
        """What a job in that slot is given: its share of the cores, and its GPU where there are several."""
        given = {"OMP_NUM_THREADS": str(max(1, self.num_cores // self.num_at_once))}
        return given | ({"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if len(self.gpus) > 1 else {})


def visible_gpus() -> tuple[str, ...]:
    """Names of the GPUs this process may use, as CUDA_VISIBLE_DEVICES has them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",")) if named else tuple(map(str, range(torch.cuda.device_count())))


@dataclass(frozen=True)
class SlurmLauncher:
    """Jobs handed to a submitit executor, one Slurm job each; they may outlive this process, their locks guard them.

    Attributes:
        executor: with its parameters set.
        poll: seconds between looks at what has ended.
    """

    executor: Any
    poll: float = 5.0

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """See `Launcher`; Slurm jobs that wait or run are cancelled when the iterator is closed."""
        with self.executor.batch():
            submitted = [(job, self.executor.submit(attempt, job, {})) for job in jobs]
        try:
            while submitted:
                ended = [pair for pair in submitted if pair[1].done()]
                submitted = [pair for pair in submitted if pair not in ended]
                for job, handle in ended:
                    yield _slurm_outcome(job, handle)
                time.sleep(self.poll if submitted and not ended else 0)
        finally:
            for _, handle in submitted:
                handle.cancel()


def _slurm_outcome(job: Job, handle: Any) -> Outcome:
    """What the job returned; a job that Slurm ended has returned nothing."""
    try:
        outcome = handle.result()
    except Exception as error:  # noqa: BLE001 - submitit raises its own classes, which are not importable without it
        return Outcome(
            job, f"{job.name}: Slurm job {handle.job_id} ended without a result ({' '.join(str(error).split())[:200]})"
        )
    assert isinstance(outcome, Outcome)
    return outcome


def slurm_launcher(folder: Path, num_at_once: int, parameters: Mapping[str, object]) -> SlurmLauncher:
    """A launcher with a fresh executor.

    Args:
        folder: for submitit's files, on a disk that all nodes share.
        num_at_once: Slurm jobs at a time.
        parameters: as submitit's AutoExecutor takes them: timeout_min, gpus_per_node, slurm_partition...

    Raises:
        ValueError: when submitit is not installed, or does not know a parameter.
    """
    try:
        submitit = importlib.import_module("submitit")
    except ImportError as error:
        raise ValueError("launcher=submitit needs the package submitit: pip install 'contextssl[slurm]'") from error
    executor = submitit.AutoExecutor(folder=folder)
    try:
        executor.update_parameters(slurm_array_parallelism=num_at_once, **parameters)
    except (NameError, TypeError) as error:
        raise ValueError(f"submitit does not take slurm.{error}: see its AutoExecutor for names such as timeout_min") from error
    return SlurmLauncher(executor)
