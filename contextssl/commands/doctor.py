"""contextssl doctor: is everything here that a run needs, and if not, what to do."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from omegaconf import OmegaConf

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.commands.configuration import build, config_groups, configs_folder, data_sets


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns 1 when something that every run needs is missing."""
    argparse.ArgumentParser("contextssl doctor", description=__doc__).parse_args(arguments)
    failed = 0
    for name, check, needed in _checks():
        try:
            mark, said = "ok  ", check()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one part, the others are still looked at
            mark, said = ("FAIL" if needed else "--  "), (str(error).strip().splitlines() or [type(error).__name__])[0]
            failed += needed
        print(f"{mark} {name}: {said}")
    return min(failed, 1)


def _checks() -> Iterator[tuple[str, Callable[[], str], bool]]:
    yield "python", _python, True
    yield "torch and torchvision", _torch, True
    yield "configs", lambda: f"{configs_folder()} ({sum(map(len, config_groups().values())) + len(data_sets())} files)", True
    yield "this folder", _writable, True
    yield "self-check", _self_check, True
    yield "GPU", _gpu, False
    for name in data_sets():
        yield f"data: {name}", partial(_data, name), False


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise RuntimeError(f"Python 3.11 to 3.13 is needed, this is {platform.python_version()}")
    return platform.python_version()


def _torch() -> str:
    torchvision = importlib.import_module("torchvision")
    try:
        # A compiled operator: it fails when the versions do not belong together.
        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except (RuntimeError, AttributeError) as error:
        raise RuntimeError(
            f"torch {torch.__version__} and torchvision {torchvision.__version__} do not belong together; install a pair"
        ) from error
    return f"{torch.__version__} and {torchvision.__version__}, a working pair"


def _writable() -> str:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".contextssl-doctor-"):
        return f"{Path.cwd()} can be written, outputs/ goes here"


def _self_check() -> str:
    space = ActionSpace([Group("a", 2, 1, Kind.REAL, "-"), Group("b", 3, 2, Kind.REAL, "-")])
    weight = torch.ones(5, requires_grad=True)
    (weight * space.action_mask(space.environment("b"))).sum().backward()
    if weight.grad is None or weight.grad.tolist() != [0.0, 0.0, 1.0, 1.0, 1.0]:
        raise RuntimeError("a small computation gave a wrong result: the installation of torch is broken")
    return "a small computation with a gradient is right"


def _gpu() -> str:
    if not torch.cuda.is_available():
        raise RuntimeError("none that torch can use; everything runs on the CPU")
    return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def _data(name: str) -> str:
    config = OmegaConf.load(data_sets()[name])
    for folder in map(Path, config.folders):
        if folder.is_dir():
            return f"{folder}; {build(config.info)(folder)[0]}"  # `data verify` would read every byte
    where = os.environ.get("CONTEXTSSL_DATA")
    raise RuntimeError(f"not found (CONTEXTSSL_DATA is {where or 'not set'}); get it with: contextssl data prepare {name}")
