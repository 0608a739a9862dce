"""The open demo's record is of the published files, and counts no few people."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def benchmark(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("mimic_demo")


def test_only_the_published_files_are_measured(benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "row_id,subject_id,gender,dob\n1,10006,F,2094-03-05 00:00:00\n"
    (tmp_path / "PATIENTS.csv").write_text(text)
    with pytest.raises(ValueError, match=r"PATIENTS\.csv is not the file of the open demo"):
        benchmark.published(tmp_path)
    monkeypatch.setitem(benchmark.PUBLISHED, "PATIENTS", hashlib.sha256(text.encode()).hexdigest())
    assert benchmark.published(tmp_path) == ["PATIENTS"]


def test_the_record_counts_no_few_people(benchmark: ModuleType) -> None:
    record = json.loads(benchmark.RESULTS.read_text())
    assert {"PATIENTS", "ADMISSIONS", "ICUSTAYS", "DIAGNOSES_ICD", "PROCEDURES_ICD"} <= set(record["files"])
    assert record["data"]["rows"]["validation"] == "<10" and not record["results"], "of so few nothing can be reported"
    for lines in (record["info"], record["data"]["flow"]):
        counts = [count for line in lines for count in re.findall(r"(?:  |: )([~<]?[\d,]+)(?=  |$)", line)]
        assert "<10" in counts and not {str(few) for few in range(1, 10)} & set(counts)
