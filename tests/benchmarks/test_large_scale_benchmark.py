"""The benchmark of stores reads every way the same pairs, and the page that counts with it shows what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("large_scale")


def test_the_ways_read_the_same_pairs_of_different_views_of_one_item(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view holds the number of its item and its own."""
    items = [benchmark.PackItem(f"{number}", "item", "train", 20) for number in range(12)]

    def read(item: object) -> tuple[np.ndarray, np.ndarray]:
        views = np.zeros((20, 3, 1, 2), np.uint8)
        views[..., 0], views[..., 1] = int(item.name), np.arange(20)[:, None, None]  # type: ignore[attr-defined]
        return views, np.zeros((20, 1), np.float32)

    written = {"image_shape": (3, 1, 2), "latent_dim": 1, "settings": {}}
    benchmark.pack(tmp_path / "one", items, read, **written)
    benchmark.pack_shards(tmp_path / "many", items, read, items_per_shard=3, **written)
    monkeypatch.setattr(benchmark, "NUM_PAIRS", 6)
    found = [
        benchmark.reader(tmp_path / name, window, most)(1)
        for name, window, most in (("one", None, 1), ("many", None, 1), ("many", 4, 8))
    ]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    x, y = found[0][:6, 0, 0], found[0][6:, 0, 0]
    assert torch.equal(x[:, 0], y[:, 0]) and (x[:, 1] != y[:, 1]).all() and len(x[:, 0].unique()) == 6


def test_what_is_written_adds_up(benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("embreex")
    for name, value in {
        "SOURCE_SIDE": 16,
        "SIDE": 8,
        "NUM_VIEWS": 3,
        "ITEMS_PER_SHARD": 4,
        "NUM_PAIRS": 8,
        "PLANNED_SHARDS": 20,
    }.items():
        monkeypatch.setattr(benchmark, name, value)
    threads = torch.get_num_threads()
    try:
        benchmark.main(["--objects", "1", "--shards", "4", "--items", "16", "--repetitions", "1", "--folder", str(tmp_path), "--out",
                        str(tmp_path / "out.json")])  # fmt: skip
    finally:
        torch.set_num_threads(threads)
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["packing"]["views"] == 24 and record["packing"]["raw_bytes"] == 192
    assert record["reading"]["views"] == 48 and record["reading"]["megabytes"] == 0
    assert record["index"]["bytes_of_index"] == pytest.approx(32, abs=128 / 16)  # beside the header of the file
    assert record["environment"]["command"][:2] == ["python", "benchmarks/large_scale.py"]
    assert list(tmp_path.iterdir()) == [tmp_path / "out.json"]


def test_the_page_shows_what_was_measured(benchmark: ModuleType) -> None:
    record = json.loads(benchmark.RESULTS.read_text())
    assert benchmark.table(record) in (CHECKOUT / "docs" / "large_scale.md").read_text(encoding="utf-8")
