"""How the numbers of the fairness study are found again, what is said of them, and that page and figures show them."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest
from planted_fairness import TARGET, stored, told_the_target

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs/results/fairness.md"


@pytest.fixture
def record(study: ModuleType) -> dict:
    """Planted numbers of a study of the generated set."""
    return stored(study)


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
