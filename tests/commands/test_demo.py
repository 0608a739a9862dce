"""The demo: which experiment, which data, a report with the story and its pictures, and nothing done twice."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from contextssl.commands import demo
from contextssl.commands.configuration import compose_config
from contextssl.commands.main import main
from contextssl.evaluation.results import read_results

SMALL = [
    "debug=cpu_tiny", "train.num_steps=4", "method.transformer.width=16", "method.transformer.num_layers=1", "evaluation=iebench_quick",
    "evaluation.bank.context_lengths=[0,2,6]", "evaluation.bank.context_draws=1", "~evaluation.protocols.strongest",
    "~evaluation.protocols.relative_rotation",
]  # fmt: skip


def test_the_demo_is_the_procedural_experiment_on_the_easy_set() -> None:
    config = compose_config([demo.EXPERIMENT])
    assert config.domain.root.name == "iebench-easy" and config.domain._target_.endswith("ThreeDIEBench")


@pytest.mark.slow
def test_from_data_to_a_report_and_a_second_call_that_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("embreex", reason="embreex is not installed: pip install contextssl[render]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTEXTSSL_CACHE", str(tmp_path / "cache"))
    tiny = ["objects=5", "categories=2", "views=5", "size=16", "processes=1"]
    assert main(["data", "prepare", "iebench-easy", *tiny]) == 0
    assert main(["demo", *SMALL]) == 0
    report = Path(capsys.readouterr().out.splitlines()[-1].removeprefix("report: "))
    assert report.is_file() and report.parent.parent == tmp_path / "outputs" / "demo"
    page = report.read_text()
    first = re.search(r"<figure.*?</figure>", page, flags=re.S)
    assert first is not None and "rotation, mean R² per dimension" in first[0] and "color, mean R² per dimension" in first[0]
    assert page.count("<img") == 2 and page.index("<img") > first.end()
    assert {path.stem for path in (report.parent / "figures").glob("*.json")} == {"retrieval", "retrieval-lengths"}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main(["demo", *SMALL]) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert str(report) in capsys.readouterr().out

    run = report.parent  # pictures belong to an evaluation: another one takes them away
    assert main(["evaluate", f"run={run}", "evaluation=quick"]) == 0
    assert not list((run / "figures").glob("retrieval*")) and (run / "figures" / "story.png").is_file()
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["evaluation"]["pictures"]  # as in runs of before there were pictures
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    os.remove(run / "results.jsonl")
    assert main(["evaluate", f"run={run}", "evaluation.bank.context_lengths=[0,2]"]) == 0
    assert {row.context_length for row in read_results(run / "results.jsonl")} == {0, 2}


class Calls:
    """Stands for the data command, and notes what it was asked."""

    def __init__(self, failing: Sequence[str]) -> None:
        self.asked: list[str] = []
        self.failing = failing

    def __call__(self, action: str, name: str, overrides: Sequence[str] = ()) -> list[str]:
        self.asked.append(f"{action} {name}")
        if self.asked[-1] in self.failing:
            raise FileNotFoundError(f"no {name} here")
        return ["said"]


@pytest.mark.parametrize(
    ("overrides", "failing", "asked", "added"),
    [
        ([demo.EXPERIMENT], [], ["info iebench-easy"], []),
        ([demo.EXPERIMENT], ["info iebench-easy"], ["info iebench-easy", "prepare iebench-easy"], []),
        ([demo.EXPERIMENT, "domain=iebench_hard"], [], ["info iebench-hard"], []),
        ([demo.EXPERIMENT, "domain.root=packed"], [], [], []),
        (["experiment=adult_sex"], [], ["info adult"], []),
        (["experiment=adult_sex"], ["info adult"], ["info adult", "prepare adult"], []),
        (["experiment=adult_sex"], ["info adult", "prepare adult"], ["info adult", "prepare adult"], ["domain.source=generated"]),
        (["experiment=mimic_sex"], ["info mimic", "prepare mimic"], ["info mimic", "prepare mimic"], ["domain.source=generated"]),
        (["experiment=mimic_sex", "data=generated"], [], [], []),
        (["experiment=mimic_sex", "root=my_files"], [], [], []),
        (["experiment=adult_sex", "domain.source=generated"], [], [], []),
        (["experiment=adult_sex", "domain.source=real"], [], [], []),
    ],
)
def test_data_are_made_or_fetched_only_where_they_are_needed(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], failing: list[str], asked: list[str], added: list[str]
) -> None:
    calls = Calls(failing)
    monkeypatch.setattr(demo, "act", calls)
    assert demo._data(compose_config(overrides), overrides) == added
    assert calls.asked == asked


def test_help_says_how_to_run_the_demo_on_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    assert "contextssl demo experiment=adult_sex evaluation=adult_baselines" in capsys.readouterr().out
