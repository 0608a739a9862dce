"""What the tests of one benchmark share: of speed, of 3DIEBench, of the fairness study."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import speed

    yield speed
    for name in [name for name in sys.modules if name.partition(".")[0] in ("speed", "speed_parts", "peers", "runs")]:
        sys.modules.pop(name)


@pytest.fixture
def once(speed: ModuleType) -> Any:
    return speed.Effort(1, 1, 0.0)


@pytest.fixture
def turns(speed: ModuleType) -> ModuleType:
    return sys.modules["speed_parts.turns"]


@pytest.fixture
def iebench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import iebench

    yield iebench
    for name in [name for name in sys.modules if name.startswith("iebench") or name == "runs"]:
        sys.modules.pop(name)


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import fairness_study

    yield fairness_study
    for name in [name for name in sys.modules if name.startswith("fairness_") or name == "runs"]:
        sys.modules.pop(name)
