"""The real command under torchrun: two processes that are killed, stopped, or go wrong, and what is made of their run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contextssl.checkpoint import complete_checkpoints
from contextssl.commands.main import main

CHECKOUT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.slow

SETTINGS = [
    "domain=toy", "method=context_ssl/plain", "method.transformer.width=16", "device=cpu", "train.num_steps=80",
    "train.batch_size=8", "train.num_transitions=4", "train.warmup_steps=5", "record.log_every=5", "record.checkpoint_every=10",
]  # fmt: skip
TOY = """
_target_: contextssl.testing.ToyAdapter
num_items: 200
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command, on a domain of the test's own."""
    (tmp_path / "configs" / "domain").mkdir(parents=True)
    (tmp_path / "configs" / "domain" / "toy.yaml").write_text(TOY)
    return ["train", "--configs", str(tmp_path / "configs"), *SETTINGS]


@pytest.fixture
def start() -> Iterator[Callable[[list[str]], subprocess.Popen[str]]]:
    """Starts two processes on this machine; none is left behind."""
    begun = []
    given = {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "CONTEXTSSL_PROCESS_TIMEOUT": "200", "PYTHONWARNINGS": "ignore"}

    def launch(words: list[str]) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            "-m",
            "contextssl",
            *words,
        ]
        pipe = subprocess.PIPE
        begun.append(
            subprocess.Popen(command, env=os.environ | given, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        )
        return begun[-1]

    yield launch
    for launcher in begun:
        if launcher.poll() is None:
            os.killpg(launcher.pid, signal.SIGKILL)
            launcher.communicate()


def wait_for(path: Path, started: subprocess.Popen[str]) -> None:
    """Until the path is there."""
    while not path.exists():
        assert started.poll() is None, started.communicate()[1]
        time.sleep(0.01)


def worker(launcher: int, rank: int) -> int:
    """The number of the process with that rank."""
    for number in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if f"RANK={rank}" in Path(f"/proc/{number}/environ").read_text().split("\0"):
            return int(number)
    raise AssertionError("no such process")


def messages(text: str) -> list[str]:
    """What the project says itself, among what torchrun says."""
    return [line for line in text.splitlines() if line.startswith("contextssl train")]


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def same_run(first: Path, second: Path) -> None:
    assert [row["step"] for row in rows(first)] == [row["step"] for row in rows(second)] == list(range(5, 81, 5))
    for one, other in zip(rows(first), rows(second), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_a_killed_rank_is_named_once_and_its_run_goes_on_in_one_process(tmp_path: Path, words: list[str], start) -> None:
    folder = tmp_path / "run"
    started = start([*words, f"run={folder}", "resume=auto"])
    wait_for(folder / "checkpoints" / "step-000010", started)
    os.kill(worker(started.pid, 1), signal.SIGKILL)
    _, said = started.communicate(timeout=300)
    assert started.returncode != 0
    (message,) = messages(said)
    newest = complete_checkpoints(folder / "checkpoints")[-1].name
    assert message == (
        "contextssl train, rank 0 of 2: rank 1 of 2 does not answer (killed, out of memory, or hanging): contact is lost; "
        f"to go on from {newest}, with as many processes as you like: contextssl train resume={folder}"
    )
    assert newest < "step-000080" and "processes.py" not in said  # the traceback is torchrun's own

    assert main([*words, f"run={folder}", "resume=auto"]) == 0
    assert main([*words, f"run={tmp_path / 'whole'}"]) == 0
    same_run(folder, tmp_path / "whole")
    assert f"resumed after step {int(newest[5:])} of 80" in (folder / "log.txt").read_text()


def test_a_run_told_to_stop_saves_and_goes_on_in_two_processes(tmp_path: Path, words: list[str], start) -> None:
    folder = tmp_path / "run"
    started = start([*words, f"run={folder}", "resume=auto"])
    wait_for(folder / "checkpoints" / "step-000010", started)
    os.kill(worker(started.pid, 1), signal.SIGUSR1)  # one of them is enough
    _, said = started.communicate(timeout=300)
    (message,) = messages(said)
    newest = complete_checkpoints(folder / "checkpoints")[-1].name
    assert message == (
        f"contextssl train: stopped by SIGUSR1 after step {int(newest[5:])}; continue with: contextssl train resume={folder}"
    )
    again = start([*words, f"run={folder}", "resume=auto"])
    printed, said = again.communicate(timeout=300)
    assert again.returncode == 0 and messages(said) == [], said
    assert printed.splitlines() == [f"run folder: {folder}"]
    assert main([*words, f"run={tmp_path / 'whole'}"]) == 0
    same_run(folder, tmp_path / "whole")


def test_an_error_in_every_process_is_told_once(tmp_path: Path, words: list[str], start) -> None:
    started = start([*words, "train.batch_size=9", f"run={tmp_path / 'run'}"])
    _, said = started.communicate(timeout=300)
    (message,) = messages(said)
    assert message.endswith("batch_size 9, of all processes together, does not divide among 2 of them in 1 micro-batches")
