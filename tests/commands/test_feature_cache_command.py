"""`contextssl evaluate` keeps features where the environment or the configuration says, and nowhere otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from contextssl.commands.main import main

TESTS = Path(__file__).resolve().parent.parent
TOY = ["--configs", str(TESTS / "configs"), "domain=toy", "method=toy", "debug=cpu_tiny"]
QUICK = ["evaluation=quick", "evaluation.protocols.attributes.num_train=64"]
EVALUATE = ["evaluate", "run=run"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run `run`, and no cache yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("CONTEXTSSL_CACHE", raising=False)
    assert main(["train", *TOY, *QUICK, "run=run", "train.num_steps=2", "train.warmup_steps=0"]) == 0
    return tmp_path


def test_features_are_kept_for_the_next_evaluation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(EVALUATE) == 0
    plain = (folder / "run/results.jsonl").read_text()
    monkeypatch.setenv("CONTEXTSSL_CACHE", str(folder / "cache"))
    for _ in range(2):
        assert main(EVALUATE) == 0
        kept = sorted((folder / "cache/features").iterdir())
        assert len(kept) == 3 and (folder / "run/results.jsonl").read_text() == plain
    monkeypatch.setenv("CONTEXTSSL_CACHE", str(folder / "other"))
    (folder / "run/config.yaml").write_text(
        (folder / "run/config.yaml").read_text().replace("    context_draws:", "    feature_cache: null\n    context_draws:", 1)
    )
    assert main(EVALUATE) == 0
    assert not (folder / "other").exists()
