"""The 3DIEBench benchmark: what is run, what stands in which table and curve, and that the pages show the stored numbers."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest
from omegaconf import OmegaConf
from published_folder import write_folder

from contextssl.commands.configuration import as_yaml, compose_config, configs_folder, expand_sweep
from contextssl.evaluation.results import Result, write_results
from domains.vision.image_folder import pack_folder

CHECKOUT = Path(__file__).resolve().parents[2]
MODULES = ("iebench", "iebench_report", "iebench_figures", "iebench_rows", "runs")
LENGTHS = (0, 2, 14, 30, 126)
PROBES = ("linear", "linear-standardised", "knn-10")
FALL = {0: 0.0, 2: 0.1, 14: 0.3, 30: 0.45, 126: 0.4}  # of the untold group


@pytest.fixture
def iebench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(CHECKOUT / "benchmarks"))
    import iebench

    yield iebench
    for name in MODULES:
        sys.modules.pop(name, None)


def value(target: str, probe: str, environment: str, control: str, length: int, seed: int, fall: float = 1.0) -> float:
    """A number that tells its place: groups start at .7 and .8, untold ones fall, lies cost .2 of the told group."""
    start = {"rotation": 0.7, "color": 0.8, "category": 0.95}[target] + PROBES.index(probe) / 100 + 0.01 * seed
    if target == "category" or environment == "-":
        return start
    lie = 0.2 if control in ("shuffled", "noise", "wrong-group") else 0.0
    return start - lie - 0.001 * (length > 2) if target == environment else start - fall * FALL[length]


def results(seed: int, fall: float = 1.0, simclr: bool = False) -> list[Result]:
    """Planted results of one run; two context draws at each length."""
    cells = [("-", "-", 0)]
    if not simclr:
        cells += [("-", "empty", 0)]
        cells += [(told, "true", length) for told in ("rotation", "color", "none") for length in LENGTHS[1:]]
        cells += [(told, lie, 126) for told in ("rotation", "color") for lie in ("shuffled", "noise", "wrong-group")]
    found = []
    for environment, control, length in cells:
        for target, metric, floor in (
            ("rotation", "r2_dim_mean", -0.1),
            ("color", "r2_dim_mean", 0.0),
            ("category", "accuracy", 0.25),
        ):
            for probe in PROBES:
                for draw in range(2 if length else 1):
                    number = value(target, probe, environment, control, length, seed, fall) + (0.02 * draw - 0.01 * (length > 0))
                    found.append(
                        Result("attribute-probe/1", target, probe, metric, environment, control, length, draw, seed, "test",
                               number, floor, method="simclr" if simclr else "context_ssl")
                    )  # fmt: skip
    # Another protocol's rows of the same targets must stay out of the way.
    found.append(
        Result("predicted-probe/1", "rotation", "linear", "r2_dim_mean", "rotation", "true", 126, 0, seed, "test", 9.0, 0.0)
    )
    return found


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


def line(table: str, *labels: str) -> list[str]:
    """The cells of the line with those labels."""
    (found,) = [row for row in table.splitlines() if row.startswith(f"| {' | '.join(labels)} |")]
    return found.strip("| ").split(" | ")[len(labels) :]


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


def test_presets_differ_only_in_what_they_compare(iebench) -> None:
    import iebench_rows

    def flat(node: object, prefix: str = "") -> dict[str, object]:
        if not isinstance(node, dict):
            return {prefix.removesuffix("."): node}
        return {key: found for name, child in node.items() for key, found in flat(child, f"{prefix}{name}.").items()}

    found = {p: flat(OmegaConf.to_container(compose_config([f"experiment={e}"]))) for p, e in iebench_rows.PRESETS.items()}

    def changed(one: str, two: str) -> set[str]:
        return {key for key in {*found[one], *found[two]} if found[one].get(key) != found[two].get(key)}

    assert changed("no auxiliary", "plain") == {"name", "method.auxiliary_weight"}
    assert changed("no mask", "plain") == {"name", "method.mask_probabilities"}
    for preset in ("default", "reference", "paper"):
        assert all(key == "name" or key.startswith("method.") for key in changed(preset, "plain"))
    others = {key for key in changed("SimCLR", "plain") if not key.startswith(("name", "method."))}
    assert others and all(key.startswith(("evaluation.bank.method_name", "evaluation.protocols.strongest.")) for key in others)


def test_the_sets_are_what_changes_between_easy_and_hard(iebench, tmp_path: Path) -> None:
    easy, hard = (iebench.preset_jobs(["default"], [0], name, tmp_path) for name in ("easy", "hard"))
    one, other = (OmegaConf.to_container(compose_config(jobs[0].settings)) for jobs in (easy, hard))
    assert one["domain"]["root"]["name"] == "iebench-easy" and other["domain"]["root"]["name"] == "iebench-hard"
    assert one["method"] == other["method"] and one["train"] == other["train"]


def test_ablations_are_the_sweeps_that_the_experiments_describe(iebench, tmp_path: Path) -> None:
    """Every value of the multirun is run once, by the preset that has it where there is one."""
    import iebench_rows

    jobs = iebench.ablation_jobs([0, 1], tmp_path)
    assert len(jobs) == len({job.folder for job in jobs}) == 2 * 7
    configs = {job.name: compose_config(job.settings) for job in jobs if job.seed == 0}
    masks = {probability: configs[name].method for probability, name in iebench_rows.MASKS.items()}
    assert all(method.mask_probabilities == [probability] for probability, method in masks.items())
    assert all(configs[name].method.auxiliary_weight == weight for weight, name in iebench_rows.AUXILIARY.items())
    for experiment, key, values in (
        ("mask_probability_procedural", "mask_probabilities", [[value] for value in iebench_rows.MASKS]),
        ("auxiliary_procedural", "auxiliary_weight", list(iebench_rows.AUXILIARY)),
    ):
        text = (configs_folder() / f"experiment/iebench/{experiment}.yaml").read_text()
        command = next(row for row in text.splitlines() if row.startswith("# command:"))
        swept = [compose_config(words) for words in expand_sweep([w for w in shlex.split(command)[4:] if w != "-m"])]
        assert [config.method[key] for config in swept] == values
        names = iebench_rows.MASKS.values() if key == "mask_probabilities" else iebench_rows.AUXILIARY.values()
        for config, name in zip(swept, names, strict=True):
            assert OmegaConf.merge(config, {"name": "x"}) == OmegaConf.merge(configs[name], {"name": "x"})


def test_ablations_store_what_their_figures_show(iebench) -> None:
    kept = {(row.target, row.metric) for row in results(0) if iebench.needed_by_ablations("x", row)}
    assert kept == {("rotation", "r2_dim_mean"), ("color", "r2_dim_mean"), ("category", "accuracy")}
    other = Result("retrieval/1", "-", "-", "mrr", "rotation", "true", 126, 0, 0, "test", 0.3)
    assert not iebench.needed_by_ablations("x", other)


def test_a_record_has_the_kept_rows_under_the_name_of_their_run(iebench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import runs

    def command(words: list[str], *_: object) -> None:
        folder = Path(words[-1].removeprefix("run="))
        if words[0] == "train":
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text(as_yaml(compose_config([word for word in words[1:] if "run=" not in word])))
            (folder / "manifest.json").write_text(json.dumps({"name": "iebench", "source": "/somewhere"}))
        else:
            write_results(results(int(folder.name.removeprefix("seed-"))), folder / "results.jsonl")

    monkeypatch.setattr("contextssl.reproduction.jobs.run_command", command)
    jobs = [job for job in iebench.ablation_jobs([0, 1], tmp_path) if job.variant in ("0.2", "0.5")]
    record = runs.measure(jobs, 1, ["x"], iebench.needed_by_ablations)
    swept = "iebench/mask_probability_procedural"
    assert {row["experiment"] for row in record["results"]} == set(record["seconds"]) == {f"{swept}/0.2", f"{swept}/0.5"}
    assert {row["protocol"] for row in record["results"]} == {"attribute-probe/1"}
    places = {(row.target, row.probe, row.environment, row.control, row.context_length) for row in results(0)}
    assert len(record["results"]) == 2 * len(places)
    assert (tmp_path / swept / "0.2/seed-1/results.jsonl").is_file() and "source" not in record["data"]


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


def test_only_ablations_of_the_easy_set_are_measured(iebench, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        iebench.main(["--ablations", "--set", "hard"])
    assert "leave out --set" in capsys.readouterr().err


@pytest.mark.slow
def test_one_real_run_from_training_to_table(iebench: ModuleType, tmp_path: Path) -> None:
    """The smallest training and evaluation on drawn pictures, in processes of their own."""
    import runs

    write_folder(tmp_path / "pictures")
    pack_folder(tmp_path / "pictures", tmp_path / "views", size=16)
    data = ("domain=iebench", f"domain.root={tmp_path / 'views'}", "domain.encoder._target_=domains.vision.encoders.SmallConvNet")
    small = ("~domain.encoder.depth", "train.num_steps=2", "train.warmup_steps=0", "train.num_transitions=4", "evaluation=quick")
    lengths = ("evaluation.bank.context_lengths=[0,126]",)
    (job,) = iebench.preset_jobs(["plain"], [0], "easy", tmp_path / "runs")
    found = runs.measure([runs.Trial(job.experiment, 0, (*data, *small, *lengths), job.runs)], 1, [], lambda name, row: True)
    told, untold = (line(iebench.headline_table(found["results"]), "plain", f"told {what} not") for what in
                    ("rotation, colour", "colour, rotation"))  # fmt: skip
    assert len(told) == len(untold) == 4 and "–" not in told + untold
    assert str(tmp_path) not in json.dumps(found)


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
