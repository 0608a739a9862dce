"""What the speed benchmark holds against what, and where its numbers go."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

TIMES = {"encoder": 1.0, "context_ssl": 1.08, "simclr": 1.02, "reference": 3.0, "reference_transformer": 1.9, "contextssl": 1.0,
         "lightly": 1.25, "solo-learn": 1.2, "lightly, freed memory kept": 0.8, "solo-learn, freed memory kept": 0.9}  # fmt: skip


@pytest.fixture
def told(speed: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What contestants are asked, which answer without a process."""
    asked: list[dict[str, Any]] = []

    def raced(contestants: dict[str, Any], effort: Any, scripts: Any = None) -> Any:
        asked.append(contestants)
        seconds = {name: [TIMES.get(name, 0.5)] * 3 for name in contestants}
        row = {"loss": 2.0, "versions": {"torch": "2", "lightly": "1"}, "memory_mb": 7.0}
        return seconds, {name: row | speed.steps.summary(times) for name, times in seconds.items()}

    monkeypatch.setattr(speed.steps, "raced", raced)
    return asked


def test_steps_are_held_against_the_bare_encoder(speed: ModuleType, once: Any, told: list[dict[str, Any]]) -> None:
    found = speed.steps.steps(speed.full("cpu", 2, False).steps, once)
    assert found["over_encoder"] == {"context_ssl": 1.08, "simclr": 1.02}
    assert found["reference_transformer_share"] == pytest.approx(1.9 / 3, abs=1e-4)
    assert found["reference_without_transformer_over_encoder"] == pytest.approx(1.1)
    assert found["images_per_second"]["reference"] == pytest.approx(512 / 3, abs=0.1)
    assert found["hours_for_the_paper"]["reference"] == pytest.approx(83.8e6 / (512 / 3) / 3600, abs=0.01)
    everyone = {name: settings for contestants in told for name, settings in contestants.items()}
    assert {settings.images for settings in everyone.values()} == {512} and {s.side for s in everyone.values()} == {64}
    assert everyone["context_ssl"].own["overrides"] == ["method=context_ssl/default"]


