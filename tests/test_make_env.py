"""`make env`: which versions it asks for, beside an installed pair of torch and torchvision and without one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture
def make_env() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("make_env", CHECKOUT / "scripts" / "make_env.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_installed_pair_and_what_it_brought_are_left_alone(make_env: ModuleType) -> None:
    every, beside = make_env._constraints(), make_env._beside_installed_pair()
    assert [line for line in beside if line.startswith("torch")] == [
        f"{name}=={importlib.metadata.version(name)}" for name in ("torch", "torchvision")
    ]
    left_out = {line.partition("==")[0].lower() for line in every} - {line.partition("==")[0].lower() for line in beside}
    assert {"numpy", "sympy", "mpmath", "filelock", "pillow", "markupsafe"} <= left_out
    assert not {"hydra-core", "pandas", "pytest", "scikit-learn"} & left_out


def test_constraints_name_exact_versions_of_every_direct_dependency(make_env: ModuleType) -> None:
    import tomllib

    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    lines = make_env._constraints()
    assert all(line.count("==") == 1 and "/" not in line for line in lines)
    pinned = {make_env._canonical(line.partition("==")[0]) for line in lines}
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {make_env._canonical(line.split(">")[0].split("[")[0]) for line in asked} <= pinned


@pytest.mark.parametrize("version", [(3, 10, 4), (3, 14, 0)])
def test_another_python_is_refused_in_one_sentence(
    make_env: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    assert make_env.main() == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("contextssl needs Python 3.11 to 3.13") and "\n" not in said and "PYTHON=" in said
