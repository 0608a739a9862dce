"""A run is a folder: what was asked, on what, with what, and what came out.

config.yaml        the resolved configuration        metrics.jsonl, .csv   one row per logged step
environment.json   versions, commit, machine         timing.jsonl          the same steps, by the clock
manifest.json      the data, with digests            log.txt               messages and warnings
checkpoints/       see `contextssl.checkpoint`       results.jsonl, figures/, report.*   evaluation
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import torch

import contextssl
from contextssl.files import write_text

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "fairlearn", "hydra-core", "safetensors")
SOURCES = Path(contextssl.__file__).parent


class Run:
    """Paths of one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.environment = folder / "environment.json"
        self.manifest = folder / "manifest.json"
        self.checkpoints = folder / "checkpoints"
        self.log = folder / "log.txt"
        self.timing = folder / "timing.jsonl"
        self.results = folder / "results.jsonl"

    @classmethod
    def create(cls, folder: Path, config: str, manifest: Mapping[str, object], command: Sequence[str]) -> Run:
        """A new run folder with what is known before the first step.

        Raises:
            FileExistsError: when the folder exists and is not empty.
            OSError: when it cannot be written; nothing is left then.
        """
        refuse_existing(folder)
        run = cls(folder)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_text(run.manifest, json.dumps(manifest, indent=2) + "\n")
            write_text(run.environment, json.dumps(describe_environment(command), indent=2) + "\n")
            write_text(run.config, config)
        except OSError:
            shutil.rmtree(folder)
            raise
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """An existing run folder; FileNotFoundError when it is not one."""
        run = cls(folder)
        if not run.config.is_file():
            raise FileNotFoundError(
                f"{folder} is not a run folder: it has no config.yaml; give the folder that `contextssl train` printed"
            )
        return run

    def digests(self, manifest: Mapping[str, object]) -> dict[str, str]:
        """SHA-256 of the configuration, of the data's manifest and of the code, as checkpoints keep them."""
        # Where the data lie may change between machines; what they are may not.
        data = json.dumps({key: value for key, value in manifest.items() if key != "source"}, sort_keys=True)
        return {"config": _sha256(self.config.read_bytes()), "data": _sha256(data.encode()), "code": code_digest()}


def refuse_existing(folder: Path) -> None:
    """Raise FileExistsError if there is anything at `folder` that a new run would mix with."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"run folder {folder} exists: choose another run=..., or continue it with resume={folder}")


def new_folder(name: str, root: Path = Path("outputs")) -> Path:
    """A fresh path `root/name/<date>_<time>_<id>`; nothing is created yet."""
    return root / name / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"


def describe_environment(command: Sequence[str]) -> dict[str, object]:
    """What the run runs in: versions, commit, machine, command."""
    commit, dirty = git_state()
    return {
        "command": list(command),
        "contextssl": _version("contextssl"),
        "commit": commit,
        "dirty": dirty,
        "code_digest": code_digest(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "num_cpus": os.cpu_count(),
        "num_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    }


def git_state() -> tuple[str | None, bool | None]:
    """Commit of the checkout that the code runs from and whether it has uncommitted changes; None outside a checkout."""
    checkout = SOURCES.parent
    if not (checkout / ".git").exists():
        return None, None
    ask = ["git", "-C", str(checkout)]
    try:
        commit = subprocess.run(
            [*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        status = subprocess.run([*ask, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(status.strip())


def code_digest() -> str:
    """SHA-256 over the Python files of the package."""
    files = sorted(SOURCES.rglob("*.py"))
    return _sha256(b"".join(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes() for path in files))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
