"""`contextssl train experiment=table schema=...`: from a CSV to a run, or one sentence and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contextssl.commands.main import main
from domains.tabular.census import generate_census

TINY = ["experiment=table", "method=simclr", "debug=cpu_tiny", "train.num_steps=2", "train.warmup_steps=0", "run=run"]


@pytest.fixture(autouse=True)
def census(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    generate_census(500, seed=0).to_csv("data/people.csv.gz")
    Path("people.yaml").write_text(
        "{file: data/people.csv.gz, sensitive: {sex: , race: [rest, White]}, targets: {income: '>50K'}}"
    )


@pytest.mark.parametrize("pairs", ["flip", "proxy_swap"])
def test_a_schema_is_all_that_it_takes(pairs: str) -> None:
    assert main(["train", *TINY, "schema=people.yaml", f"pairs={pairs}"]) == 0
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert manifest["name"] == "people" and manifest["sensitive"] == ["sex", "race"]
    assert manifest["pairs"].startswith({"flip": "Flip", "proxy_swap": "ProxySwap"}[pairs])


def test_neighbours_are_over_all_columns_unless_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY, "schema=people.yaml"]) != 0  # 500 rows have no 21 women who are not white among each split
    said = capsys.readouterr().err
    assert "matching needs more than 20 rows" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "schema: no value is given; set it as key=value"),
        (["schema=nowhere.yaml"], "nowhere.yaml: no such schema"),
        (["schema=people.yaml", "domain=generated_census"], "schema"),
    ],
)
def test_what_is_wrong_is_one_sentence(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY, *words]) != 0
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said and not Path("run").exists()


def test_schema_is_a_key_of_tables_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "domain=generated_census", "schema=people.yaml", "run=run"]) != 0
    assert "unknown key 'schema'" in capsys.readouterr().err


def test_a_wrong_schema_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    Path("people.yaml").write_text("{file: data/people.csv.gz, sensitive: {gender: }, targets: {income: '>50K'}}")
    assert main(["train", *TINY, "schema=people.yaml"]) != 0
    assert "there is no column 'gender'" in capsys.readouterr().err and not Path("run").exists()
