"""The domain: the contract, what it says of real copies, its truth, and the data command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from contextssl.adapter import Split
from contextssl.commands.data import act
from contextssl.testing import check_adapter
from domains.tabular.mimic import adapter as adapter_module
from domains.tabular.mimic.adapter import Mimic
from domains.tabular.mimic.cohort import build_cohort
from domains.tabular.mimic.folder import find_folder, info, prepare, verify
from domains.tabular.samplers import Flip

Fold = Callable[..., Path]


@pytest.fixture(scope="module")
def mimic() -> Mimic:
    return Mimic("generated", num_generated=1000)


def test_the_contract_of_adapters(mimic: Mimic) -> None:
    check_adapter(mimic)


def test_the_contract_with_three_attributes_and_measurements() -> None:
    check_adapter(
        Mimic("generated", num_generated=400, sensitive=("sex", "ethnicity", "insurance"), pairs=Flip(), measurements=True)
    )


def test_targets_and_latents_are_those_of_the_cohort(mimic: Mimic) -> None:
    for split in Split:
        rows, data = mimic.cohort.rows(split), mimic.labelled(split)
        assert data.item.tolist() == rows.index.tolist()
        assert data.target("long_stay_7d").values.tolist() == rows["long_stay_7d"].tolist()
        names = mimic.cohort.classes["treatment"]
        assert [names[number] for number in data.target("treatment").values] == rows["treatment"].tolist()
        assert torch.equal(data.latent[:, 0] == 1, torch.from_numpy((rows["sex"] == "Male").to_numpy(copy=True)))


def test_the_inputs_of_the_default_hold_nothing_that_comes_after_the_admission_but_diagnoses(mimic: Mimic) -> None:
    names = set(mimic.preprocessor.schema.names)
    assert {name for name in names if not name.startswith(("chapter_", "code_"))} == {
        "age", "admission_type", "admission_location", "first_careunit", "insurance", "language", "marital_status", "ethnicity", "sex",
    }  # fmt: skip


def test_truth_is_that_of_the_rows(mimic: Mimic) -> None:
    for split in Split:
        known, rows = mimic.truth(split), mimic.raw(split)
        assert (known.woman == (rows["sex"] == "Female")).all()
        assert np.corrcoef(known.long_stay, rows["long_stay_7d"])[0, 1] > 0.25
        assert set(mimic.cohort.classes["treatment"]) <= set(known.classes)


def test_partners_do_not_agree_in_proxies(mimic: Mimic) -> None:
    columns = mimic.sampler.columns  # type: ignore[attr-defined]
    assert "age" in columns and "chapter_circulatory" in columns
    assert not {"sex", "marital_status", "first_careunit", "code_600"} & set(columns)


def test_generated_data_stay_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter_module.tempfile, "tempdir", str(tmp_path))
    Mimic("generated", num_generated=600)
    assert list(tmp_path.iterdir()) == []


def test_a_real_copy_is_described_by_large_counts_only(altered: Fold) -> None:
    folder = altered("ADMISSIONS", lambda rows: None)
    found = Mimic(root=folder, pairs=Flip())
    assert found.manifest["name"] == "mimic-iii" and found.manifest["stand_in"] is False
    rows, rates = found.manifest["rows"], found.manifest["majority_rate"]
    assert isinstance(rows, dict) and isinstance(rates, dict)
    deaths = {str(split): int(found.raw(split)["mortality"].sum()) for split in Split}
    assert min(deaths.values()) < 10 <= max(deaths.values()), "the test needs both cases"
    for split, count in deaths.items():
        assert (f"{split}/mortality" in rates) == (count >= 10)
    text = json.dumps(found.manifest)
    assert not [subject for subject in found.cohort.subjects if str(subject) in text.replace(str(folder), "")]
    with pytest.raises(ValueError, match="no truth is known of these patients"):
        found.truth(Split.TEST)


def test_no_split_can_be_counted_from_the_others(altered: Fold) -> None:
    def keep_few(rows: list[dict[str, str]]) -> None:
        del rows[105:]

    found = Mimic(root=altered("ADMISSIONS", keep_few), pairs=Flip(), targets=("long_stay_7d", "treatment"), split_seed=3)
    rows, rates = found.manifest["rows"], found.manifest["majority_rate"]
    assert isinstance(rows, dict) and isinstance(rates, dict)
    assert rows["validation"] == "<10" and str(rows["train"]).startswith("~")
    assert all(rate == round(rate, 2) for rate in rates.values()), "a rate of four digits tells of how many it is"
    commonest = int(found.raw(Split.TEST)["treatment"].value_counts().iloc[0])
    assert commonest < 10 and "test/treatment" not in rates, "the largest class of many can be small"


def test_two_users_with_the_same_cohort_have_the_same_digests(altered: Fold, generated_folder: Path) -> None:
    cohort = build_cohort(generated_folder)
    mine = str(cohort.subjects[cohort.rows(Split.TEST).index[0]])

    def die(rows: list[dict[str, str]]) -> None:
        for row in rows:
            if row["SUBJECT_ID"] == mine:
                row["HOSPITAL_EXPIRE_FLAG"] = str(1 - int(row["HOSPITAL_EXPIRE_FLAG"]))

    expected = adapter_module._digests(cohort)
    folder = altered("PATIENTS", lambda rows: rows.reverse())
    assert adapter_module._digests(build_cohort(folder)) == expected
    found = adapter_module._digests(build_cohort(altered("ADMISSIONS", die)))
    assert [split for split in expected if found[split] != expected[split]] == ["test"]


def test_where_the_files_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTEXTSSL_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="no root is given. MIMIC-III cannot be fetched .*domain.source=generated"):
        find_folder()
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder. MIMIC-III cannot be fetched"):
        Mimic(root=tmp_path / "nowhere")
    monkeypatch.setenv("CONTEXTSSL_DATA", str(tmp_path))
    (tmp_path / "mimic").mkdir()
    assert find_folder() == tmp_path / "mimic"


def test_the_data_command(generated_folder: Path, tmp_path: Path) -> None:
    lines = act("info", "mimic", [f"root={generated_folder}"])
    assert lines[0].startswith("generated files in MIMIC-III's layout") and any(line.startswith("= cohort") for line in lines)
    assert lines == info(generated_folder)
    assert len(act("verify", "mimic", [f"root={generated_folder}"])) == 7
    cache = tmp_path / "cache"
    act("prepare", "mimic", [f"root={generated_folder}", f"cache={cache}"])
    assert len(list(cache.iterdir())) == 1
    act("prepare", "mimic", [f"root={tmp_path / 'made'}", "patients=60"])
    assert len(verify(tmp_path / "made")) == 7
    (tmp_path / "made" / "CHARTEVENTS.csv").unlink()
    assert "CHARTEVENTS: not there, and only needed with measurements" in verify(tmp_path / "made")


def test_the_data_command_with_nothing_to_do(generated_folder: Path) -> None:
    with pytest.raises(ValueError, match="give cache=<folder> .* or patients=<number>"):
        prepare(generated_folder)
    with pytest.raises(ValueError, match="give root=<new folder>"):
        prepare(None, patients=10)
