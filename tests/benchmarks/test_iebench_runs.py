"""What the 3DIEBench benchmark runs: presets, sets and sweeps, which of their rows it keeps, and one real run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import ModuleType

import pytest
from omegaconf import OmegaConf
from planted_iebench import line, results
from published_folder import write_folder

from contextssl.commands.configuration import as_yaml, compose_config, configs_folder, expand_sweep
from contextssl.evaluation.results import Result, write_results
from domains.vision.image_folder import pack_folder


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
