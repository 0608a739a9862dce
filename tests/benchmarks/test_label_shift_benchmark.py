"""The label-shift benchmark: every trial is a run that can be made, and the tables show planted numbers in their places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from contextssl.commands.configuration import compose_config
from contextssl.evaluation.results import Result

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("label_shift")


def planted(
    rule: str, length: int, value: float, target: str | None = None, control: str = "true", probe: str = "head", seed: int = 0
):
    place = (rule, control, length) if length else ("-", "empty", 0)
    return Result("label-shift/1", target or f"label_{rule}", probe, "accuracy", *place, 0, seed, "test", value, 0.25, method="x")


@pytest.fixture
def numbers(benchmark: ModuleType):
    import runs
    from label_shift_rows import LENGTHS

    rows = []
    for name, lost in (("supervised/label_shift", 0.03), ("supervised/label_shift_single/rotation", 0.0)):
        found = [planted("rotation", length, 0.9 - lost * (length == 8), seed=seed) for length in LENGTHS[1:] for seed in (0, 1)]
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
        if trial.variant in ("coarse", "targets"):
            assert config.domain._target_ == "domains.supervised.label_shift.LabelShift" and trial.variant in trial.settings[-1]
        elif trial.variant:
            shares = dict(config.method.environments.probabilities)
            assert [name for name, share in shares.items() if share] == [trial.variant]
        assert config.train.num_steps <= 1200


def test_tables_show_what_was_measured(benchmark: ModuleType, numbers) -> None:
    from label_shift_report import control_table, distance_table, permutation_table

    line = next(line for line in benchmark.accuracy_table(numbers).splitlines() if "ours" in line)
    assert line.count(".900") == 6 and line.count(".870") == 1
    assert ".030" in distance_table(numbers)
    seen, unseen = permutation_table(numbers).splitlines()[-2:]
    assert ".800" in seen and ".400" in unseen and ".99" not in unseen
    assert "Not measured yet." not in control_table(numbers)


def study(names: tuple[str, ...], empty: tuple[float, ...], told: float, fixed: float):
    """Rows of an experiment and of its references."""
    import runs
    from label_shift_rows import LENGTHS, SHIFTED, SINGLE

    rows = []
    for experiment in names:
        for rule, first in zip(SHIFTED[experiment], empty, strict=True):
            own = [planted(rule, length, told if length else first, target=f"label_{rule}") for length in LENGTHS]
            rows += runs.averaged(experiment, own)
            single = [planted(rule, length, fixed, target=f"label_{rule}") for length in LENGTHS]
            rows += runs.averaged(f"{SINGLE[experiment]}/{rule}", single)
    return rows


@pytest.mark.parametrize(
    ("empty", "told", "fixed", "said"),
    [
        ((0.4, 0.55), 0.95, 0.96, ["yes", "yes", "yes"]),
        ((0.4, 0.52), 0.95, 0.96, ["no", "yes", "yes"]),
        ((0.7, 0.7), 0.93, 0.96, ["no", "no", "yes"]),
    ],
)
def test_targets_are_said_to_hold_where_they_do(benchmark: ModuleType, empty, told, fixed, said) -> None:
    rows = study(("supervised/label_shift",), empty, told, fixed)
    clock = {"supervised/label_shift": {"train": [300.0, 300.0, 300.0], "evaluate": [200.0] * 3}}
    lines = benchmark.target_table(benchmark.Numbers(rows, clock)).splitlines()[2:]
    assert [line.split("|")[-2].strip() for line in lines] == said
    assert "| 12.5 | ≤ 15 |" in lines[-1]
    slow = {"supervised/label_shift": {"train": [700.0] * 3}}
    assert benchmark.target_table(benchmark.Numbers(rows, slow)).splitlines()[-1].endswith("| 17.5 | ≤ 15 | no |")


def test_complements_sum_to_one_whatever_is_recognised(benchmark: ModuleType) -> None:
    rows = study(("supervised/adult_income_flip",), (0.15, 0.85), 0.85, 0.86)
    first = benchmark.target_table(benchmark.Numbers(rows)).splitlines()[2]
    assert "| 1.000 | 1.000 ± .020 | yes |" in first


def test_nothing_is_said_of_what_was_not_measured(benchmark: ModuleType) -> None:
    from label_shift_report import TABLES

    assert all(table(benchmark.Numbers([])).strip() == "Not measured yet." for table in TABLES.values())
    rows = [row for row in study(("supervised/label_shift",), (0.5, 0.5), 1.0, 1.0) if row["context_length"] != 8]
    assert len(benchmark.target_table(benchmark.Numbers(rows)).splitlines()) == 3  # a missing length: no shortfall


def test_the_figure_shows_the_model_the_observer_and_the_reference(benchmark: ModuleType, numbers) -> None:
    import runs
    from label_shift_figure import examples
    from label_shift_rows import LENGTHS, Numbers

    rows = study(("supervised/label_shift",), (0.4, 0.5), 0.9, 0.95)
    rows += runs.averaged("supervised/label_shift", [planted("color", length, 1.0, probe="observer") for length in LENGTHS[1:]])
    told, adult, _ = examples(Numbers(rows)).axes
    drawn = {
        style: [list(line.get_ydata()) for line in told.lines if line.get_linestyle() == style] for style in ("-", ":", "--")
    }
    assert drawn["-"] == [[value, *[0.9] * 7] for value in (0.4, 0.5)] and drawn[":"] == [[0.95] * 8] * 2
    assert drawn["--"][1][1:] == [1.0] * 7
    assert {text.get_text() for text in told.texts} == {"told rotation", "told color"}
    assert [text.get_text() for text in adult.texts] == ["not measured"] and not adult.lines
    permuted = examples(numbers).axes[2]
    assert [[y for y in line.get_ydata() if y == y] for line in permuted.lines if line.get_linestyle() == "-"] == [
        [pytest.approx(0.8)],
        [0.4],
    ]
    assert told.get_xticklabels()[-1].get_text() == "63"


def test_the_page_has_a_place_for_every_table(benchmark: ModuleType) -> None:
    import label_shift_report

    page = (CHECKOUT / "docs/results/label_shift.md").read_text()
    for name in (*label_shift_report.TABLES, "label-shift-figure"):
        assert page.count(f"<!-- {name}:begin -->") == page.count(f"<!-- {name}:end -->") == 1
