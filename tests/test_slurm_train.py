"""The Slurm template, with stand-ins for Slurm's commands and for the training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "slurm_train.sh"
# Starts one of four tasks, without the one option that it is given.
SRUN = '#!/bin/sh\nshift\nSLURM_PROCID=3 SLURM_LOCALID=1 SLURM_NTASKS=4 exec "$@"\n'
SCONTROL = '#!/bin/sh\nif [ "$1" = show ]; then printf "node7\\nnode8\\n"; else echo "$@" >>"$FOLDER/requeued"; fi\n'
PYTHON = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path
Path(os.environ["FOLDER"], "seen").write_text(json.dumps([sys.argv[1:], dict(os.environ)]))
sys.exit(int(os.environ["CODE"]))
"""


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (2, False), (138, True), (143, False)])
def test_only_the_time_limit_puts_a_job_back_into_the_queue(tmp_path: Path, code: int, requeued: bool) -> None:
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "python": PYTHON}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "45001", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_CPUS_PER_TASK": "6"}
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FOLDER": str(tmp_path), "CODE": str(code), **slurm}
    done = subprocess.run([SCRIPT, "experiment=x", "name=two words"], env=given, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "")
    words, seen = json.loads((tmp_path / "seen").read_text())
    assert words == ["-m", "contextssl", "train", "experiment=x", "name=two words", "resume=auto"]
    expected = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "node7", "MASTER_PORT": "25001"}
    assert {name: seen[name] for name in expected} == expected and seen["OMP_NUM_THREADS"] == "6"
    assert (tmp_path / "requeued").exists() == requeued
    assert not requeued or (tmp_path / "requeued").read_text() == "requeue 45001\n"
