"""The CIFAR-10 benchmark: what is run, what stands in which table and curve, and that the page shows the stored numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from omegaconf import OmegaConf

from contextssl.commands.configuration import compose_config
from contextssl.evaluation.results import Result

CHECKOUT = Path(__file__).resolve().parents[2]
LENGTHS = (0, 2, 14, 30, 126)
PROBES = ("linear", "linear-standardised", "knn-10")
FALL = {0: 0.0, 2: 0.1, 14: 0.3, 30: 0.45, 126: 0.4}  # of the untold group


@pytest.fixture
def cifar10(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("cifar10")


def value(target: str, probe: str, environment: str, control: str, length: int, seed: int) -> float:
    """A number that tells its place: groups start at .6 and .9, changes .05 below, untold ones fall, lies cost .2."""
    group = target.removeprefix("relative_")
    start = {"crop": 0.6, "blur": 0.9, "untransformed_class": 0.8}[group] - 0.05 * target.startswith("relative_")
    start += 0.01 * PROBES.index(probe) if probe in PROBES else 0.0
    start += 0.02 * seed
    if environment == "-":
        return start
    lie = 0.2 if control in ("shuffled", "noise", "wrong-group") else 0.0
    return start - lie if group == environment else start - FALL[length]


def results(seed: int, simclr: bool = False) -> list[Result]:
    """Planted results of one run."""
    cells = [("-", "-", 0)]
    if not simclr:
        cells += [("-", "empty", 0)]
        cells += [(told, "true", length) for told in ("crop", "blur", "none") for length in LENGTHS[1:]]
        cells += [(told, lie, 126) for told in ("crop", "blur") for lie in ("shuffled", "noise", "wrong-group")]
    kinds = [("attribute-probe/1", group, probe, "r2_dim_mean") for group in ("crop", "blur") for probe in PROBES]
    kinds += [("relative-r2/1", "relative_crop", "mlp", "r2_pooled"), ("relative-r2/1", "relative_blur", "linear", "r2_pooled")]
    kinds += [("untransformed-probe/1", "untransformed_class", probe, "accuracy") for probe in ("linear", "knn-10")]
    return [
        Result(protocol, target, probe, metric, environment, control, length, 0, seed, "test",
               value(target, probe, environment, control, length, seed), 0.0, method="simclr" if simclr else "context_ssl")
        for environment, control, length in cells
        for protocol, target, probe, metric in kinds
    ]  # fmt: skip


@pytest.fixture
def record(cifar10: ModuleType) -> dict[str, object]:
    import runs

    experiments = cifar10.STUDIES["cpu"].experiments
    rows = []
    for preset in ("default", "SimCLR"):
        rows += runs.averaged(experiments[preset], [row for seed in range(3) for row in results(seed, preset == "SimCLR")])
    return {
        "seeds": [0, 1, 2],
        "seconds": {experiments["default"]: {"train": [100.0, 120.0], "evaluate": [30.0, 31.0]}},
        "environment": {"processor": "x", "gpus": []},
        "data": {"images": {"train": 18_000}},
        "results": rows,
    }


def line(table: str, *labels: str) -> list[float | None]:
    """The means in the line with those labels."""
    (found,) = [row for row in table.splitlines() if row.startswith(f"| {' | '.join(labels)} |")]
    cells = found.strip("| ").split(" | ")[len(labels) :]
    return [None if cell == "–" else float(cell.split()[0]) for cell in cells]


def numbers(cifar10: ModuleType, record: dict[str, object]) -> object:
    return cifar10.Numbers(cifar10.STUDIES["cpu"], record["results"])


def test_every_study_compares_the_same_data_encoder_and_steps(cifar10: ModuleType, tmp_path: Path) -> None:
    for name, study in cifar10.STUDIES.items():
        jobs = cifar10.jobs_of(study, [0, 1], list(study.experiments), tmp_path)
        assert len({job.folder for job in jobs}) == 2 * len(study.experiments)
        configs = [OmegaConf.to_container(compose_config(job.settings)) for job in jobs if job.seed == 0]
        assert all(config["domain"] == configs[0]["domain"] for config in configs)
        assert len({config["train"]["num_steps"] * config["train"]["batch_size"] for config in configs}) == 1
        assert len({str(config["method"]) for config in configs}) == len(configs)
        transforms = [node["_target_"].rpartition(".")[2] for node in configs[0]["domain"]["transform"]["transforms"]]
        called = {"crop": "RandomResizedCrop", "blur": "GaussianBlur", "color": "ColorJitter"}
        assert sorted(transforms) == sorted(called[group] for group in study.groups), name
        told = configs[0]["method"]["environments"]["probabilities"]
        assert set(told) == {*study.groups, "none"} and sum(told.values()) == pytest.approx(1)


def test_only_the_presets_that_are_asked_for_are_run(cifar10: ModuleType, tmp_path: Path) -> None:
    jobs = cifar10.jobs_of(cifar10.STUDIES["cpu"], [4], ["plain", "SimCLR"], tmp_path, ["train.num_steps=60"])
    assert [(job.experiment, job.seed) for job in jobs] == [
        ("cifar10/crop_blur_cpu_plain", 4),
        ("cifar10/crop_blur_cpu_simclr", 4),
    ]
    assert all(compose_config(job.settings).train.num_steps == 60 for job in jobs)


def test_a_study_without_the_asked_presets_is_refused(cifar10: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cifar10.main(["--study", "crop_color", "--presets", "plain"])
    assert "crop_color has none of these presets" in capsys.readouterr().err


def test_headlines_show_the_told_group_before_and_after_and_the_untold_one_by_every_probe(cifar10, record) -> None:
    table = cifar10.headline_table(numbers(cifar10, record))
    told = [value("crop", "linear-standardised", told, "true", length, 1) for told, length in (("-", 0), ("crop", 126))]
    untold = {probe: value("blur", probe, "crop", "true", 126, 1) for probe in PROBES}
    found = line(table, "default", "told crop, blur not")
    assert found[:2] == pytest.approx(told, abs=6e-4)
    assert found[2:4] == pytest.approx([untold["linear"], untold["linear-standardised"]], abs=6e-4)
    assert found[4:6] == [None, None] and found[6] == pytest.approx(untold["knn-10"], abs=6e-4)
    assert "SimCLR" not in table and "plain" not in table


def test_lengths_and_pairs_are_in_order_and_begin_with_no_context(cifar10, record) -> None:
    import cifar10_report

    single = line(cifar10_report.length_table(numbers(cifar10, record), "knn-10"), "default", "told blur, crop not")
    expected = [value(read, "knn-10", "blur" if c else "-", "true", c, 1) for read in ("blur", "crop") for c in LENGTHS]
    assert single == pytest.approx(expected, abs=6e-4)
    pairs = line(cifar10_report.pair_table(numbers(cifar10, record)), "default", "told crop, blur not")
    kinds = (("relative_crop", "mlp"), ("relative_blur", "linear"))
    expected = [value(read, probe, "crop" if c else "-", "true", c, 1) for read, probe in kinds for c in LENGTHS]
    assert pairs == pytest.approx(expected, abs=6e-4)


def test_controls_are_those_of_the_longest_contexts(cifar10, record) -> None:
    import cifar10_report

    found = line(cifar10_report.control_table(numbers(cifar10, record)), "default", "told blur, crop not")
    lies = ("true", "shuffled", "noise", "wrong-group")
    told = [value("blur", "linear-standardised", "blur", lie, 126, 1) for lie in lies]
    assert found[:5] == pytest.approx([*told, value("blur", "linear-standardised", "-", "empty", 0, 1)], abs=6e-4)


def test_features_are_of_every_preset_and_classes_of_images_as_they_are(cifar10, record) -> None:
    import cifar10_report

    table = cifar10_report.feature_table(numbers(cifar10, record))
    expected = [value("relative_crop", "mlp", "-", "-", 0, 1), value("relative_blur", "linear", "-", "-", 0, 1)]
    for preset in ("default", "SimCLR"):
        found = line(table, preset)
        assert found[:2] == pytest.approx(expected, abs=6e-4) and found[2] == pytest.approx(0.82, abs=6e-4)


def test_curves_are_the_rows_of_their_context(cifar10, record) -> None:
    import cifar10_report

    figure = cifar10_report.context_curves(numbers(cifar10, record), "linear")
    heights = [[list(map(float, drawn.get_ydata())) for drawn in axes.lines] for axes in figure.axes]
    for axes, read in zip(heights, ("crop", "blur"), strict=True):
        for drawn, told in zip(axes, ("crop", "blur"), strict=False):
            assert drawn == pytest.approx([value(read, "linear", told if c else "-", "true", c, 1) for c in LENGTHS], abs=1e-5)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["default", ""]


def test_pages_and_figures_are_written_from_the_records(cifar10, record, tmp_path: Path) -> None:
    import cifar10_report

    page = tmp_path / "docs/results/page.md"
    page.parent.mkdir(parents=True)
    text = (CHECKOUT / "docs/results/cifar10.md").read_text()
    page.write_text(text)
    cifar10_report.show(cifar10.STUDIES, {"cpu": record}, [page], tmp_path / "docs/figures")
    shown = page.read_text()
    assert shown.count("| default | told crop, blur not |") == 3 + 5
    assert "](../figures/cifar10_cpu.svg)" in shown and "](../figures/cifar10_cpu_standardised.svg)" in shown
    assert "Trained on 18,000 images" in shown and "100 to 120 s to train and 30 to 31 s to evaluate, on one thread (x)" in shown
    assert all(part in shown for part in text.split("<!--") if ":end -->" in part)
    for figure in sorted((tmp_path / "docs/figures").iterdir()):
        ElementTree.parse(figure)


@pytest.mark.parametrize("name", ["cpu", "crop_blur", "color_blur", "crop_color"])
def test_the_page_shows_the_stored_numbers(cifar10, name: str) -> None:
    if (stored := cifar10.read(cifar10.file_of(name))) is None:
        pytest.skip(f"{cifar10.file_of(name).name} has not been measured yet")
    import cifar10_report

    text = (CHECKOUT / "docs/results/cifar10.md").read_text()
    assert text == cifar10_report.with_results(text, cifar10.STUDIES, {name: stored}, "../figures")
    assert (CHECKOUT / "docs/figures" / cifar10_report.figure_name(name)).is_file()
