"""An environment for each peer: made once, with the very torch that runs here, and nothing installed anywhere else."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TORCH = ("torch", "torchvision")


@dataclass(frozen=True)
class Peer:
    """A library that we are compared with.

    Attributes:
        name: of the contestant.
        script: in benchmarks/peers.
        requirement: what pip installs.
        alone: install it without its dependencies if they exclude this torch; its script needs none of them.
    """

    name: str
    script: str
    requirement: str
    alone: bool = False


PEERS = (
    Peer("lightly", "lightly_simclr.py", "lightly==1.6.0"),
    Peer("solo-learn", "solo_simclr.py", "solo-learn==1.0.2", alone=True),
)


@dataclass(frozen=True)
class Environment:
    """Where a peer runs, or why it does not.

    Attributes:
        python: of the environment; None if nothing could be installed.
        installed: how: `with its dependencies`, `without its dependencies` or `not at all`.
        error: the line with which pip refused what the peer asks for, if it did.
    """

    python: Path | None
    installed: str
    error: str | None = None


def environments_folder() -> Path:
    """Where environments are kept: $CONTEXTSSL_CACHE/benchmark_peers, by default ~/.cache/contextssl/benchmark_peers."""
    return Path(os.environ.get("CONTEXTSSL_CACHE") or Path.home() / ".cache" / "contextssl") / "benchmark_peers"


def environment_of(peer: Peer, folder: Path) -> Environment:
    """The peer's environment under `folder`, made if it is not there yet.

    This process's packages can be seen from it, so torch is the same to the bit and is not fetched again.
    """
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in TORCH]
    root = folder / "_".join([peer.requirement, *pinned, f"py{sys.version_info.major}.{sys.version_info.minor}"])
    python, finished = root / "bin" / "python", root / "finished"
    if not finished.exists():
        shutil.rmtree(root, ignore_errors=True)
        _make(root, python)
        error = _install(python, [peer.requirement, *pinned])
        if error is None:
            answer = ["with its dependencies"]
        elif peer.alone and _install(python, ["--no-deps", peer.requirement]) is None:
            answer = ["without its dependencies", error]
        else:
            answer = ["not at all", error]
        finished.write_text("\n".join(answer))
    installed, *errors = finished.read_text().splitlines()
    return Environment(None if installed == "not at all" else python, installed, errors[0] if errors else None)


def _make(root: Path, python: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    seen = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    (site / "packages_of_the_benchmark.pth").write_text("".join(f"{entry}\n" for entry in seen))


def _install(python: Path, requirements: list[str]) -> str | None:
    """None, or the line with which pip refused."""
    pip = next((candidate for candidate in (sys.executable, sys._base_executable) if _has_pip(candidate)), None)  # type: ignore[attr-defined]
    if pip is None:
        return f"neither {sys.executable} nor the Python it was made from has pip"
    command = [pip, "-m", "pip", "--python", str(python), "install", "--disable-pip-version-check", *requirements]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return None if done.returncode == 0 else reason(done.stdout)


def reason(said: str) -> str:
    """The line of pip's complaint that says most: what depends on what, else its first error, else its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["pip failed without a word"]
    pinning = [line for line in lines if " depends on torch==" in line]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return next(iter(pinning + errors), lines[-1])


def _has_pip(python: str) -> bool:
    return subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0
