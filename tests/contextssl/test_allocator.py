"""Freed memory is kept, and nothing else happens: seen from the page faults of a fresh process."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from contextssl import allocator

CHECKOUT = Path(__file__).resolve().parents[2]
MEGABYTES = 64
STEPS = f"""
import resource, runpy, sys, torch
if sys.argv[1] == "keep":
    assert runpy.run_path("contextssl/allocator.py")["keep_freed_memory"]()
step = lambda: torch.ones({MEGABYTES} * 2**18).sum()
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / 2**20)
"""


def megabytes_faulted(way: str) -> float:
    """Memory that five equal steps had to get from the system anew."""
    said = subprocess.run([sys.executable, "-c", STEPS, way], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return float(said.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted on Linux")
def test_a_step_uses_the_memory_of_the_one_before() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this C library cannot be told")
    assert megabytes_faulted("keep") < 0.1 * 5 * MEGABYTES
    assert megabytes_faulted("leave") > 0.9 * 5 * MEGABYTES


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_where_the_library_cannot_be_told_all_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def missing(_: object) -> None:
        raise error

    monkeypatch.setattr(allocator.ctypes, "CDLL", missing)
    assert allocator.keep_freed_memory() is False
