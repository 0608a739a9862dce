"""The label-shift benchmark: every trial is a run that can be made, and the tables show planted numbers in their places."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from contextssl.commands.configuration import compose_config
from contextssl.evaluation.results import Result

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import label_shift

    yield label_shift
    for name in ("label_shift", "runs"):
        sys.modules.pop(name, None)


def planted(
    rule: str, length: int, value: float, target: str | None = None, control: str = "true", probe: str = "head", seed: int = 0
):
    place = (rule, control, length) if length else ("-", "empty", 0)
    return Result("label-shift/1", target or f"label_{rule}", probe, "accuracy", *place, 0, seed, "test", value, 0.25, method="x")


@pytest.fixture
def numbers(benchmark: ModuleType):
    import runs

    rows = []
    for name, lost in (("supervised/label_shift", 0.03), ("supervised/label_shift_single/rotation", 0.0)):
        found = [
            planted("rotation", length, 0.9 - lost * (length == 8), seed=seed)
            for length in benchmark.LENGTHS[1:]
            for seed in (0, 1)
        ]
        rows += runs.averaged(name, found)
    rows += runs.averaged("supervised/label_permutations", [
        *(planted(f"permutation-{number}", 14, 0.7 + number / 10) for number in range(3)),
        planted("permutation-3", 14, 0.4, control="unseen-rule"), planted("permutation-3", 14, 0.99, target="label_any", control="unseen-rule"),
    ])  # fmt: skip
    return benchmark.Numbers(rows)


def test_trials_compose_and_references_have_one_rule(benchmark: ModuleType) -> None:
    trials = benchmark.trials_of([0, 1], list(benchmark.TRIALS), Path("x"))
    assert len({trial.folder for trial in trials}) == len(trials) == 2 * len(benchmark.TRIALS)
    assert {trial.name for trial in trials} == set(benchmark.TRIALS)
    for trial in trials[::2]:
        config = compose_config(list(trial.settings))
        if trial.variant:
            shares = dict(config.method.environments.probabilities)
            assert [name for name, share in shares.items() if share] == [trial.variant]
        assert config.train.num_steps <= 1200


def test_tables_show_what_was_measured(benchmark: ModuleType, numbers) -> None:
    line = next(line for line in benchmark.accuracy_table(numbers).splitlines() if "ours" in line)
    assert line.count(".900") == 6 and line.count(".870") == 1
    assert ".030" in benchmark.distance_table(numbers)
    seen, unseen = benchmark.permutation_table(numbers).splitlines()[-2:]
    assert ".800" in seen and ".400" in unseen and ".99" not in unseen


def test_the_page_has_a_place_for_every_table(benchmark: ModuleType) -> None:
    page = (CHECKOUT / "docs/results/label_shift.md").read_text()
    for name in benchmark.TABLES:
        assert page.count(f"<!-- {name}:begin -->") == page.count(f"<!-- {name}:end -->") == 1
