"""Make .venv with the project installed in it: `make env`.

Runs under a bare Python 3.11 to 3.13 that has pip (Debian's cannot make a venv with pip in it, so pip stays outside).
Where torch and torchvision are installed beside that Python and work together, they are used as they are.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
PAIR = ("torch", "torchvision")
# A compiled operator of torchvision fails to load when the two versions do not belong together.
PAIR_CHECK = """
import torch, torchvision
torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
assert tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 10)
"""


def main() -> int:
    """Make the environment; returns the exit code."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        version = ".".join(map(str, sys.version_info[:3]))
        print(
            f"contextssl needs Python 3.11 to 3.13, and {sys.executable} is {version}: make env PYTHON=/path/to/python3.12",
            file=sys.stderr,
        )
        return 1
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        print(
            f"{sys.executable} has no pip: install it (on Debian: apt install python3-pip), or make env PYTHON=...",
            file=sys.stderr,
        )
        return 1
    shared = subprocess.run([sys.executable, "-c", PAIR_CHECK], capture_output=True, cwd="/").returncode == 0
    said = "torch and torchvision are used as installed" if shared else "torch and torchvision will be installed"
    print(f"making {VENV.name} with {sys.executable} ({said})", flush=True)
    if VENV.exists():
        shutil.rmtree(VENV)
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", *(["--system-site-packages"] if shared else []), str(VENV)], check=True
    )
    if shared and sys.prefix != sys.base_prefix:  # a venv of a venv sees the packages of neither, unless told where they are
        site = Path(sysconfig.get_path("purelib", vars={"base": str(VENV), "platbase": str(VENV)}))
        (site / "installed_pair.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    constraints = VENV / "constraints.txt"
    constraints.write_text("".join(f"{line}\n" for line in (_beside_installed_pair() if shared else _constraints())))
    python = VENV / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    return subprocess.run([*pip, "--constraint", str(constraints), "--editable", f"{CHECKOUT}[dev,render]"]).returncode


def _constraints() -> list[str]:
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _beside_installed_pair() -> list[str]:
    """The constraints without what the installed pair brought along, and the pair pinned to what it is."""
    brought = {_canonical(name) for name in PAIR}
    waiting = list(brought)
    while waiting:
        for requirement in _requirements(waiting.pop()):
            if requirement not in brought:
                brought.add(requirement)
                waiting.append(requirement)
    kept = [line for line in _constraints() if _canonical(re.split(r"[=<>;\s]", line)[0]) not in brought]
    return kept + [f"{name}=={importlib.metadata.version(name)}" for name in PAIR]


def _requirements(name: str) -> list[str]:
    try:
        found = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [_canonical(re.split(r"[\s=<>!~;\[(]", line)[0]) for line in found if "extra ==" not in line]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
