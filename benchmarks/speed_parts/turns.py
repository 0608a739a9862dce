"""Taking turns: what is compared runs one after the other, again and again, so that a busy machine slows all of it alike."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peers.contestant import Settings, megabytes

PEERS = Path(__file__).resolve().parents[1] / "peers"


@dataclass(frozen=True)
class Effort:
    """How often to measure: at least `least` rounds, then until the seconds are over, at most `most`."""

    least: int
    most: int
    seconds: float


def in_turns(functions: Mapping[str, Callable[[], float]], effort: Effort, warm_up: bool = True) -> dict[str, list[float]]:
    """What each function returned in each round; unless told otherwise, a round before the first one warms up."""
    if warm_up:
        for function in functions.values():
            function()
    found: dict[str, list[float]] = {name: [] for name in functions}
    start = time.perf_counter()
    for done in range(effort.most):
        if done >= effort.least and time.perf_counter() - start > effort.seconds:
            break
        for name, function in functions.items():
            found[name].append(function())
    return found


def clocked(function: Callable[[], object], device: str = "cpu") -> Callable[[], float]:
    """The function as one that returns its seconds."""

    def measured() -> float:
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return measured


def summary(seconds: Sequence[float]) -> dict[str, float | int]:
    """Median, fastest and slowest round in milliseconds, and how many rounds."""
    return {
        "ms": round(1e3 * median(seconds), 3),
        "fastest_ms": round(1e3 * min(seconds), 3),
        "slowest_ms": round(1e3 * max(seconds), 3),
        "rounds": len(seconds),
    }


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Of the medians."""
    return round(median(numerator) / median(denominator), 4)


class Process:
    """A contestant that runs in a process of its own.

    Args:
        script: in benchmarks/peers.
        settings: sent to it.
        python: of its environment; this one's by default.

    Raises:
        RuntimeError: when it ends before it answers, with the last line it said.
    """

    def __init__(self, script: str, settings: Settings, python: Path | None = None) -> None:
        self.name = script
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process; a full pipe would stop it
        paths = [str(PEERS.parent)]  # for `peers.contestant`
        if python is None:
            paths += [str(PEERS.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [str(python or sys.executable), str(PEERS / script)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, bufsize=1,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        self.description: dict[str, Any] = json.loads(self._answer(json.dumps(asdict(settings))))

    def go(self) -> float:
        """Seconds of one step."""
        return float(self._answer("go"))

    def memory(self) -> float:
        """Megabytes that the first step takes beyond what was there before it."""
        return round(float(self._answer("memory")), 1)

    def flops(self) -> float:
        """Floating-point operations of one step."""
        return float(self._answer("flops"))

    def close(self) -> None:
        """End it; closing twice is as good as once."""
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._said.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, line: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended: what it said is read below
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            self._said.seek(0)
            said = [text.strip() for text in self._said if text.strip()] or ["nothing"]
            raise RuntimeError(f"{self.name} ended without an answer; the last it said: {said[-1]}")
        return answer


def memory_of(build: Callable[..., Callable[[], object]], *arguments: object, device: str, threads: int) -> float:
    """Megabytes that one call of `build(*arguments)` takes beyond what building took, in a process of its own.

    Args:
        build: a function of a module, which the process imports.
        *arguments: of it.
        device: where.
        threads: how many.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return round(pool.apply(_memory, (build, arguments, device, threads)), 2)


def _memory(build: Callable[..., Callable[[], object]], arguments: tuple, device: str, threads: int) -> float:
    torch.set_num_threads(threads)
    return megabytes(build(*arguments), device)
