"""The tutorial's example: short enough, adapts, and the tutorial shows the stored numbers."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load(path):
    specification = importlib.util.spec_from_file_location(path.stem + "_under_test", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_example_is_under_sixty_lines():
    assert len((ROOT / "examples/digits.py").read_text().splitlines()) < 60


def test_the_tutorial_shows_the_stored_numbers():
    page, benchmark = (ROOT / "docs/tutorials/digits.md").read_text(), load(ROOT / "benchmarks/digits.py")
    rows = json.loads((ROOT / "benchmarks/results/digits.json").read_text())["results"]
    assert page == benchmark.with_tables(page, rows)
    assert page.count("| rotation | intensity |") == len({row["probe"] for row in rows})


def test_the_tutorial_s_words_fit_the_stored_numbers():
    rows = json.loads((ROOT / "benchmarks/results/digits.json").read_text())["results"]
    value = {(row["environment"], row["target"], row["probe"], row["metric"], row["context_length"]): row["mean"] for row in rows}
    for told, untold in (("rotation", "intensity"), ("intensity", "rotation")):
        for length in (14, 30, 126):
            for probe in ("linear", "knn-10", "mlp"):
                assert value[told, told, probe, "r2_varw", length] > 0.75
                assert value[told, untold, probe, "r2_varw", length] < 0.25
            assert value[told, untold, "linear-standardised", "r2_varw", length] > 0.5
            assert value[told, "digit", "knn-10", "accuracy", length] > 0.8


@pytest.mark.slow
def test_a_short_training_adapts():
    """150 of the 1,000 steps: the told group stays, and the other is already going, by neighbours."""
    results = load(ROOT / "examples/digits.py").run(num_steps=150, lengths=(0, 14))
    r2 = {}
    for row in results:
        if (row.probe, row.metric) == ("knn-10", "r2_varw"):
            r2.setdefault((row.environment, row.target, row.context_length), []).append(row.value)
    for told, untold in (("rotation", "intensity"), ("intensity", "rotation")):
        kept, dropped = (sum(r2[told, target, 14]) / len(r2[told, target, 14]) for target in (told, untold))
        assert kept > 0.75
        assert dropped < kept - 0.3
