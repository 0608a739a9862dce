"""The wheel holds everything: its command works in an empty folder, with no checkout near."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_command_runs_from_a_wheel_in_an_empty_folder(tmp_path: Path) -> None:
    source, installed, empty = tmp_path / "source", tmp_path / "installed", tmp_path / "empty"
    for name in ("contextssl", "domains", "configs"):
        shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(source)], check=True, capture_output=True, cwd=tmp_path
    )
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {name.partition("/")[0] for name in archive.namelist() if ".dist-info" not in name} == {"contextssl", "domains"}
        archive.extractall(installed)
    empty.mkdir()

    def contextssl(*words: str) -> str:
        command = [sys.executable, "-c", "import sys; from contextssl.commands.main import main; sys.exit(main())", *words]
        environment = os.environ | {"PYTHONPATH": str(installed)}
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=empty, env=environment, timeout=120).stdout

    assert str(installed) in contextssl("doctor")
    words = ["domain=generated_census", "+domain.num_generated=[600,300]", "debug=cpu_tiny", "evaluation=quick"]
    contextssl("train", *words, "run=first")
    contextssl("evaluate", "run=first")
    assert "report.html" in contextssl("report", "run=first")
    assert sorted(path.name for path in empty.iterdir()) == ["first"]
