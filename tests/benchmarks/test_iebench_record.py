"""What stands in which table and curve of the 3DIEBench benchmark, and that the pages show the stored numbers."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest
from planted_iebench import LENGTHS, PROBES, line, results, value

from contextssl.evaluation.results import Result

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def record(iebench: ModuleType) -> dict[str, object]:
    """Two presets that adapt fully and to a tenth, and SimCLR, over three seeds."""
    import iebench_rows
    import runs

    rows = []
    for preset, fall in (("default", 1.0), ("no auxiliary", 0.1), ("SimCLR", 0.0)):
        planted = [row for seed in range(3) for row in results(seed, fall, preset == "SimCLR")]
        rows += runs.averaged(iebench_rows.PRESETS[preset], planted)
    seconds = {iebench_rows.PRESETS["default"]: {"train": [100.0, 120.0], "evaluate": [30.0, 31.0]}}
    data = {"objects": {"test": 7}, "categories": ["a", "b"]}
    return {"seeds": [0, 1, 2], "seconds": seconds, "environment": {"processor": "x"}, "data": data, "results": rows}


def test_headlines_show_the_told_group_before_and_after_and_the_untold_one_by_every_probe(iebench, record) -> None:
    table = iebench.headline_table(record["results"])
    told, untold = value("rotation", PROBES[1], "-", "empty", 0, 1), value("color", "knn-10", "rotation", "true", 126, 1)
    cells = line(table, "default", "told rotation, colour not")
    assert cells[0] == f"{told:.3f} ± .010"[1:] and cells[1] == f"{told - 0.001:.3f} ± .010"[1:]
    assert cells[-1] == f"{untold:.3f} ± .010"[1:] and len(cells) == 2 + len(PROBES)
    assert float(line(table, "no auxiliary", "told rotation, colour not")[-1][:4]) == pytest.approx(untold + 0.9 * 0.4, abs=1e-3)
    assert "SimCLR" not in table and "plain" not in table


def test_lengths_are_in_order_and_begin_with_no_context(iebench, record) -> None:
    import iebench_report

    cells = line(iebench_report.length_table(record["results"], "linear"), "default", "told colour, rotation not")
    expected = [value(read, "linear", "color" if c else "-", "true", c, 1) for read in ("color", "rotation") for c in LENGTHS]
    assert [float(cell.split()[0]) for cell in cells] == pytest.approx(expected, abs=6e-4)


def test_controls_are_those_of_the_longest_contexts(iebench, record) -> None:
    import iebench_report

    cells = line(iebench_report.control_table(record["results"]), "default", "told colour, rotation not")
    lies = ("true", "shuffled", "noise", "wrong-group")
    told = [value("color", PROBES[1], "color", lie, 126, 1) for lie in lies] + [value("color", PROBES[1], "-", "empty", 0, 1)]
    assert [float(cell.split()[0]) for cell in cells[:5]] == pytest.approx(told, abs=6e-4)


def test_criteria_are_the_worst_lengths_from_14_on(iebench, record) -> None:
    import iebench_report

    table = iebench_report.criteria_table(record["results"])
    fall, knn_fall, share, knn_share, *left = (float(cell) for cell in line(table, "default", "told colour, rotation not"))
    assert fall == knn_fall == pytest.approx(0.001, abs=6e-4)
    # .3 at 14 tokens is the least; the floor is -.1, the start .71 and .73 (mean over seeds).
    assert (share, knn_share) == pytest.approx((0.3 / 0.81, 0.3 / 0.83), abs=6e-4)
    assert left == pytest.approx([0.41 + index / 100 for index in range(3)], abs=6e-4)
    assert float(line(table, "no auxiliary", "told colour, rotation not")[2]) == pytest.approx(0.03 / 0.81, abs=6e-4)


def test_what_was_not_measured_at_every_length_is_not_judged(iebench, record) -> None:
    import iebench_rows

    rows = [row for row in record["results"] if not (row["context_length"] == 30 and row["environment"] == "color")]
    numbers = iebench_rows.Numbers(rows)
    assert numbers.told_fall("default", "color", "linear") is None and numbers.untold_most("default", "color", "linear") is None
    assert numbers.told_fall("default", "rotation", "linear") is not None


def test_top1_stands_beside_simclr(iebench, record) -> None:
    import iebench_report

    table = iebench_report.class_table(record["results"])
    assert line(table, "SimCLR") == line(table, "default") == [".960 ± .010", ".970 ± .010", ".980 ± .010"]


def test_stronger_readings_are_found_by_protocol_target_and_metric(iebench) -> None:
    import iebench_report
    import iebench_rows
    import runs

    def planted(protocol: str, target: str, probe: str, metric: str, number: float) -> Result:
        return Result(protocol, target, probe, metric, "rotation", "true", 126, 0, 0, "test", number, 0.0)

    rows = runs.averaged(
        iebench_rows.PRESETS["default"],
        [
            planted("attribute-probe/1", "color", "linear", "r2_max", 0.1),
            planted("strongest-probe/1", "color_functions", "kernel-ridge-4bit", "r2_max", 0.2),
            planted("strongest-probe/1", "color_functions", "kernel-ridge-4bit", "r2_pooled", 0.3),
            planted("relative-r2/1", "relative_color", "linear", "r2_pooled", 0.4),
            planted("relative-r2/1", "relative_color", "linear", "r2_dim_mean", 0.5),
        ],
    )
    strongest = line(iebench_report.strongest_table(rows), "default", "told rotation, colour not")
    assert strongest == ["–"] * 5 + [".200"]
    assert line(iebench_report.pair_table(rows), "default", "told rotation, colour not") == ["–"] * 9 + [".400"]


def test_a_packed_record_is_the_same_record_in_less_space(iebench, record) -> None:
    import runs

    text = runs.as_json(runs.packed(record))
    assert runs.unpacked(json.loads(text)) == record
    assert len(text) < 0.6 * len(runs.as_json(record))


@pytest.fixture
def ablations(iebench: ModuleType) -> dict[str, object]:
    """Each mask probability lets the untold group fall by that share of the whole."""
    import iebench_rows
    import runs

    found = []
    for probability, name in iebench_rows.MASKS.items():
        found += runs.averaged(name, [row for seed in range(3) for row in results(seed, fall=probability)])
    found += runs.averaged(iebench_rows.AUXILIARY[0.0] + "x", [])
    return {"results": found}


def test_curves_against_the_mask_probability_come_from_their_runs(iebench, ablations) -> None:
    import iebench_figures
    import iebench_rows

    backwards = dict(reversed(iebench_rows.MASKS.items()))
    points = iebench_figures.mask_points(ablations["results"], backwards)
    x, mean, low, high = np.array(points["rotation, not told"]).T
    assert list(x) == [0.0, 0.2, 0.5, 0.75, 0.9, 0.98]
    assert mean == pytest.approx([value("rotation", "linear", "color", "true", 126, 1, p) for p in x], abs=1e-5)
    assert (high - low) / 2 == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-3)  # Student, two degrees of freedom
    assert [point.mean for point in points["top-1"]] == pytest.approx([value("category", "linear", "-", "-", 0, 1)] * 6)
    assert set(points) == {"rotation", "colour", "rotation, not told", "colour, not told", "top-1"}


def drawn(figure: object) -> list[list[list[float]]]:
    """Heights of the lines of each panel; a panel's floor has two equal ones."""
    return [[list(line.get_ydata()) for line in axes.lines] for axes in figure.axes]  # type: ignore[attr-defined]


