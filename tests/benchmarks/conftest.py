"""What tests of benchmarks share: the import of one, and those that several files test."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a benchmark as its command does; afterwards everything that came from its folder is forgotten."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name, module in list(sys.modules.items()):
        if BENCHMARKS in Path(getattr(module, "__file__", None) or "/").parents:
            sys.modules.pop(name)


@pytest.fixture
def speed(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("speed")


@pytest.fixture
def once(speed: ModuleType) -> Any:
    return speed.Effort(1, 1, 0.0)


@pytest.fixture
def turns(speed: ModuleType) -> ModuleType:
    return sys.modules["speed_parts.turns"]


@pytest.fixture
def iebench(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("iebench")


@pytest.fixture
def study(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("fairness_study")
