"""The cohort against a loop over the rows of the files, its flow, its splits, and what is said of a real copy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contextssl.adapter import Split
from domains.tabular.mimic.cohort import Cohort, CohortOptions, build_cohort
from domains.tabular.mimic.features import ages, shuffled, splits
from domains.tabular.mimic.flow import Exclusion

Fold = Callable[..., Path]
Rows = list[dict[str, str]]
RowsOf = Callable[[str], Rows]


@pytest.fixture(scope="module")
def cohort(generated_folder: Path) -> Cohort:
    return build_cohort(generated_folder)


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def admission(rows: Rows, subject: int) -> dict[str, str]:
    """The first admission of a patient."""
    return min((row for row in rows if row["SUBJECT_ID"] == str(subject)), key=lambda row: row["ADMITTIME"])


def slow(rows_of: RowsOf) -> dict[int, dict[str, str]]:
    """Subject -> the row of ADMISSIONS that the protocol chooses, with age and stay."""
    admissions = rows_of("ADMISSIONS")
    chosen: dict[int, dict[str, str]] = {}
    for patient in rows_of("PATIENTS"):
        first = admission(admissions, int(patient["SUBJECT_ID"]))
        born, begin, end = (time(text) for text in (patient["DOB"], first["ADMITTIME"], first["DISCHTIME"]))
        age = begin.year - born.year - ((begin.month, begin.day) < (born.month, born.day))
        stay = (end - begin).total_seconds() / 86_400
        if first["ADMISSION_TYPE"] != "NEWBORN" and age >= 18 and 0 <= stay < 30:
            more = {"age": str(min(age, 90)), "stay": str(stay), "GENDER": patient["GENDER"]}
            chosen[int(patient["SUBJECT_ID"])] = first | more
    return chosen


def test_rows_are_those_of_a_loop(cohort: Cohort, rows_of: RowsOf) -> None:
    expected = slow(rows_of)
    assert sorted(expected) == sorted(cohort.subjects.tolist()) and len(expected) > 230
    codes, procedures, units = ({name: [] for name in (row["HADM_ID"] for row in expected.values())} for _ in range(3))
    for name, found in (("DIAGNOSES_ICD", codes), ("PROCEDURES_ICD", procedures), ("ICUSTAYS", units)):
        for row in rows_of(name):
            if row["HADM_ID"] in found:
                found[row["HADM_ID"]].append(row)
    for subject, (_, row) in zip(cohort.subjects.tolist(), cohort.frame.iterrows(), strict=True):
        admission = expected[subject]
        stay, mine = float(admission["stay"]), [code["ICD9_CODE"] for code in codes[admission["HADM_ID"]]]
        assert row["age"] == int(admission["age"])
        assert row["sex"] == {"F": "Female", "M": "Male"}[admission["GENDER"]]
        assert row["marital_status"] == (admission["MARITAL_STATUS"] or "?")
        assert row["language"] == {"": "?", "ENGL": "ENGLISH"}.get(admission["LANGUAGE"], "OTHER")
        assert row["first_careunit"] == next((unit["FIRST_CAREUNIT"] for unit in units[admission["HADM_ID"]]), "?")
        assert (row["long_stay_7d"], row["long_stay_3d"], row["mortality"]) == (
            int(stay > 7), int(stay > 3), int(admission["HOSPITAL_EXPIRE_FLAG"]),
        )  # fmt: skip
        assert row["code_428"] == int("4280" in mine) and row["chapter_infectious"] == int("0389" in mine)
        assert row["code_V10"] == int("V103" in mine) and row["chapter_external"] == int("E8889" in mine)
        ordered = [code["ICD9_CODE"] for code in sorted(procedures[admission["HADM_ID"]], key=lambda one: int(one["SEQ_NUM"]))]
        assert row["ventilation"] == int("9671" in ordered)
        first = {"3615": "cardiovascular", "8872": "diagnostic_therapeutic", "4513": "digestive", "7935": "musculoskeletal",
                 "0139": "nervous", "3324": "respiratory", "5732": "urinary", "9671": "diagnostic_therapeutic"}  # fmt: skip
        assert row["treatment"] == (first[ordered[0]] if ordered else "none")


def test_ages_from_the_calendar() -> None:
    born = pd.Series(pd.to_datetime(["2080-03-01", "2080-03-01", "2080-02-29", "1830-06-15"]).as_unit("s"))
    moment = pd.Series(pd.to_datetime(["2100-02-28", "2100-03-01", "2101-02-28", "2130-06-15"]).as_unit("s"))
    assert ages(born, moment).tolist() == [19, 20, 20, 300]


def test_the_oldest_are_ninety(cohort: Cohort, rows_of: RowsOf) -> None:
    births = {int(row["SUBJECT_ID"]): int(row["DOB"][:4]) for row in rows_of("PATIENTS")}
    oldest = [births[subject] < 2000 for subject in cohort.subjects.tolist()]
    assert any(oldest) and (cohort.frame["age"][oldest] == 90).all() and cohort.frame["age"].max() == 90


def test_the_flow_adds_up(cohort: Cohort, rows_of: RowsOf) -> None:
    flow = cohort.flow
    assert (flow.patients, flow.admissions) == (len(rows_of("PATIENTS")), len(rows_of("ADMISSIONS")))
    assert flow.remaining == (len(cohort.frame), len(cohort.frame))
    by_reason = {step.reason: step for step in flow.exclusions}
    newborns = sum(row["ADMISSION_TYPE"] == "NEWBORN" for row in rows_of("ADMISSIONS"))
    assert by_reason["of a newborn"] == Exclusion("of a newborn", newborns, newborns)
    seconds = flow.admissions - flow.patients
    assert by_reason["not the patient's first"] == Exclusion("not the patient's first", 0, seconds)
    assert by_reason["staying 30 days or more"].patients > 0 and by_reason["discharged before the admission"].patients > 0


@pytest.mark.parametrize(
    ("table", "change", "reason"),
    [
        ("ADMISSIONS", {"DISCHTIME": "2090-01-01 00:00:00"}, "discharged before the admission"),
        ("ADMISSIONS", {"DISCHTIME": ""}, "without a time of discharge"),
        ("ADMISSIONS", {"DISCHTIME": "2215-01-01 00:00:00"}, "staying 30 days or more"),
        ("ADMISSIONS", {"ADMISSION_TYPE": "NEWBORN"}, "of a newborn"),
        ("ADMISSIONS", {"SUBJECT_ID": "999999"}, "of nobody in PATIENTS"),
        ("PATIENTS", {"DOB": "2215-01-01 00:00:00"}, "with no time of birth, or one after the admission"),
        ("PATIENTS", {"DOB": ""}, "with no time of birth, or one after the admission"),
        ("PATIENTS", {"GENDER": "U"}, "with a sex other than F and M"),
        ("PATIENTS", {"GENDER": ""}, "with a sex other than F and M"),
    ],
)
def test_a_wrong_row_is_left_out_and_counted(
    cohort: Cohort, altered: Fold, rows_of: RowsOf, table: str, change: dict[str, str], reason: str
) -> None:
    once = [row["SUBJECT_ID"] for row in rows_of("ADMISSIONS")]
    subject = next(s for s in cohort.subjects.tolist() if once.count(str(s)) == 1)
    found = build_cohort(altered(table, lambda rows: admission_or_patient(rows, subject).update(change)))
    assert set(cohort.subjects) - set(found.subjects) == {subject} and len(found.frame) == len(cohort.frame) - 1
    counts = {step.reason: step.admissions for step in found.flow.exclusions}
    before = {step.reason: step.admissions for step in cohort.flow.exclusions}
    assert {name: counts[name] - before[name] for name in counts if counts[name] != before[name]} == {reason: 1}


def admission_or_patient(rows: Rows, subject: int) -> dict[str, str]:
    return next(row for row in rows if row["SUBJECT_ID"] == str(subject))


def test_a_first_admission_that_breaks_a_rule_is_not_replaced_by_a_second_one(
    cohort: Cohort, altered: Fold, rows_of: RowsOf
) -> None:
    once = [row["SUBJECT_ID"] for row in rows_of("ADMISSIONS")]
    subject = next(s for s in cohort.subjects.tolist() if once.count(str(s)) == 2)
    found = build_cohort(altered("ADMISSIONS", lambda rows: admission(rows, subject).update(DISCHTIME="2099-01-01 00:00:00")))
    assert subject not in found.subjects


def test_unknown_codes_and_late_stays_are_counted(cohort: Cohort, altered: Fold) -> None:
    def spoil(rows: Rows) -> None:
        rows[0]["ICD9_CODE"] = rows[1]["ICD9_CODE"] = "A41.9"

    subjects = set(map(str, cohort.subjects))
    altered("DIAGNOSES_ICD", lambda rows: spoil([row for row in rows if row["SUBJECT_ID"] in subjects]))
    altered("PROCEDURES_ICD", lambda rows: spoil([row for row in rows if row["SUBJECT_ID"] in subjects]))
    altered("ICUSTAYS", lambda rows: rows[0].update(INTIME="2214-01-01 00:00:00"))
    folder = altered(
        "ADMISSIONS", lambda rows: [row.update(MARITAL_STATUS="ENGAGED") for row in rows if row["SUBJECT_ID"] in subjects][:0]
    )
    notes = build_cohort(folder).flow.notes
    assert notes["diagnosis codes that are not ICD-9 codes, left out"] == 2
    assert notes["procedure codes that are not ICD-9 codes, left out"] == 2
    assert notes["values of MARITAL_STATUS that v1.4 does not hold, read as OTHER"] == len(subjects)
    late = "stays in intensive care that begin after the discharge, left out"
    assert notes[late] == cohort.flow.notes[late] + 1


def test_splits_are_by_patient_and_the_same_whatever_the_rules(cohort: Cohort, generated_folder: Path) -> None:
    other = build_cohort(generated_folder, CohortOptions(minimum_age=50, diagnoses=False, sensitive=("sex", "ethnicity")))
    of = lambda found: dict(zip(found.subjects.tolist(), found.frame["split"], strict=True))  # noqa: E731
    mine, others = of(cohort), of(other)
    assert len(others) < len(mine) and all(mine[subject] == split for subject, split in others.items())
    assert of(build_cohort(generated_folder, CohortOptions(split_seed=1))) != mine
    assert [len(cohort.rows(split)) for split in Split] == [(cohort.frame["split"] == str(split)).sum() for split in Split]


def test_shares_of_the_splits() -> None:
    names, counts = np.unique(splits(shuffled(np.arange(40_000), seed=5)), return_counts=True)
    shares = dict(zip(names, counts / 40_000, strict=True))
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.01)


def test_order_and_index_say_nothing_about_the_identifier(cohort: Cohort) -> None:
    assert cohort.frame.index.tolist() == list(range(len(cohort.frame)))
    assert abs(np.corrcoef(cohort.subjects, cohort.frame.index)[0, 1]) < 0.2
    assert not {"SUBJECT_ID", "HADM_ID"} & set(cohort.frame.columns)
    assert "subjects" not in repr(cohort) and "frame" not in repr(cohort)


def test_frequent_codes_are_those_of_the_training_rows(cohort: Cohort, altered: Fold) -> None:
    """A code that most test patients have and no training patient has is not chosen."""
    test = set(map(str, cohort.subjects[cohort.rows(Split.TEST).index]))
    every = cohort.rows(Split.TRAIN)[[name for name in cohort.frame if name.startswith("code_")]].sum()
    expected = set(sorted(every.index, key=lambda name: (-every[name], name))[:12])
    rare = f"code_{min(every.index, key=lambda name: every[name])[5:]}"

    def give(rows: Rows) -> None:
        once = {row["SUBJECT_ID"]: row for row in rows if row["SUBJECT_ID"] in test}
        rows += [row | {"ICD9_CODE": "99999", "SEQ_NUM": "30"} for row in once.values()]

    found = build_cohort(altered("DIAGNOSES_ICD", give), CohortOptions(num_codes=12))
    assert {name for name in found.frame if name.startswith("code_")} == expected and rare not in expected
    assert found.frame.loc[found.rows(Split.TEST).index, "chapter_injury"].mean() > 0.8


def test_what_may_be_an_input(cohort: Cohort, generated_folder: Path) -> None:
    without = build_cohort(generated_folder, CohortOptions(diagnoses=False))
    names = without.schema.names
    assert names == ("age", "admission_type", "admission_location", "first_careunit", "insurance", "language", "marital_status",
                     "ethnicity", "sex")  # fmt: skip
    assert set(cohort.schema.names) - set(names) == {name for name in cohort.frame if name.startswith(("chapter_", "code_"))}
    measured = build_cohort(generated_folder, CohortOptions(measurements=True))
    more = set(measured.schema.names) - set(cohort.schema.names)
    assert {name.rsplit("_", 1)[1] for name in more} == {"min", "mean", "max"} and len(more) == 48
    for found in (cohort, without, measured):
        assert not {"treatment", "ventilation", "mortality", "long_stay_7d", "long_stay_3d", "split"} & set(found.schema.names)


def test_sensitive_ethnicity_and_insurance(cohort: Cohort, generated_folder: Path) -> None:
    found = build_cohort(generated_folder, CohortOptions(sensitive=("sex", "ethnicity", "insurance")))
    unknown = (cohort.frame["ethnicity"] == "?").sum()
    assert {step.reason: step.patients for step in found.flow.exclusions}["with an unknown ethnicity"] == unknown > 0
    both = pd.DataFrame({"old": cohort.frame["ethnicity"].to_numpy()}, index=cohort.subjects).join(
        pd.DataFrame(
            {"new": found.frame["ethnicity"].to_numpy(), "paid": found.frame["insurance"].to_numpy()}, index=found.subjects
        ),
        how="inner",
    )
    assert ((both["old"] == "WHITE") == (both["new"] == "WHITE")).all()
    assert set(both["new"]) == {"NON-WHITE", "WHITE"} and set(both["paid"]) == {"Private", "Public"}


def test_bad_options() -> None:
    with pytest.raises(ValueError, match=r"sensitive must name some of .* found \['shoe'\]"):
        CohortOptions(sensitive=("shoe",))
    with pytest.raises(ValueError, match=r"targets must name some of .* found \['shoe'\]"):
        CohortOptions(targets=("shoe",))


def test_an_empty_group_a_constant_target_and_an_empty_cohort(altered: Fold, cohort: Cohort, generated_folder: Path) -> None:
    test = set(map(str, cohort.subjects[cohort.rows(Split.TEST).index]))
    folder = altered("PATIENTS", lambda rows: [row.update(GENDER="M") for row in rows if row["SUBJECT_ID"] in test][:0])
    with pytest.raises(
        ValueError, match="the test rows hold nobody with sex Female; choose another split_seed, or take a larger copy"
    ):
        build_cohort(folder)
    folder = altered("PATIENTS", lambda rows: [row.update(GENDER="FM"[i % 2]) for i, row in enumerate(rows)][:0])
    folder = altered("ADMISSIONS", lambda rows: [row.update(HOSPITAL_EXPIRE_FLAG="0") for row in rows][:0])
    with pytest.raises(ValueError, match="target mortality is the same for all training rows; leave it out of targets"):
        build_cohort(folder)
    assert "mortality" not in build_cohort(folder, CohortOptions(targets=("long_stay_7d",))).frame
    with pytest.raises(ValueError, match="no admission in .* is left"):
        build_cohort(generated_folder, CohortOptions(minimum_age=301))
