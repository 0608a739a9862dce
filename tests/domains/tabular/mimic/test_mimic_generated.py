"""The generated files and what is known of them: quirks, determinism, and the planted effects found again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from domains.tabular.mimic.cohort import build_cohort
from domains.tabular.mimic.generated import generate, truth
from domains.tabular.mimic.structure import DISEASES, PROCEDURE_CHANCES, STAY_WEIGHTS, Patients, draw_patients
from domains.tabular.mimic.truth import Truth, expected_auroc, expected_odds_gap, truth_of

Rows = list[dict[str, str]]
EFFECT = 0.6


@pytest.fixture(scope="module")
def patients() -> Patients:
    return draw_patients(60_000, seed=1, stay_effect=EFFECT)


@pytest.fixture(scope="module")
def known(patients: Patients) -> Truth:
    return truth_of(patients, np.arange(60_000), EFFECT)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_files_are_a_function_of_the_arguments(tmp_path: Path) -> None:
    first = digests(generate(tmp_path / "a", 120, seed=4))
    assert digests(generate(tmp_path / "b", 120, seed=4)) == first and len(first) == 8
    assert digests(generate(tmp_path / "c", 120, seed=5))["PATIENTS.csv"] != first["PATIENTS.csv"]
    few = digests(generate(tmp_path / "d", 120, seed=4, events=False))
    assert few.items() < first.items() and len(few) == 6


def test_a_folder_in_use_is_refused_and_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="used is not empty"):
        generate(tmp_path / "used", 50)
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["thesis.txt"]

    def full(*arguments: object, **options: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match="no space"):
        generate(tmp_path / "new", 50)
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_the_published_quirks_are_there(rows_of: Callable[[str], Rows]) -> None:
    admissions, chart = rows_of("ADMISSIONS"), rows_of("CHARTEVENTS")
    births = [int(row["DOB"][:4]) for row in rows_of("PATIENTS")]
    assert min(births) < 1905 and max(births) > 2100  # above 89, and the newborn
    assert len({row["HADM_ID"] for row in admissions}) == len(admissions) > len({row["SUBJECT_ID"] for row in admissions})
    assert {row["MARITAL_STATUS"] for row in admissions} > {"", "MARRIED", "WIDOWED"}
    assert {row["ITEMID"] for row in chart} >= {"678", "223762", "211", "220045"}
    celsius = [float(row["VALUENUM"]) for row in chart if row["ITEMID"] == "223762"]
    assert sum(value > 70 for value in celsius) > 0.01 * len(celsius)
    assert {"mg/dL", "mmol/L", "units"} <= {row["VALUEUOM"] for row in chart}
    assert {row["ERROR"] for row in chart} == {"", "0", "1"} and any(row["HADM_ID"] == "" for row in rows_of("LABEVENTS"))


def test_no_disease_depends_on_severity_and_on_sex() -> None:
    """What makes the chance that a record is a woman's exact; and one category for each disease."""
    assert not [d.code for d in DISEASES if d.severity and d.woman]
    categories = [d.code[:4] if d.code[0] == "E" else d.code[:3] for d in DISEASES]
    assert len(set(categories)) == len(categories)
    for both in PROCEDURE_CHANCES.values():
        assert [sum(chances.values()) for chances in both] == pytest.approx([1, 1])


def calibrated(chance: np.ndarray, outcome: np.ndarray) -> None:
    """In each tenth of the chances the outcome is as frequent as they say, within 4 standard errors."""
    for rows in np.array_split(np.argsort(chance), 10):
        mean = chance[rows].mean()
        assert abs(outcome[rows].mean() - mean) < 4 * np.sqrt(mean * (1 - mean) / len(rows)) + 1e-9


def test_chances_are_calibrated(patients: Patients, known: Truth) -> None:
    calibrated(known.long_stay, patients.long_stay)
    calibrated(known.long_stay_blind, patients.long_stay)
    calibrated(known.woman_chance, patients.woman)
    calibrated(known.death, patients.died)
    none, other = known.classes.index("none"), known.classes.index("diagnostic_therapeutic")
    first = np.where((patients.procedure == none) & patients.ventilated, other, patients.procedure)
    for number in range(len(known.classes)):
        calibrated(known.treatment[:, number], first == number)
        calibrated(known.treatment_blind[:, number], first == number)
    assert abs(known.long_stay.mean() - known.long_stay_fair.mean()) < 0.01


def test_chances_use_all_that_the_record_holds(patients: Patients, known: Truth) -> None:
    """They are also right within every disease, marital status and care unit, so none of these is left out of them."""
    parts = [patients.diseases[:, number] for number in range(len(DISEASES))]
    for column in (patients.marital_status, patients.care_unit):
        parts += [column == value for value in np.unique(column)]
    for chance, outcome in (
        (known.woman_chance, patients.woman),
        (known.long_stay_blind, patients.long_stay),
        (known.long_stay, patients.long_stay),
        (known.death, patients.died),
    ):
        for part in parts:
            variance = (chance * (1 - chance))[part].sum()
            assert abs((outcome - chance)[part].sum()) < 4 * np.sqrt(variance) + 1e-9