def test_peers_get_the_same_settings_and_what_could_not_be_installed_is_told(
    speed: ModuleType, once: Any, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = sys.modules["speed_parts.environments"].Environment
    found_by = {"lightly": environment(tmp_path, "with its dependencies"), "solo-learn": environment(None, "not at all", "why")}
    monkeypatch.setattr(speed.steps, "environment_of", lambda peer, _: found_by[peer.name])
    found = speed.steps.peers(speed.full("cpu", 2, False).steps, once, tmp_path)
    (contestants,) = told
    assert set(contestants) == {"contextssl", "lightly", "lightly, freed memory kept"}
    assert found["over_fastest_peer"] == 0.8 and found["over_fastest_peer_keeping_memory"] == 1.25
    assert [settings.keep_freed_memory for settings in contestants.values()] == [True, False, True]
    same = [
        {name: value for name, value in vars(settings).items() if name not in ("own", "keep_freed_memory")}
        for settings in contestants.values()
    ]
    assert same[0] == same[1] == same[2] and contestants["contextssl"].own["overrides"][1] == "method.projector_dims=[2048,128]"
    assert found["environments"]["solo-learn"] == {"installed": "not at all", "error": "why"}
    assert str(tmp_path) not in json.dumps(found)


def test_one_thing_grows_at_a_time(speed: ModuleType, once: Any, told: list[dict[str, Any]]) -> None:
    found = speed.steps.scaling(speed.full("cpu", 2, False).steps, once)
    lengths, widths, batches = told
    assert {settings.images for settings in (*lengths.values(), *widths.values())} == {256}
    assert [2 * settings.own["num_transitions"] for settings in lengths.values()] == [16, 64, 128]
    assert [settings.own["overrides"][-1] for settings in widths.values()] == [
        f"method.transformer.width={width}" for width in (128, 512, 2048)
    ]
    assert [settings.images for settings in batches.values()] == [128, 256, 512]
    assert list(found["rows"]["width"]) == ["128", "512", "2048"] and found["rows"]["width"]["512"]["memory_mb"] == 7.0


@pytest.fixture
def measured(speed: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A checkout whose parts take no time; returns its folder."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/speed.md").write_text("# Speed\n\n<!-- speed:begin -->\nold\n<!-- speed:end -->\nkept\n")
    parts = {part: (lambda part=part: {"part": part}) for part in speed.PARTS}
    monkeypatch.setattr(speed, "measurements", lambda *_: parts)
    monkeypatch.setattr(speed, "table", lambda record: "| " + " ".join(part for part in speed.PARTS if part in record) + " |")
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    monkeypatch.setattr(speed, "PAGE", tmp_path / "docs/speed.md")
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    return tmp_path


def test_only_a_whole_run_becomes_the_record_and_the_page(speed: ModuleType, measured: Path) -> None:
    before = (measured / "docs/speed.md").read_text()
    speed.main(["--quick"])
    speed.main(["--parts", "queries", "peers"])
    assert not (measured / "benchmarks").exists() and (measured / "docs/speed.md").read_text() == before
    speed.main(["--parts", "queries", "--out", str(measured / "some.json")])
    assert json.loads((measured / "some.json").read_text())["queries"] == {"part": "queries"}
    assert (measured / "docs/speed.md").read_text() == before
    speed.main([])
    record = json.loads((measured / "benchmarks/results/speed_cpu.json").read_text())
    assert [part for part in record if part in speed.PARTS] == list(speed.PARTS) == list(record["seconds"])
    assert record["settings"]["images"] == 512 and record["quick"] is False and "own" not in record["settings"]
    page = (measured / "docs/speed.md").read_text()
    assert "old" not in page and "steps peers queries" in page and page.endswith("kept\n")


def test_the_table_shows_the_numbers_of_the_record(
    speed: ModuleType, once: Any, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sizes = speed.full("cpu", 2, False).steps
    environment = SimpleNamespace(python=tmp_path, installed="without its dependencies", error="pinned")
    monkeypatch.setattr(speed.steps, "environment_of", lambda *_: environment)
    encoded = {"seconds": 600.0, "images_encoded": 9, "over_ours": 300.0, "images_over_ours": 4.5}
    record = {
        "environment": {"gpus": [], "processor": "some processor", "packages": {"torch": "2.0"}}, "load_average": 0.5,
        "quick": False, "settings": {"device": "cpu", "threads": 2, "images": 512, "side": 64, "precision": "float32"},
        "steps": speed.steps.steps(sizes, once), "peers": speed.steps.peers(sizes, once, tmp_path),
        "scaling": speed.steps.scaling(sizes, once),
        "queries": {
            "rows": [{"method": "default", "context_length": 126, "cached_queries_per_second": 4321.0,
                      "uncached_queries_per_second": 12.5, "cached_over_uncached": 345.7}],
            "memory_mb": {"default": {"cached": 10.0, "uncached": 90.0}},
        },
        "evaluation": {
            "ours": {"ms": 2000.0, "images_encoded": 77}, "multiplied_by": 600, "all_images_in_every_epoch": encoded,
            "one_pair_of_each_object_in_every_epoch": encoded | {"over_ours": 150.0},
        },
        "transforms": {"rows": [{"side": 96, "over_torchvision": 3.21, "over_torchvision_drawn_order": 2.0,
                                 "images_per_second": {"batched": 900.0, "torchvision_floats": 280.0, "torchvision_bytes": 1.0}}]},
        "context_memory": {"context_length": 126, "width": 2048, "num_layers": 3, "keys_and_values_mb": 5.9,
                           "rows": [{"queries": 4096, "context_mb": 15.5, "copies_would_take_mb": 24000.0}]},
    }  # fmt: skip
    text = sys.modules["speed_parts.table"].table(record)
    for line in (
        "| ContextSSL, preset `default` | 1,080 | 1.08 | ≤ 1.10 | 7 | 3 |",
        "takes 63% of its step; what is left is 1.10 times the encoder",
        "| lightly 1 | 1,250 | 0.80 | 7 |",
        "| lightly 1, freed memory kept | 800 | 1.25 | 7 |",
        "Ours takes 0.83 times the fastest of the others as they are (must reach ≤ 1.00). "
        "Where those keep freed memory as well, it takes 1.25 times the fastest.",
        "solo-learn was installed without its dependencies: `pinned`.",
        "| `default` | 126 | 4,321 | 12.5 | 346 | ≥ 20 |",
        "| re-encoding loop, all images in every epoch | 600 | 9 | 300 | ≥ 100 |",
        "| 96 | 900 | 280 | 3.2 | 2.0 |",
        "| width of the transformer, 256 images, 128 tokens | 2048 | 500 | 7 |",
        "| 4,096 | 15.5 | 24,000 |",
    ):
        assert line in text, line
