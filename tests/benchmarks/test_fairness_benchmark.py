"""The fairness study: what is run, how its numbers are found again, and that page and figures show them."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest

from contextssl.commands.configuration import compose_config
from contextssl.evaluation.results import Result

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs/results/fairness.md"
MODULES = (
    "fairness_study", "fairness_report", "fairness_figures", "fairness_plane", "fairness_targets", "fairness_rows", "runs",
)  # fmt: skip
TARGET = "long_stay_7d"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    yield importlib.import_module("fairness_study")
    for name in MODULES:
        sys.modules.pop(name, None)


def measured(
    method: str, environment: str, control: str, length: int, seed: int, leak: float, utility: float, odds: float
) -> list[Result]:
    """What one run says at one place: leakage is the boosted probe's, every other probe reads less."""
    place = (environment, control, length, 0, seed, "test")
    rng = np.random.default_rng((seed, length, len(environment)))
    noise = rng.normal(size=20) * 0.004
    found = []
    for step, probe in enumerate(("linear", "linear-standardised", "mlp", "mlp-standardised", "boosting", "knn-10")):
        value = leak - 0.02 * (4 - step) if probe != "knn-10" else 0.99
        found.append(Result("attribute-probe/1", "sex", probe, "auroc", *place, value + noise[step], 0.5, method=method))
    groups = {"Female": odds / 2, "Male": -odds / 2}
    numbers = {"accuracy": utility, "auroc": utility + 0.08, "equalized_odds_difference(sex)": odds}
    numbers |= {"equal_opportunity_difference(sex)": odds * 0.8, "demographic_parity_difference(sex)": odds * 0.9}
    numbers |= {"calibration_error_difference(sex)": odds / 4, "equalized_odds_difference(sex+insurance)": odds * 1.5}
    for group, shift in groups.items():
        rates = {"selection_rate": 0.5, "true_positive_rate": 0.65, "false_positive_rate": 0.35, "calibration_error": 0.04}
        numbers |= {f"{metric}(sex={group})": value + (shift if value > 0.1 else shift / 8) for metric, value in rates.items()}
    for metric in ("accuracy", "auroc"):  # two protocols measure them
        row = Result(
            "attribute-probe/1",
            TARGET,
            "linear-standardised",
            metric,
            *place,
            numbers[metric] + noise[list(numbers).index(metric)],
            0.5,
            method=method,
        )
        found.append(row)
    for step, (metric, value) in enumerate(numbers.items()):
        floor = 0.03 if metric.startswith("calibration_error(") else 0.5
        row = Result("group-fairness/1", TARGET, "linear-standardised", metric, *place, value + noise[step], floor, method=method)
        found.append(row)
    return found


def ours(seed: int) -> list[Result]:
    """The context works: what is told stays, what is not told goes, the longer the better."""
    found = measured("context_ssl", "-", "empty", 0, seed, 0.99, 0.67, 0.15)
    for step, length in enumerate((2, 14, 30, 126), start=1):
        found += measured("context_ssl", "sex", "true", length, seed, 0.995, 0.672, 0.16)
        found += measured(
            "context_ssl", "none", "true", length, seed, 0.99 - 0.08 * step, 0.67 - 0.002 * step, 0.15 - 0.03 * step
        )
    return found + measured("context_ssl", "sex", "shuffled", 126, seed, 0.7, 0.665, 0.05)


def told_the_target(seed: int) -> list[Result]:
    """Better at the target, and sex is hidden by contexts that tell the target alone; actions need not fit."""
    found = measured("context_ssl", "-", "empty", 0, seed, 0.99, 0.68, 0.15)
    for length in (2, 14, 30, 126):
        found += measured("context_ssl", f"sex+{TARGET}", "true", length, seed, 0.995, 0.68, 0.15)
        found += measured("context_ssl", TARGET, "true", length, seed, 0.69, 0.675, 0.02)
    return found + measured("context_ssl", f"sex+{TARGET}", "shuffled", 126, seed, 0.995, 0.68, 0.15)


