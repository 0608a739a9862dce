"""Imports point one way: commands -> domains -> contextssl, and only commands know hydra and wandb (design: who may import whom)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
CONFIG_SYSTEM = {"hydra", "omegaconf", "wandb"}
# Files of methods/ that hold a method; the others hold parts of one.
METHODS = {
    "context_ssl", "simclr", "vicreg", "byol", "equimod", "sen", "sen_hinge", "sie", "aug_self", "plus", "seq_jepa",
    "context_classifier", "label_tokens",
}  # fmt: skip
SOURCES = sorted(
    path for package in ("contextssl", "domains", "scripts", "benchmarks") for path in (CHECKOUT / package).rglob("*.py")
)


def imported(path: Path) -> set[str]:
    """Every module that the file imports, wherever in it, and whether or not at run time."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(modules: set[str], package: str) -> set[str]:
    return {module for module in modules if module == package or module.startswith(package + ".")}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_one_way(path: Path) -> None:
    name, modules = module_name(path), imported(path)
    command = name.startswith(("contextssl.commands", "contextssl.__main__", "scripts", "benchmarks"))
    if not command:
        assert not {module.partition(".")[0] for module in modules} & CONFIG_SYSTEM, (
            "only commands know the config system and loggers"
        )
        assert not within(modules, "contextssl.commands"), "nobody imports commands"
    assert not within(modules, "scripts") | within(modules, "benchmarks"), "nobody imports scripts"
    if name.startswith("contextssl"):
        assert not within(modules, "domains"), "the core knows no domain"
    if name.startswith("domains."):
        own = ".".join(name.split(".")[:2])
        assert within(modules, "domains") <= within(modules, own) | {"domains"}, "no domain imports another"
    if name.startswith("contextssl.losses"):
        own = ("contextssl.losses", "contextssl.models", "contextssl.distributed")
        assert within(modules, "contextssl") <= {module for package in own for module in within(modules, package)}, (
            "losses stand alone"
        )
    if path.parent.name == "methods" and path.stem in METHODS:
        others = METHODS - {path.stem}
        assert not {module for other in others for module in within(modules, f"contextssl.methods.{other}")}, (
            "no method imports another"
        )


def test_the_walk_sees_the_sources() -> None:
    assert len(SOURCES) > 30
    assert "hydra.utils" in imported(CHECKOUT / "contextssl" / "commands" / "configuration.py")
