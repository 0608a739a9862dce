"""Launchers: every job has an outcome, failures stop nobody else, and what is no longer wanted is stopped."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contextssl.reproduction.jobs import Job
from contextssl.reproduction.launchers import LocalLauncher, SlurmLauncher, slurm_launcher
from contextssl.reproduction.locks import Stopped


class Recorded:
    """Stands for `Job.carry_out`: counts how many are at work, and fails or waits as the job's name says."""

    def __init__(self) -> None:
        self.at_work, self.most, self.environments, self.stopped = 0, 0, dict[str, dict[str, str]](), list[str]()
        self._guard = threading.Lock()

    def __call__(self, job: Job, environment: dict[str, str], stop: threading.Event) -> None:
        with self._guard:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            self.environments[job.name] = environment
        try:
            if job.name.startswith("long") and stop.wait(30):
                self.stopped.append(job.name)
                raise Stopped(job.name)
            time.sleep(0.02)
            if job.name.startswith("bad"):
                raise RuntimeError("it\nfailed")
        finally:
            with self._guard:
                self.at_work -= 1


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    found = Recorded()
    monkeypatch.setattr(Job, "carry_out", lambda job, environment, stop: found(job, environment, stop))
    return found


def jobs(*names: str) -> list[Job]:
    return [Job(name, Path(name), (), "") for name in names]


@pytest.mark.parametrize("num", [1, 3])
def test_all_jobs_end_so_many_at_a_time_and_a_failure_is_a_sentence(recorded: Recorded, num: int) -> None:
    outcomes = {o.job.name: o.error for o in LocalLauncher(num, gpus=()).outcomes(jobs("a", "bad", "b", "c", "d"))}
    assert outcomes == {"a": None, "bad": "it failed", "b": None, "c": None, "d": None}
    assert recorded.most == num


def test_cores_and_gpus_are_divided(recorded: Recorded) -> None:
    launcher = LocalLauncher(3, num_cores=8, gpus=("4", "7"))
    assert [launcher.environment(slot) for slot in range(3)] == [
        {"OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": gpu} for gpu in ("4", "7", "4")
    ]
    assert LocalLauncher(4, num_cores=2, gpus=("0",)).environment(3) == {"OMP_NUM_THREADS": "1"}
    list(LocalLauncher(1, num_cores=6, gpus=()).outcomes(jobs("a")))
    assert recorded.environments["a"] == {"OMP_NUM_THREADS": "6"}


def test_jobs_at_the_same_time_are_on_different_gpus(recorded: Recorded) -> None:
    launcher = LocalLauncher(2, num_cores=2, gpus=("0", "1"))
    outcomes = launcher.outcomes(jobs("a", "long1", "long2"))
    assert next(outcomes).job.name == "a"
    while len(recorded.environments) < 3:
        time.sleep(0.01)
    outcomes.close()  # type: ignore[attr-defined]
    assert {recorded.environments[name]["CUDA_VISIBLE_DEVICES"] for name in ("long1", "long2")} == {"0", "1"}


def test_closing_stops_what_is_at_work_and_begins_nothing_more(recorded: Recorded) -> None:
    outcomes = LocalLauncher(2, gpus=()).outcomes(jobs("a", "long1", "long2", "never"))
    assert next(outcomes).job.name == "a"
    while len(recorded.environments) < 3:
        time.sleep(0.01)
    outcomes.close()  # type: ignore[attr-defined]
    assert sorted(recorded.stopped) == ["long1", "long2"] and "never" not in recorded.environments


class FakeExecutor:
    """Runs what is submitted when it is asked whether it has ended."""

    def __init__(self, folder: object = None) -> None:
        self.parameters: dict[str, object] = {}
        self.cancelled: list[str] = []
        self.batched = False

    def update_parameters(self, **parameters: object) -> None:
        if "wrong" in parameters:
            raise NameError("wrong")
        self.parameters = parameters

    @contextmanager
    def batch(self) -> Iterator[None]:
        self.batched = True
        yield
        self.batched = False

    def submit(self, function: Any, job: Job, environment: dict[str, str]) -> SimpleNamespace:
        assert self.batched and environment == {}

        def result() -> object:
            if job.name == "killed":
                raise RuntimeError("job 7 was killed:\n out of memory")
            return function(job, environment)

        done = lambda: not job.name.startswith("waits")  # noqa: E731
        return SimpleNamespace(job_id="7", done=done, result=result, cancel=lambda: self.cancelled.append(job.name))


def test_slurm_jobs_have_outcomes_too(recorded: Recorded) -> None:
    outcomes = {o.job.name: o.error for o in SlurmLauncher(FakeExecutor(), poll=0).outcomes(jobs("a", "bad", "killed"))}
    assert outcomes["a"] is None and outcomes["bad"] == "it failed"
    assert outcomes["killed"] == "killed: Slurm job 7 ended without a result (job 7 was killed: out of memory)"


def test_slurm_jobs_that_are_no_longer_wanted_are_cancelled(recorded: Recorded) -> None:
    executor = FakeExecutor()
    outcomes = SlurmLauncher(executor, poll=0).outcomes(jobs("a", "waits"))
    assert next(outcomes).job.name == "a"
    outcomes.close()  # type: ignore[attr-defined]
    assert executor.cancelled == ["waits"]


def test_parameters_reach_submitit_and_its_absence_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=FakeExecutor))
    found = slurm_launcher(tmp_path, 4, {"timeout_min": 60}).executor.parameters
    assert found == {"timeout_min": 60, "slurm_array_parallelism": 4}
    with pytest.raises(ValueError, match="submitit does not take slurm.wrong"):
        slurm_launcher(tmp_path, 4, {"wrong": 1})
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"needs the package submitit: pip install 'contextssl\[slurm\]'"):
        slurm_launcher(tmp_path, 4, {})