BASELINES = {
    "majority": (0.5, 0.51, 0.0), "columns": (1.0, 0.68, 0.2), "columns-without-sensitive": (0.84, 0.675, 0.11),
    "correlation-remover-1": (0.995, 0.671, 0.1), "correlation-remover-0.7": (0.99, 0.672, 0.06), "adversarial-0.3": (0.8, 0.67, 0.1),
    "adversarial-1": (0.72, 0.655, 0.06), "adversarial-3": (0.6, 0.62, 0.03), "exponentiated-gradient-0.02": (0.56, 0.65, 0.03),
}  # fmt: skip


@pytest.fixture
def record(study: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Planted numbers of the generated set, three seeds; a model that is told the target, variants and baselines too."""
    monkeypatch.setitem(study.SETS, "generated-mimic", replace(study.SETS["generated-mimic"], told_target=True))
    seeds = (0, 1, 2)
    rows = study.runs.averaged("mimic_sex", [row for seed in seeds for row in ours(seed) if study.kept("mimic_sex", row)])
    rows += study.runs.averaged("mimic_sex/flip", [row for row in ours(0) if study.kept("mimic_sex/flip", row)])
    rows += study.runs.averaged(
        "mimic_sex_target",
        [row for seed in seeds for row in told_the_target(seed) if study.kept("mimic_sex_target", row)],
    )
    on_ours = "context_ssl+threshold-optimizer"
    rows += study.runs.averaged(
        "mimic_sex", [row for seed in seeds for row in measured(on_ours, "none", "true", 126, seed, 0.58, 0.66, 0.02)]
    )
    for method in ("simclr", "vicreg"):
        found = [row for seed in seeds for row in measured(method, "-", "-", 0, seed, 0.999, 0.66, 0.12)]
        rows += study.runs.averaged(f"mimic_sex_simclr/{method}", found)
    for name, (leak, utility, odds) in BASELINES.items():
        found = [
            replace(row, low=row.value - 0.05, high=row.value + 0.05)
            for row in measured(name, "-", "-", 0, 0, leak, utility, odds)
        ]
        if name.startswith("exponentiated"):  # it decides by itself
            found = [replace(row, probe="decision") if row.target == TARGET else row for row in found]
        rows += study.baseline_rows(study.SETS["generated-mimic"], found)

    class Done:
        def __init__(self, name: str, results: list[Result]) -> None:
            self.name, self.job = name, type("Job", (), {"results": results})

    done = [Done("mimic_sex", ours(seed)) for seed in seeds] + [Done("mimic_sex_target", told_the_target(seed)) for seed in seeds]

    known = {"target": TARGET, "sex without its column": 0.84} | {
        name: {"auroc": 0.75, "odds": 0.1} for name in ("whole record", "all but sex", "fair")
    }
    part = {
        "made": {name: {"command": ["python"]} for name in ("mimic_sex", "mimic_sex_target")}, "data": {"stand_in": True}, "seeds": list(seeds), "known": known,
        "seconds": {"mimic_sex": {"train": [100.0, 120.0, 110.0], "evaluate": [60.0, 61.0, 62.0]}},
        "results": rows, "paired": study.paired(done),
    }  # fmt: skip
    return json.loads(study.as_json(study.joined({"generated-mimic": part})))


def test_the_front_is_what_nothing_beats(study: ModuleType) -> None:
    from fairness_rows import Point, above_front, pareto_front

    points = [Point(0.9, 0.8), Point(0.6, 0.7), Point(0.7, 0.65), Point(0.6, 0.6), Point(0.95, 0.8), Point(0.8, 0.75)]
    front = pareto_front(points)
    assert front == [Point(0.6, 0.7), Point(0.8, 0.75), Point(0.9, 0.8)]
    assert above_front(Point(0.85, 0.77), front) == pytest.approx(0.02)
    assert above_front(Point(0.6, 0.69), front) == pytest.approx(-0.01)
    assert above_front(Point(0.55, 0.1), front) is None
    rng = np.random.default_rng(0)
    cloud = [Point(*pair) for pair in rng.random((200, 2))]
    slow = [p for p in cloud if not any(q.leakage <= p.leakage and q.utility >= p.utility and q != p for q in cloud)]
    assert set(pareto_front(cloud)) == set(slow)


def test_every_run_of_the_study_composes(study: ModuleType) -> None:
    trials = [t for name in ("adult", "generated-mimic") for t in study.trials_of(study.SETS[name], study.PARTS, [0, 1])]
    several = 4 + 3  # main, SimCLR and VICReg of both sets, and one model that is told the target
    rest = 2 * (len(study.PARTS) - 3) - 2 - len(study.OF_TARGET_MODEL)  # no own pairs, and one set without that model
    assert len(trials) == 2 * several + rest, "these with both seeds, the rest with one"
    assert not study.trials_of(study.SETS["adult"], ["matched"], [0])
    for trial in trials:
        config = compose_config(trial.settings)
        wanted = {"simclr": "simclr", "vicreg": "vicreg"}.get(trial.variant, "context_ssl")
        assert wanted in config.method._target_ and config.evaluation.bank.get("method_name", wanted) == wanted
        boosting = config.evaluation.protocols.boosting
        assert (boosting.get("protocol", boosting).cells is None) == (wanted != "context_ssl")
        fairness = config.evaluation.protocols.fairness
        assert fairness.get("protocol", fairness).by_group
    assert len({(trial.folder, trial.settings) for trial in trials}) == len({trial.folder for trial in trials}) == len(trials)


def test_leakage_is_that_of_the_strongest_probe_but_not_of_neighbours(study: ModuleType, record: dict) -> None:
    from fairness_rows import Numbers, own_place

    numbers = Numbers(record["results"])
    row = numbers.leakage(own_place("mimic_sex", "none"), ("sex",))
    assert row is not None and row["probe"] == "boosting" and row["mean"] == pytest.approx(0.67, abs=0.01)
    assert numbers.leakage(own_place("mimic_sex", "none"), ("race",)) is None


def test_the_table_says_how_far_above_the_front_we_are(study: ModuleType, record: dict) -> None:
    import fairness_report
    from fairness_rows import Numbers

    lines = fairness_report.table(study.SETS["generated-mimic"], Numbers(record["results"])).splitlines()
    cells = {line.split(" | ")[0].removeprefix("| "): line.removesuffix(" |").split(" | ") for line in lines}
    assert cells["told nothing, c = 126"][4] == ".011"  # over ExponentiatedGradient's .653, the best that leaks no more
    assert cells["told sex, c = 126"][4].startswith("−")
    assert (
        cells["ThresholdOptimizer on ours, told nothing"][4] == ".009"
    )  # over ExponentiatedGradient too, and no part of the front
    assert cells["told long stay 7d, c = 126"][4] == ".021" and cells["told sex and long stay 7d, shuffled"][1].startswith(".680")
    assert "no context, of that model" in cells
    assert cells["adversarial encoder, 1"][4] == "–" and cells["all columns"][1] == ".683"


def test_every_target_is_said_to_hold_or_not(study: ModuleType, record: dict) -> None:
    import fairness_targets
    from fairness_rows import Numbers

    def told(rows: list[dict], paired: list[dict]) -> dict[tuple[str, str], list[str]]:
        table = fairness_targets.targets_table(study.SETS["generated-mimic"], Numbers(rows), {"paired": paired})
        cells = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
        of_both = {(line[1].split(":")[0], line[0], line[2].split(":")[0]): line for line in cells}
        second = {key: line for key, line in of_both.items() if "long stay" in key[0] + key[2]}
        assert second and len(of_both) == len(cells)
        hidden = next(line for key, line in second.items() if key[1] == "on or above the front of all baselines")
        assert hidden[1] == "told long stay 7d, c = 126: leakage .691, accuracy .674" and hidden[2].endswith(" above it")
        return {key[1:]: line for key, line in of_both.items() if key not in second}

    found = told(record["results"], record["paired"])
    other = "told sex, c = 126"
    for what in (
        "sex, AUROC of the linear probe: lower",
        "sex, AUROC of the MLP probe: lower",
        "equalized-odds difference: lower",
    ):
        assert found[what, other][3] == found[what, "no context"][3] == "holds"
    assert found["sex, AUROC of the linear probe: lower", other][4] == "–", "no row has an interval over rows"
    cost = found["long stay, AUROC: costs at most .020", other]
    assert cost[2].startswith(f"{other}: .010 [") and cost[3].startswith("holds")  # .672 - .662 of accuracy, and so of AUROC
    front = next(line for (what, _), line in found.items() if what == "on or above the front of all baselines")
    assert front[2] == "accuracy .011 above it" and front[3] == "holds"
    (other_front,) = [line for (what, _), line in found.items() if "that are representations" in what]
    assert other_front[2].startswith("accuracy .04")  # ExponentiatedGradient's decisions are none, the adversarial encoder is

    planted = [dict(row) for row in record["results"]]
    for row in planted:
        if row["metric"] == "equalized_odds_difference(sex)" and row["method"] == "context_ssl":
            row |= {"row_low": row["mean"] - 0.03, "row_high": row["mean"] + 0.03}
        if row["target"] == "sex" and row["probe"].startswith("mlp") and row["environment"] == "none":
            row["high"] = 0.99
    dear = [
        row | {"mean": row["mean"] - 0.02, "low": row["low"] - 0.02} if row["metric"] == "auroc" else row
        for row in record["paired"]
    ]
    found = told(planted, dear)
    assert found["equalized-odds difference: lower", other][4] == "holds"
    assert found["sex, AUROC of the MLP probe: lower", other][3] == "does not"
    assert found["long stay, AUROC: costs at most .020", other][3].startswith("does not")


def test_rows_carry_the_mean_of_their_runs_intervals_over_rows(study: ModuleType) -> None:
    bounds = ((0.7, 0.8), (0.6, 0.9), (0.5, 0.7))
    results = [replace(ours(seed)[0], low=low, high=high) for seed, (low, high) in enumerate(bounds)]
    rows = study.runs.averaged("mimic_sex", [*results, *[ours(seed)[1] for seed in range(3)]])
    study.add_row_intervals(rows, results)
    assert (rows[0]["row_low"], rows[0]["row_high"]) == (0.6, 0.8) and "row_low" not in rows[1]


def test_paired_rows_compare_nothing_told_with_the_rest(study: ModuleType, record: dict) -> None:
    by_model: dict[str, dict] = {"mimic_sex": {}, "mimic_sex_target": {}}
    for row in record["paired"]:
        if row["target"] == TARGET:
            by_model[row["experiment"]][row["from"], row["metric"], row["probe"]] = row
    found, second = by_model.values()
    both = second[f"sex+{TARGET}/126", "equalized_odds_difference(sex)", "linear-standardised"]
    assert both["mean"] == pytest.approx(-0.13, abs=0.01) and not any(start.startswith("none") for start, *_ in second)
    row = found["sex/126", "equalized_odds_difference(sex)", "linear-standardised"]
    assert row["mean"] == pytest.approx(-0.13, abs=0.01) and row["high"] < 0 and row["p"] < 0.01 and row["num_pairs"] == 3
    assert found["-/empty/0", "equalized_odds_difference(sex)", "linear-standardised"]["mean"] == pytest.approx(-0.12, abs=0.01)


def test_what_is_not_measured_anew_stays(study: ModuleType, record: dict) -> None:
    again = study.runs.averaged("mimic_sex_target", told_the_target(7))
    part = {
        "made": {"mimic_sex_target": {"command": ["again"]}}, "data": {"told_targets": [TARGET]}, "seeds": [7], "known": None,
        "seconds": {"mimic_sex_target": {"train": [1.0]}}, "results": again, "paired": [],
    }  # fmt: skip
    both = study.joined({"generated-mimic": part, "adult": part | {"made": {"adult_fairness": {}}, "results": []}}, record)
    found = both["sets"]["generated-mimic"]
    assert found["data"] == {"stand_in": True} and both["sets"]["adult"]["data"] == {"told_targets": [TARGET]}
    assert found["seeds"] == [0, 1, 2, 7] and set(found["seconds"]) == {"mimic_sex", "mimic_sex_target"}
    assert found["made"] == {"mimic_sex": {"command": ["python"]}, "mimic_sex_target": {"command": ["again"]}}
    of_second = [row for row in both["results"] if row["experiment"] == "mimic_sex_target"]
    assert of_second == again and {row["experiment"] for row in both["paired"]} == {"mimic_sex"}
    rest = [row for row in record["results"] if row["experiment"] != "mimic_sex_target"]
    assert [row for row in both["results"] if row["experiment"] != "mimic_sex_target"] == rest
    assert set(both["sets"]) == {"adult", "generated-mimic"}


def test_what_is_known_of_generated_patients(study: ModuleType) -> None:
    from domains.tabular.mimic.adapter import Mimic

    adapter = Mimic("generated", num_generated=3000)
    found = study.known(adapter, TARGET)
    assert found["whole record"]["odds"] > found["all but sex"]["odds"] > found["fair"]["odds"]
    assert found["whole record"]["auroc"] > found["fair"]["auroc"] > found["whole record"]["auroc"] - 0.03
    assert 0.8 < found["sex without its column"] < 0.9
    adapter.manifest["stand_in"] = False
    assert study.known(adapter, TARGET) is None


def test_a_page_and_figures_from_planted_numbers(study: ModuleType, record: dict, tmp_path: Path) -> None:
    import fairness_report

    page = tmp_path / "docs/results/fairness.md"
    page.parent.mkdir(parents=True)
    empty = re.sub(
        r"(<!-- ([\w-]+):begin -->\n).*?(<!-- \2:end -->)", r"\1\nNot measured yet.\n\n\3", PAGE.read_text(), flags=re.S
    )
    page.write_text(empty)
    fairness_report.show(record, study.SETS, page, tmp_path / "docs/figures")
    shown = page.read_text()
    assert "| told nothing, c = 126 | .664 ± .001 |" in shown and "Generated data, nobody in them is real." in shown
    for kind in ("plane", "curves", "bars"):
        assert f"](../figures/fairness_generated-mimic_{kind}.svg)" in shown
        text = (tmp_path / f"docs/figures/fairness_generated-mimic_{kind}.svg").read_text()
        panels = [node for node in ElementTree.fromstring(text) if node.tag.endswith("svg")]
        tops = [float(panel.get("y", "nan")) for panel in panels]
        assert tops == sorted(set(tops)) and len(panels) == (1 if kind == "plane" else 2)
    paired = [line for line in shown.splitlines() if line.startswith("| no context | long stay 7d, accuracy")]
    assert len(paired) == 1 and paired[0].endswith("| 3 |")
    assert shown.count("Not measured yet.") == empty.count("Not measured yet.") - 8
    fairness_report.show(record, study.SETS, page, tmp_path / "docs/figures")
    assert page.read_text() == shown


def test_bars_of_what_was_fitted_once_have_intervals_over_rows(study: ModuleType, record: dict) -> None:
    row = next(r for r in record["results"] if r["method"] == "columns" and r["metric"] == "true_positive_rate(sex=Female)")
    assert row["high"] - row["low"] == pytest.approx(0.1, abs=1e-4)


def test_a_real_copy_is_measured_by_itself(study: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--sets", "mimic"], ["--sets", "mimic", "adult", "--root", "files"]):
        with pytest.raises(SystemExit):
            study.main(words)
        assert "measured by itself" in capsys.readouterr().err
