"""The benchmark of the transforms makes whole views in all its ways, and reports the ratio of what it measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import transforms

    yield transforms
    sys.modules.pop("transforms", None)


def test_everyone_makes_float_views_of_the_images(benchmark: ModuleType) -> None:
    for name, (num_images, function) in benchmark.contestants(12, 4, 2, "cpu").items():
        views = function()
        assert views.shape == (num_images, 3, 12, 12) and views.dtype is torch.float32, name
        assert views.min() > -0.3 and views.max() < 1.3 and views.std() > 0.02, name  # torchvision leaves overshoots


def test_the_ratio_is_to_torchvision_s_faster_way(benchmark: ModuleType, tmp_path: Path) -> None:
    benchmark.main(["--sides", "12", "--batch", "4", "--one-by-one", "2", "--repetitions", "1", "--threads", "1", "--out",
                    str(tmp_path / "speed.json")])  # fmt: skip
    record = json.loads((tmp_path / "speed.json").read_text())
    (row,) = record["results"]
    rate = row["images_per_second"]
    assert row["times_torchvision"] == pytest.approx(
        rate["batched"] / max(rate["torchvision_floats"], rate["torchvision_bytes"]), abs=0.02
    )
    assert record["device"] == "cpu" and record["environment"]["num_threads"] == 1
