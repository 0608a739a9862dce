"""The open demo's record is of the published files, and counts no few people."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import mimic_demo
import pytest


def test_only_the_published_files_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "row_id,subject_id,gender,dob\n1,10006,F,2094-03-05 00:00:00\n"
    (tmp_path / "PATIENTS.csv").write_text(text)
    with pytest.raises(ValueError, match="PATIENTS.csv is not the file of the open demo"):
        mimic_demo.published(tmp_path)
    monkeypatch.setitem(mimic_demo.PUBLISHED, "PATIENTS", hashlib.sha256(text.encode()).hexdigest())
    assert mimic_demo.published(tmp_path) == ["PATIENTS"]


def test_the_record_counts_nobody() -> None:
    record = json.loads(mimic_demo.RESULTS.read_text())
    assert {"PATIENTS", "ADMISSIONS", "ICUSTAYS", "DIAGNOSES_ICD", "PROCEDURES_ICD"} <= set(record["files"])
    for lines in (record["info"], record["data"]["flow"]):
        text = "\n".join(line for line in lines if "younger" not in line and "staying" not in line)
        assert not [
            n
            for n in re.findall(r"(?<![<~\d.,])\d+(?![\d.%,])", text.replace("long_stay_7d", "").replace("long_stay_3d", ""))
            if 0 < int(n) < 10
        ]
    assert record["data"]["rows"]["validation"] == "<10"
