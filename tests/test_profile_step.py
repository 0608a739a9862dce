"""The profiling script: settings of `contextssl train` in, a table out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SCRIPT = CHECKOUT / "scripts" / "profile_step.py"


def profile(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, cwd=folder, env=environment)


@pytest.mark.slow
def test_a_step_is_taken_apart_and_nothing_is_left_behind(tmp_path: Path) -> None:
    found = profile("domain=generated_census", "debug=cpu_tiny", "--repetitions", "1", "--threads", "1", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    for part in ("data", "encoder forward", "rehearsal", "penalty", "encoder backward", "optimizer"):
        assert re.search(rf"{part} +│ +\d+\.\d │ +\d+\.\d%", found.stdout), part
    assert re.search(r"overhead \d+\.\d%; peak memory \d+ MiB", found.stdout)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    found = profile("train.num_stepz=3", folder=tmp_path)
    assert found.returncode == 1 and found.stdout == ""
    assert re.fullmatch(r"profile_step: unknown key 'train.num_stepz': did you mean 'train.num_steps'\? .*\n", found.stderr)