def test_context_curves_have_a_column_for_each_preset_and_a_row_for_each_group(iebench, record) -> None:
    import iebench_figures

    figure = iebench_figures.context_curves(record["results"], "linear")
    panels = drawn(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["default", "no auxiliary", "", ""]
    rotation = [
        [value("rotation", "linear", told if c else "-", "true", c, 1) for c in LENGTHS] for told in ("rotation", "color")
    ]
    assert panels[0][0] == pytest.approx(rotation[0], abs=1e-5) and panels[0][1] == pytest.approx(rotation[1], abs=1e-5)
    assert panels[0][2] == [-0.1, -0.1] and panels[2][2] == [0.0, 0.0]
    assert panels[1][1][-1] == pytest.approx(rotation[1][0] - 0.04, abs=1e-5)
    weaker = iebench_figures.context_curves(record["results"], "knn-10")
    assert drawn(weaker)[0][0] == pytest.approx([number + 0.02 for number in panels[0][0]], abs=1e-5)


def test_ablation_figures_draw_every_run(iebench, ablations) -> None:
    import iebench_figures
    import iebench_rows

    figure = iebench_figures.mask_curves(ablations["results"], iebench_rows.MASKS)
    assert [len(panel) for panel in drawn(figure)] == [5, 12, 12]
    auxiliary = iebench_figures.auxiliary_curves(ablations["results"], iebench_rows.AUXILIARY)
    assert [axes.get_title(loc="left") for axes in auxiliary.axes[:2]] == ["weight 0", "weight 1"]


def test_pages_and_figures_are_written_from_the_records(iebench, record, ablations, tmp_path: Path) -> None:
    import iebench_report

    page = tmp_path / "docs/results/page.md"
    page.parent.mkdir(parents=True)
    text = (CHECKOUT / "docs/results/iebench.md").read_text()
    page.write_text(text)
    iebench_report.show({"easy": record, "hard": record}, ablations, [page], tmp_path / "docs/figures")
    shown = page.read_text()
    assert shown.count("| default | told rotation, colour not |") == 2 * 3 + 2 + 1 + 5
    assert "](../figures/iebench.svg)" in shown and "](../figures/iebench_hard_standardised.svg)" in shown
    assert "7 held-out objects of 2 categories" in shown and "100 to 120 s to train and 30 to 31 s to evaluate" in shown
    outside = [part for part in text.split("<!--") if ":end -->" in part]
    assert all(part in shown for part in outside)
    for figure in sorted((tmp_path / "docs/figures").iterdir()):
        ElementTree.parse(figure)
    iebench_report.show({"easy": record, "hard": record}, ablations, [page], tmp_path / "docs/figures")
    assert page.read_text() == shown


@pytest.mark.parametrize("name", ["easy", "hard"])
@pytest.mark.parametrize(("page", "link"), [("README.md", "docs/figures"), ("docs/results/iebench.md", "../figures")])
def test_pages_show_the_stored_numbers(iebench, name: str, page: str, link: str) -> None:
    if (stored := iebench.read(iebench.FILES[name])) is None:
        pytest.skip(f"{iebench.FILES[name].name} has not been measured yet")
    import iebench_report

    text = (CHECKOUT / page).read_text()
    assert text == iebench_report.with_results(text, {name: stored}, iebench.read(iebench.ABLATIONS), link)
    assert iebench.FILES[name].stat().st_size < 2e6 and len(stored["seeds"]) >= 3
    assert (CHECKOUT / "docs/figures" / iebench_report.figure_name(name)).is_file()
