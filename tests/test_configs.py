"""Every config composes, names things that exist, and is shipped."""

from __future__ import annotations

import inspect
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from contextssl.commands.configuration import compose_config, config_groups, configs_folder, expand_sweep

CHECKOUT = Path(__file__).resolve().parent.parent
GROUPS = config_groups()
OPTIONS = [(group, option) for group, options in GROUPS.items() for option in options]
FILES = sorted(configs_folder().rglob("*.yaml"))


def targets(node: Any) -> Iterator[dict[str, Any]]:
    """Every node that describes an object, innermost last."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def given(group: str, option: str) -> list[str]:
    """Some value for everything that only a user knows."""
    content = OmegaConf.to_container(OmegaConf.load(configs_folder() / group / f"{option}.yaml"))
    assert isinstance(content, dict)
    prefix = "" if group == "experiment" else f"{group}."
    return [f"{prefix}{key}=given" for key, value in content.items() if value == "???"]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_its_targets_take_what_they_are_given(group: str, option: str) -> None:
    config = OmegaConf.to_container(compose_config([f"{group}={option}", *given(group, option)]))
    for node in targets(config):
        target = get_object(node["_target_"])
        arguments = {key: value for key, value in node.items() if not (key.startswith("_") and key.endswith("_"))}
        signature = inspect.signature(target)
        signature.bind_partial(**arguments) if node.get("_partial_") else signature.bind(**arguments)


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "prepare"], ids=lambda path: path.stem)
def test_every_data_set_can_be_prepared_verified_and_described(path: Path) -> None:
    config = OmegaConf.load(path)
    for action in ("prepare", "verify", "info"):
        assert len(inspect.signature(get_object(config[action]._target_)).parameters) >= 1


@pytest.mark.parametrize("name", GROUPS.get("experiment", []))
def test_an_experiment_opens_with_what_it_is_and_its_command_is_its_own(name: str) -> None:
    lines = (configs_folder() / "experiment" / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    said = dict(line.removeprefix("# ").split(": ", 1) for line in lines[1:5])
    assert list(said) == ["paper", "expected", "hardware", "command"]
    assert f"experiment={name}" in said["command"].split()
    assert compose_config([f"experiment={name}", *given("experiment", name)]).name == name


@pytest.mark.parametrize("name", GROUPS.get("experiment", []))
def test_the_command_of_an_experiment_runs_as_it_is_written(name: str) -> None:
    """As a shell would split it; a sweep makes at least two runs, all different."""
    text = (configs_folder() / "experiment" / f"{name}.yaml").read_text()
    program, verb, *words = shlex.split(text.splitlines()[4].removeprefix("# command: "))
    assert (program, verb) == ("contextssl", "train")
    jobs = list(expand_sweep([word for word in words if word != "-m"])) if "-m" in words else [words]
    configs = [OmegaConf.to_yaml(compose_config(job)) for job in jobs]
    assert len(set(configs)) == len(configs) > ("-m" in words)


def test_experiments_in_folders_of_the_group_are_options_too() -> None:
    nested = {name for name in GROUPS["experiment"] if name.startswith("iebench/")}
    procedural = {name for name in nested if name.endswith("_procedural")}
    assert nested - procedural
    assert procedural > {f"{name}_procedural" for name in nested - procedural}


def test_every_package_and_config_is_in_the_wheel() -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent for package in ("contextssl", "domains") for path in (CHECKOUT / package).rglob("*.py")}
    packages = {".".join(folder.relative_to(CHECKOUT).parts) for folder in folders}
    assert set(settings["packages"]) == packages | {"contextssl.configs"}
    shipped = {path for pattern in settings["package-data"]["contextssl.configs"] for path in configs_folder().glob(pattern)}
    assert shipped == set(FILES) and FILES


def test_a_sweep_is_the_product_of_its_values() -> None:
    jobs = list(expand_sweep(["seed=0,1", "train=default", "train.num_steps=5,6", "name='a,b'"]))
    assert jobs == [
        [f"seed={seed}", "train=default", f"train.num_steps={steps}", "name='a,b'"] for seed in (0, 1) for steps in (5, 6)
    ]
