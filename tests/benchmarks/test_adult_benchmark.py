"""The Adult benchmark: what is run and what is not run again, and that pages and figure show the stored numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from omegaconf import OmegaConf

from contextssl.commands.configuration import as_yaml, compose_config
from contextssl.evaluation.results import Result, read_results, write_results

CHECKOUT = Path(__file__).resolve().parents[2]
STORED = CHECKOUT / "benchmarks/results/adult.json"


@pytest.fixture
def adult(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("adult")


def value(seed: int, environment: str, control: str, length: int, target: str, metric: str) -> float:
    """A number that differs between all places of a table, and by .01 from seed to seed."""
    place = {"none": 0.1, "sex": 0.3, "-": 0.5}[environment] + {"true": 0, "shuffled": 0.05, "empty": 0.02}.get(control, 0.0)
    return place + length / 1e4 + (0.2 if target == "income" else 0) + len(metric) / 1e3 + 0.01 * seed


def results(seed: int, method: str = "context_ssl") -> list[Result]:
    contexts = [("-", "-", 0), ("-", "empty", 0), ("none", "true", 14), ("sex", "true", 14), ("none", "true", 126)]
    contexts += [("sex", "true", 126), ("sex", "shuffled", 126)]
    if method != "context_ssl":
        contexts = contexts[:1]
    readouts = [("income", "linear-standardised", m) for m in ("accuracy", "auroc", "equalized_odds_difference(sex)")]
    readouts += [("sex", p, "auroc") for p in ("linear", "linear-standardised", "mlp-standardised", "boosting", "knn-10")]
    return [
        Result("attribute-probe/1", target, probe, metric, *context, draw, seed, "test",
               value(seed, *context, target, metric), 0.5, method=method)
        for context in contexts for target, probe, metric in readouts for draw in range(3 if context[2] else 1)
    ]  # fmt: skip


def pretend(adult: ModuleType, monkeypatch: pytest.MonkeyPatch, fail_on: str = "") -> list[list[str]]:
    """Replace the command by one that writes what a run leaves, and the baselines by two rows; returns the calls."""
    calls: list[list[str]] = []

    def command(words: list[str], *_: object) -> None:
        calls.append(words)
        verb, settings = words[0], dict(word.split("=", 1) for word in words[1:])
        folder = Path(settings.get("run") or settings["resume"])
        if verb == "train" and "resume" not in settings:
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text(as_yaml(compose_config([word for word in words[1:] if "run=" not in word])))
            (folder / "manifest.json").write_text(json.dumps({"name": "adult", "source": "/somewhere", "stand_in": False}))
        if fail_on and fail_on == verb:
            raise RuntimeError("stopped")
        if verb == "evaluate":
            method = "simclr" if "simclr" in str(folder) else "context_ssl"
            write_results(results(int(folder.name.removeprefix("seed-")), method), folder / "results.jsonl")

    baseline = Result("group-fairness/1", "income", "linear-standardised", "accuracy", "-", "-", 0, 0, 0, "test", 0.76, 0.76)
    monkeypatch.setattr("contextssl.reproduction.jobs.run_command", command)
    monkeypatch.setattr(adult, "build", lambda config: config)
    monkeypatch.setattr(
        adult,
        "baseline_results",
        lambda _: [Result(**{**OmegaConf.to_container(OmegaConf.structured(baseline)), "method": "majority"})],
    )
    return calls


@pytest.fixture
def record(adult: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, object]:
    pretend(adult, monkeypatch)
    jobs = [adult.Trial(name, seed, runs=tmp_path) for name in ("adult_sex", "adult_sex_simclr") for seed in (0, 1, 2)]
    found: dict[str, object] = json.loads(adult.as_json(adult.measure(jobs, 1, ["python", "benchmarks/adult.py"])))
    return found


@pytest.mark.parametrize(
    ("name", "base", "differs"),
    [
        ("adult_sex_presence", "adult_sex", {"name", "method.environments"}),
        ("adult_sex_flip", "adult_sex_matched", {"name", "domain.pairs"}),
        ("adult_sex_matched", "adult_sex", {"name", "method"}),
        (
            "adult_sex_simclr",
            "adult_sex",
            {"name", "method", "evaluation.bank.method_name", "evaluation.protocols.boosting.cells"},
        ),
    ],
)
def test_two_experiments_differ_only_in_what_they_compare(name: str, base: str, differs: set[str]) -> None:
    one, other = (flat(OmegaConf.to_container(compose_config([f"experiment={each}"]))) for each in (name, base))
    changed = {key for key in {*one, *other} if one.get(key) != other.get(key)}
    assert all(any((key + ".").startswith(prefix + ".") for prefix in differs) for key in changed)
    assert all(any((key + ".").startswith(prefix + ".") for key in changed) for prefix in differs)
    assert "method._target_" in one


def flat(node: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(node, dict):
        return {prefix.removesuffix("."): node}
    return {key: value for name, child in node.items() for key, value in flat(child, f"{prefix}{name}.").items()}


def test_what_is_done_is_not_done_again(adult: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = pretend(adult, monkeypatch)
    jobs = [adult.Trial("adult_sex", seed, runs=tmp_path) for seed in (0, 1)]
    first = adult.measure(jobs, 1, [])
    assert [words[0] for words in calls] == ["train", "evaluate"] * 2
    monkeypatch.setattr(adult, "baseline_results", lambda _: pytest.fail("measured twice"))
    again = adult.measure(jobs, 1, [])
    assert len(calls) == 4
    assert again["results"] == first["results"] and again["seconds"] == first["seconds"]


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_what_was_interrupted_goes_on(adult: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str) -> None:
    job = adult.Trial("adult_sex", 0, runs=tmp_path)
    pretend(adult, monkeypatch, fail_on=verb)
    with pytest.raises(RuntimeError, match="stopped"):
        adult.measure([job], 1, [])
    calls = pretend(adult, monkeypatch)
    assert adult.measure([job], 1, [])["results"]
    assert calls[0] == ["train", f"resume={job.folder}"]


def test_a_folder_of_another_configuration_is_refused(adult: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = pretend(adult, monkeypatch)
    adult.measure([adult.Trial("adult_sex", 0, runs=tmp_path)], 1, [])
    with pytest.raises(ValueError, match="another configuration"):
        adult.measure([adult.Trial("adult_sex", 0, ("train.num_steps=7",), tmp_path)], 1, [])
    assert len(calls) == 2


def test_a_cell_is_the_mean_and_the_standard_deviation_over_seeds(adult: ModuleType, record: dict) -> None:
    lines = adult.table(record["results"], adult.main_lines()).splitlines()
    told = next(line for line in lines if line.startswith("| told sex (equivariant), c = 126 |"))
    mean = value(1, "sex", "true", 126, "income", "accuracy")
    assert told.split(" | ")[1] == f"{mean:.3f} ± .010".removeprefix("0")
    shuffled = next(line for line in lines if line.startswith("| told shuffled sex, c = 126 |"))
    assert shuffled.split(" | ")[1] == f"{mean + 0.05:.3f} ± .010".removeprefix("0")
    majority = next(line for line in lines if line.startswith("| majority |"))
    assert majority == "| majority | .760 |" + " – |" * 7
    assert sum("SimCLR" in line for line in lines) == 1 and not any("boosting, all" in line for line in lines)


def test_the_record_is_json_without_nan_or_places(record: dict) -> None:
    text = json.dumps(record, allow_nan=False)
    assert "/somewhere" not in text and record["seeds"] == [0, 1, 2]
    assert set(record["seconds"]) == {"adult_sex", "adult_sex_simclr", "baselines"}
    assert {row["context_length"] for row in record["results"] if row["experiment"] == "adult_sex"} == {0, 14, 126}


def test_only_what_stands_between_markers_is_replaced(record: dict) -> None:
    import adult_report

    page = "# A\n\n<!-- adult:begin -->\nyesterday\n<!-- adult:end -->\n\n<!-- adult-figure:begin -->\n<!-- adult-figure:end -->\nend\n"
    shown = adult_report.with_results(page, record, "figures/adult.svg")
    assert shown.startswith("# A\n") and shown.endswith("<!-- adult-figure:end -->\nend\n")
    assert "yesterday" not in shown and "](figures/adult.svg)" in shown and "| told nothing (invariant), c = 126 |" in shown
    assert adult_report.with_results(shown, record, "figures/adult.svg") == shown
    record["data"]["stand_in"] = True
    assert "Stand-in data" in adult_report.with_results(page, record, "figures/adult.svg")


def test_the_figure_holds_four_panels_side_by_side(record: dict) -> None:
    import adult_report

    text = adult_report.figure(record)
    figure = ElementTree.fromstring(text)
    panels = [node for node in figure if node.tag.endswith("svg")]
    places = [(float(panel.get("x")), float(panel.get("y"))) for panel in panels]
    width, height = (float(part) for part in panels[0].get("viewBox").split()[2:])
    assert [(round(x / width, 6), round(y / height, 6)) for x, y in places] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert all(float(panel.get("width")) == width for panel in panels)
    assert [float(part) for part in figure.get("viewBox").split()[2:]] == pytest.approx([2 * width, 2 * height])
    assert adult_report.figure(record) == text
    told = next(r for r in record["results"] if (r["environment"], r["metric"]) == ("sex", "equalized_odds_difference(sex)"))
    told["mean"] += 0.1
    assert adult_report.figure(record) != text


def test_an_interval_over_no_seeds_is_no_interval(adult: ModuleType) -> None:
    rows = adult.runs.averaged("adult_sex", results(0))
    assert all(row["mean"] is not None and math.isfinite(row["mean"]) for row in rows)
    assert "±" not in adult.table(rows, adult.main_lines())


@pytest.mark.slow
def test_one_real_run_from_training_to_table(adult: ModuleType, tmp_path: Path) -> None:
    """The smallest training and evaluation on generated data, in processes of their own."""
    small = (
        "train.num_steps=2",
        "train.warmup_steps=0",
        "evaluation.bank.context_draws=1",
        "evaluation.bank.context_lengths=[0,126]",
    )
    overrides = ("domain.source=generated", "+domain.num_generated=[1500,600]", *small)
    found = adult.measure([adult.Trial("adult_sex", 0, overrides, tmp_path)], 1, [])
    table = adult.table(found["results"], adult.main_lines())
    own = [line for line in table.splitlines() if line.startswith(("| told", "| no context"))]
    assert len(own) == 4 and all("–" not in line for line in own)
    assert found["data"]["stand_in"] is True
    assert read_results(tmp_path / "baselines.jsonl")


@pytest.mark.skipif(not STORED.is_file(), reason="benchmarks/results/adult.json has not been measured yet")
@pytest.mark.parametrize(
    ("page", "link"), [("README.md", "docs/figures/adult.svg"), ("docs/results/adult.md", "../figures/adult.svg")]
)
def test_pages_and_figure_show_the_stored_numbers(adult: ModuleType, page: str, link: str) -> None:
    import adult_report

    stored = json.loads(STORED.read_text())
    text = (CHECKOUT / page).read_text()
    assert text == adult_report.with_results(text, stored, link)
    assert text.count("| told nothing (invariant), c = 126 |") == 1
    assert (CHECKOUT / "docs/figures/adult.svg").is_file()
    assert STORED.stat().st_size < 1.5e6 and not stored["data"]["stand_in"] and len(stored["seeds"]) >= 3
