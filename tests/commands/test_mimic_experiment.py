"""`contextssl train experiment=mimic_sex...`: generated files and a folder of files through the same commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contextssl.commands.main import main
from contextssl.evaluation.results import read_results
from domains.tabular.mimic.generated import generate

TINY = ["experiment=mimic_sex_simclr", "train.num_steps=2", "train.warmup_steps=0", "run=run"]
QUICK = ["evaluation.protocols.fairness.protocol.num_resamples=20"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_generated_files_are_made_once_where_a_cache_is_given() -> None:
    words = ["data=generated", "+domain.num_generated=400", "domain.cache=cache"]
    assert main(["train", *TINY, *words]) == 0
    (made,) = Path("cache").iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in made.iterdir()}
    assert main(["evaluate", "run=run", *QUICK]) == 0
    assert {path.name: path.stat().st_mtime_ns for path in made.iterdir()} == before
    rows = read_results(Path("run/results.jsonl"))
    assert {row.target for row in rows} == {"long_stay_7d", "mortality", "treatment", "sex"}
    assert {row.method for row in rows} == {"simclr"}
    assert "calibration_error(sex=Female)" in {row.metric for row in rows}


def test_real_files_take_the_same_way_and_small_counts_stay_unsaid() -> None:
    folder = generate("files", num_patients=400, seed=1, events=False)
    (folder / "GENERATED").unlink()
    assert main(["train", *TINY, "root=files"]) == 0
    assert main(["evaluate", "run=run", *QUICK]) == 0
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert manifest["name"] == "mimic-iii" and "test/mortality" not in manifest["majority_rate"]
    assert {row.target for row in read_results(Path("run/results.jsonl"))} == {"long_stay_7d", "treatment", "sex"}


def test_without_files_the_message_says_what_to_do(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTEXTSSL_DATA", raising=False)
    assert main(["train", *TINY]) != 0
    assert "MIMIC-III cannot be fetched" in capsys.readouterr().err and not Path("run").exists()


def test_a_misspelt_source_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY, "data=genrated"]) == 1
    assert "data are from one of real, generated, found 'genrated'" in capsys.readouterr().err and not Path("run").exists()


def test_the_hundred_patients_of_the_demo_train_with_flipped_pairs() -> None:
    generate("files", num_patients=100, seed=2, events=False)
    assert main(["train", *TINY, "root=files", "pairs=flip"]) == 0
