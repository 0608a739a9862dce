"""Run folders made of synthetic results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from synthetic_results import ENVIRONMENT, MANIFEST, metric_row

from contextssl.evaluation.results import Result, write_results


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run folder with the given results, metrics and manifest entries."""

    def make(results: Sequence[Result] | None, name: str = "run", metrics: int = 60, **manifest: object) -> Path:
        run = tmp_path / name
        run.mkdir()
        (run / "config.yaml").write_text("seed: 0\nmethod:\n  mask_probability: 0.9\n  temperature: 0.1\ntrain:\n  steps: 600\n")
        (run / "environment.json").write_text(json.dumps(ENVIRONMENT))
        (run / "manifest.json").write_text(json.dumps(MANIFEST | manifest))
        (run / "metrics.jsonl").write_text("".join(json.dumps(metric_row(10 * (i + 1))) + "\n" for i in range(metrics)))
        if results is not None:
            write_results(results, run / "results.jsonl")
        return run

    return make