def test_sex_is_read_from_the_record_as_well_as_can_be(patients: Patients, known: Truth) -> None:
    """A fitted classifier on all proxies does not beat the known chance, and comes close to it."""
    columns = pd.concat(
        [
            pd.DataFrame(patients.diseases.astype(float)).set_axis([d.code for d in DISEASES], axis=1),
            pd.get_dummies(pd.DataFrame({"m": patients.marital_status, "u": patients.care_unit}), dtype=float),
            pd.DataFrame({"age": np.minimum(patients.age, 90) / 20.0}),
        ],
        axis=1,
    )
    half = len(columns) // 2
    fitted = LogisticRegression(max_iter=300).fit(columns[:half], patients.woman[:half]).predict_proba(columns[half:])[:, 1]
    best, found = (roc_auc_score(patients.woman[half:], score) for score in (known.woman_chance[half:], fitted))
    assert best - 0.01 < found <= best + 0.002


def test_the_effect_of_sex_is_found_from_the_files(tmp_path: Path) -> None:
    """Logistic regression on the cohort that the whole pipeline reads recovers the planted logits."""
    cohort = build_cohort(generate(tmp_path / "files", 6000, seed=2, stay_effect=EFFECT, events=False))
    frame = cohort.frame
    inputs = frame[[name for name in frame if name.startswith("code_")]].assign(
        woman=frame["sex"] == "Female", age=(frame["age"] - 65) / 15, elective=frame["admission_type"] == "ELECTIVE",
        medicaid=frame["insurance"] == "Medicaid", widowed=frame["marital_status"] == "WIDOWED",
    ).astype(float)  # fmt: skip
    fitted = LogisticRegression(C=1e4, max_iter=2000).fit(inputs, frame["long_stay_7d"])
    chance = fitted.predict_proba(inputs)[:, 1]
    information = (inputs.T * (chance * (1 - chance))) @ inputs
    errors = dict(zip(inputs, np.sqrt(np.diag(np.linalg.inv(information.to_numpy()))), strict=True))
    found = dict(zip(inputs, fitted.coef_[0], strict=True))
    planted = {
        "woman": EFFECT,
        "age": STAY_WEIGHTS["age"],
        "elective": STAY_WEIGHTS["ELECTIVE"],
        "code_518": 1.1,
        "code_414": 0.0,
    }
    for name, value in planted.items():
        assert abs(found[name] - value) < 3.5 * errors[name], (name, found[name])
    assert found["woman"] > 4 * errors["woman"]
    known_rows = truth(tmp_path / "files").of(cohort.subjects)
    assert (known_rows.woman == (frame["sex"] == "Female")).all()
    calibrated(known_rows.long_stay, frame["long_stay_7d"].to_numpy())
    assert roc_auc_score(frame["long_stay_7d"], known_rows.long_stay) == pytest.approx(
        expected_auroc(known_rows.long_stay, known_rows.long_stay), abs=0.015
    )


def test_what_the_best_predictors_score(known: Truth) -> None:
    """Knowing sex helps and is unequal; the fair predictor gives up little AUROC for equal rates; blindness lies between."""

    def measured(score: np.ndarray) -> tuple[float, float]:
        return expected_auroc(score, known.long_stay), max(map(abs, expected_odds_gap(score > 0.5, known.long_stay, known.woman)))

    (bayes, bayes_gap), (blind, blind_gap), (fair, fair_gap) = map(
        measured, (known.long_stay, known.long_stay_blind, known.long_stay_fair)
    )
    assert bayes > blind > fair > bayes - 0.02
    assert bayes_gap > 0.18 and 0.05 < blind_gap < 0.7 * bayes_gap and fair_gap < 0.04
    right = known.treatment.max(axis=1).mean()
    blindly = np.take_along_axis(known.treatment, known.treatment_blind.argmax(axis=1)[:, None], 1).mean()
    assert right - blindly > 0.03 and expected_auroc(known.woman_chance, known.woman) > 0.8


def test_expected_scores_are_the_means_over_outcomes() -> None:
    rng = np.random.default_rng(0)
    chance, group = rng.random(400), rng.random(400) < 0.4
    score = np.round(chance + 0.3 * rng.normal(size=400), 1)  # with ties
    decision, aurocs, gaps = score > 0.6, [], []
    for _ in range(300):
        outcome = rng.random(400) < chance
        aurocs.append(roc_auc_score(outcome, score))
        rates = [[decision[group == g][outcome[group == g] == value].mean() for g in (False, True)] for value in (True, False)]
        gaps.append([rates[0][1] - rates[0][0], rates[1][1] - rates[1][0]])
    assert expected_auroc(score, chance) == pytest.approx(np.mean(aurocs), abs=0.004)
    np.testing.assert_allclose(expected_odds_gap(decision, chance, group), np.mean(gaps, axis=0), atol=0.012)


def test_truth_is_of_the_asked_subjects_and_of_generated_folders_only(generated_folder: Path, tmp_path: Path) -> None:
    every = truth(generated_folder)
    some = every.of(every.subject[[7, 3]])
    assert some.long_stay.tolist() == every.long_stay[[7, 3]].tolist() and some.treatment.shape == (2, len(every.classes))
    with pytest.raises(ValueError, match="were not generated with this"):
        every.of(np.array([1]))
    with pytest.raises(ValueError, match="was not generated: there is no file GENERATED"):
        truth(tmp_path)
