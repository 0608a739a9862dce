"""A generated MIMIC-III: CSV files with the published names, columns, codes and quirks, drawn from `structure`.

Beside the adults of the structure there are newborns, children, second admissions, negative and very long stays; dates are
shifted; patients above 89 are born 300 years before; marital status, language, care unit and variables are missing at times;
temperatures come in both scales, some glucose and creatinine values in other units, and a few readings are impossible.
None of this depends on sex, severity or outcome.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from domains.tabular.mimic.cohort import GENERATED_MARK
from domains.tabular.mimic.generated_events import charted, laboratory
from domains.tabular.mimic.structure import (
    DISEASES,
    PROCEDURE_CLASSES,
    PROCEDURES,
    STAY_EFFECT,
    VENTILATION_CODE,
    Integers,
    Patients,
    draw_patients,
)  # fmt: skip
from domains.tabular.mimic.tables import TIME_FORMAT
from domains.tabular.mimic.truth import Truth, truth_of

# Kinds of patients and their shares; only the first are in the cohort.
KINDS = {"adult": 0.87, "newborn": 0.07, "child": 0.01, "negative": 0.01, "extended": 0.04}
SECOND_ADMISSIONS = 0.15
OLDEST_SHOWN = 89


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a generated folder depends on."""

    num_patients: int
    seed: int
    stay_effect: float = STAY_EFFECT


def generate(
    folder: str | Path, num_patients: int = 6000, seed: int = 0, stay_effect: float = STAY_EFFECT, events: bool = True
) -> Path:
    """Write the tables of `num_patients` patients into a new folder, and return it.

    Args:
        folder: must not be there, or be empty; it appears whole or not at all.
        num_patients: rows of PATIENTS; about 87 % of them are in the default cohort.
        seed: of everything drawn.
        stay_effect: direct effect of being a woman on a stay of more than 7 days, in logits.
        events: whether to write CHARTEVENTS and LABEVENTS, which take most of the time; the other tables do not depend on it.

    Raises:
        ValueError: for a folder that is not empty.
    """
    folder, recipe = Path(folder), Recipe(num_patients, seed, stay_effect)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; generated files must not be mixed with others")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for name, table in _tables(recipe, events).items():
            table.insert(0, "ROW_ID", np.arange(1, len(table) + 1))
            table.to_csv(draft / f"{name}.csv", index=False, date_format=TIME_FORMAT)
        (draft / GENERATED_MARK).write_text(json.dumps(asdict(recipe)) + "\n", encoding="utf-8")
        draft.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def truth(folder: str | Path) -> Truth:
    """What is known of the patients of a generated folder (all its adults, whatever the cohort leaves out).

    Raises:
        ValueError: for a folder that was not generated.
    """
    mark = Path(folder) / GENERATED_MARK
    if not mark.is_file():
        raise ValueError(f"{folder} was not generated: there is no file {GENERATED_MARK}, and of real patients no truth is known")
    recipe = Recipe(**json.loads(mark.read_text(encoding="utf-8")))
    patients = draw_patients(recipe.num_patients, recipe.seed, recipe.stay_effect)
    return truth_of(patients, _subjects(recipe), recipe.stay_effect)


def _subjects(recipe: Recipe) -> Integers:
    """Distinct identifiers in no order."""
    rng = np.random.default_rng((recipe.seed, 1))
    return rng.permutation(np.arange(10_000, 10_000 + 4 * recipe.num_patients))[: recipe.num_patients].astype(np.int64)


def _tables(recipe: Recipe, events: bool) -> dict[str, pd.DataFrame]:
    patients = draw_patients(recipe.num_patients, recipe.seed, recipe.stay_effect)
    rng = np.random.default_rng((recipe.seed, 2))
    frame = _first_admissions(patients, _subjects(recipe), rng)
    again = _second_admissions(frame, rng)
    everyone = pd.concat([frame, again], ignore_index=True)
    stays = _stays(everyone, rng)
    tables = {
        "PATIENTS": _patients_table(frame),
        "ADMISSIONS": _admissions_table(everyone).sort_values("HADM_ID"),
        "ICUSTAYS": _stays_table(stays[stays["recorded"]]).sort_values("ICUSTAY_ID"),
        "DIAGNOSES_ICD": _diagnoses(patients, frame, again, rng),
        "PROCEDURES_ICD": _procedures(patients, frame),
    }
    if events:
        first, seen = stays.iloc[: len(frame)], (stays["recorded"] & everyone["charted"]).to_numpy()[: len(frame)]
        tables["CHARTEVENTS"] = charted(patients, first, seen, np.random.default_rng((recipe.seed, 3)))
        tables["LABEVENTS"] = laboratory(patients, first, seen, np.random.default_rng((recipe.seed, 4)))
    return tables


def _first_admissions(patients: Patients, subject: Integers, rng: np.random.Generator) -> pd.DataFrame:
    """One row per patient: the record in words, and times."""
    number = len(subject)
    kind = rng.choice(list(KINDS), number, p=list(KINDS.values()))
    day = pd.to_datetime("2100-01-01") + pd.to_timedelta(rng.integers(0, 36_000, number), unit="D")
    day = day.where(~((day.month == 2) & (day.day == 29)), day - pd.Timedelta(days=1)).as_unit("s")
    admit = day + _seconds(rng.integers(0, 86_400, number))
    age = np.where(kind == "newborn", 0, np.where(kind == "child", rng.integers(14, 18, number), patients.age))
    back = np.where(age > OLDEST_SHOWN, 300, age)
    before = np.where(kind == "newborn", 0, rng.integers(0, 364, number))
    frame = pd.DataFrame(
        {
            "SUBJECT_ID": subject, "HADM_ID": 100_000 + rng.permutation(2 * number)[:number], "kind": kind, "woman": patients.woman,
            "ADMITTIME": admit, "DISCHTIME": admit + _seconds(_stay_days(patients, kind, rng) * 86_400), "died": patients.died,
            "DOB": _years_before(day, back) - _seconds(before * 86_400),
            "ADMISSION_TYPE": np.where(kind == "newborn", "NEWBORN", patients.admission_type),
            "ADMISSION_LOCATION": patients.admission_location, "INSURANCE": patients.insurance, "LANGUAGE": patients.language,
            "MARITAL_STATUS": patients.marital_status, "ETHNICITY": patients.ethnicity, "unit": patients.care_unit,
        }
    )  # fmt: skip
    return frame.assign(charted=rng.random(number) < 0.99)


def _years_before(day: pd.DatetimeIndex, years: np.ndarray) -> pd.DatetimeIndex:
    """The same day of an earlier year; 300 years need whole seconds, since they do not fit into nanoseconds."""
    months = np.asarray(day.values, dtype="datetime64[M]")
    return pd.DatetimeIndex(
        ((months - 12 * years.astype("timedelta64[M]")).astype("datetime64[s]") + (day.values - months)).astype("datetime64[s]")
    )


def _seconds(number: np.ndarray) -> pd.TimedeltaIndex:
    return pd.TimedeltaIndex(np.round(number).astype("int64").astype("timedelta64[s]"))


def _stay_days(patients: Patients, kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Days that agree with the drawn classes of the stay; both sides keep clear of 3, 7 and 30."""
    number = len(kind)
    long = 7.05 + np.minimum(rng.exponential(6, number), 22.9)
    short = np.where(patients.middle_stay, rng.uniform(3.05, 6.95, number), rng.uniform(0.3, 2.95, number))
    days = np.where(patients.long_stay, long, short)
    return np.select(
        [kind == "extended", kind == "negative"], [30.1 + rng.exponential(10, number), -rng.uniform(0.01, 0.5, number)], days
    )


def _second_admissions(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A later admission of some patients who left alive; nothing of it is in a cohort of first admissions."""
    chosen = frame[
        (rng.random(len(frame)) < SECOND_ADMISSIONS) & ~frame["died"].to_numpy() & (frame["kind"] == "adult").to_numpy()
    ]
    gap = _seconds(rng.integers(20, 600, len(chosen)) * 86_400)
    days = _seconds(rng.uniform(1, 20, len(chosen)) * 86_400)
    admit = chosen["DISCHTIME"] + gap
    free = np.setdiff1d(100_000 + np.arange(2 * len(frame)), frame["HADM_ID"])
    admission = rng.permutation(free)[: len(chosen)]
    return pd.DataFrame(chosen).assign(HADM_ID=admission, ADMITTIME=admit, DISCHTIME=admit + days, died=False, kind="again")


def _stays(everyone: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The stay in intensive care of each admission; without a care unit there is none."""
    number = len(everyone)
    length = (everyone["DISCHTIME"] - everyone["ADMITTIME"]).dt.total_seconds().to_numpy().clip(min=0)
    begin = everyone["ADMITTIME"] + _seconds(rng.uniform(0, 0.1, number) * length)
    unit = np.where(everyone["kind"] == "newborn", "NICU", everyone["unit"])
    stays = everyone[["SUBJECT_ID", "HADM_ID", "DISCHTIME"]].assign(
        ICUSTAY_ID=200_000 + rng.permutation(2 * number)[:number], FIRST_CAREUNIT=unit, INTIME=begin,
        OUTTIME=begin + _seconds(0.7 * length), metavision=rng.random(number) < 0.5,
    )  # fmt: skip
    return stays.assign(recorded=unit != "")


def _patients_table(frame: pd.DataFrame) -> pd.DataFrame:
    death = frame["DISCHTIME"].dt.floor("D").where(frame["died"])
    return pd.DataFrame(
        {
            "SUBJECT_ID": frame["SUBJECT_ID"], "GENDER": np.where(frame["woman"], "F", "M"), "DOB": frame["DOB"], "DOD": death,
            "DOD_HOSP": death, "DOD_SSN": "", "EXPIRE_FLAG": frame["died"].astype(int),
        }
    ).sort_values("SUBJECT_ID")  # fmt: skip


def _admissions_table(everyone: pd.DataFrame) -> pd.DataFrame:
    emergency = everyone["ADMISSION_LOCATION"] == "EMERGENCY ROOM ADMIT"
    return pd.DataFrame(
        {
            "SUBJECT_ID": everyone["SUBJECT_ID"], "HADM_ID": everyone["HADM_ID"], "ADMITTIME": everyone["ADMITTIME"],
            "DISCHTIME": everyone["DISCHTIME"], "DEATHTIME": everyone["DISCHTIME"].where(everyone["died"]),
            "ADMISSION_TYPE": everyone["ADMISSION_TYPE"], "ADMISSION_LOCATION": everyone["ADMISSION_LOCATION"],
            "DISCHARGE_LOCATION": np.where(everyone["died"], "DEAD/EXPIRED", "HOME"), "INSURANCE": everyone["INSURANCE"],
            "LANGUAGE": everyone["LANGUAGE"], "RELIGION": "NOT SPECIFIED", "MARITAL_STATUS": everyone["MARITAL_STATUS"],
            "ETHNICITY": everyone["ETHNICITY"],
            "EDREGTIME": (everyone["ADMITTIME"] - pd.Timedelta(hours=6)).where(emergency),
            "EDOUTTIME": (everyone["ADMITTIME"] + pd.Timedelta(hours=1)).where(emergency),
            "DIAGNOSIS": 'GENERATED, "NOT A PERSON"', "HOSPITAL_EXPIRE_FLAG": everyone["died"].astype(int),
            "HAS_CHARTEVENTS_DATA": everyone["charted"].astype(int),
        }
    )  # fmt: skip


def _stays_table(stays: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "SUBJECT_ID": stays["SUBJECT_ID"], "HADM_ID": stays["HADM_ID"], "ICUSTAY_ID": stays["ICUSTAY_ID"],
            "DBSOURCE": np.where(stays["metavision"], "metavision", "carevue"), "FIRST_CAREUNIT": stays["FIRST_CAREUNIT"],
            "LAST_CAREUNIT": stays["FIRST_CAREUNIT"], "FIRST_WARDID": 1, "LAST_WARDID": 1, "INTIME": stays["INTIME"],
            "OUTTIME": stays["OUTTIME"], "LOS": ((stays["OUTTIME"] - stays["INTIME"]).dt.total_seconds() / 86_400).round(4),
        }
    )  # fmt: skip


def _diagnoses(patients: Patients, frame: pd.DataFrame, again: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A row for each disease, in random order within the admission; second admissions repeat the first one's."""
    row, disease = np.nonzero(patients.diseases)
    codes = np.array([d.code for d in DISEASES])[disease]
    rows = pd.DataFrame(
        {"SUBJECT_ID": frame["SUBJECT_ID"].to_numpy()[row], "HADM_ID": frame["HADM_ID"].to_numpy()[row], "ICD9_CODE": codes}
    )
    later = rows.drop(columns="HADM_ID").merge(again[["SUBJECT_ID", "HADM_ID"]], on="SUBJECT_ID")
    rows = pd.concat([rows, later], ignore_index=True)
    rows = rows.iloc[rng.permutation(len(rows))].sort_values("HADM_ID", kind="stable", ignore_index=True)
    rows.insert(2, "SEQ_NUM", rows.groupby("HADM_ID").cumcount() + 1)
    return rows


def _procedures(patients: Patients, frame: pd.DataFrame) -> pd.DataFrame:
    """The first procedure, then ventilation."""
    first = np.array([PROCEDURES[name] for name in PROCEDURE_CLASSES])[patients.procedure]
    parts = []
    for code, present in ((first, first != ""), (np.full(len(frame), VENTILATION_CODE), patients.ventilated)):
        parts.append(frame.loc[present, ["SUBJECT_ID", "HADM_ID"]].assign(ICD9_CODE=code[present]))
    rows = pd.concat(parts).sort_values("HADM_ID", kind="stable", ignore_index=True)
    rows.insert(2, "SEQ_NUM", rows.groupby("HADM_ID").cumcount() + 1)
    return rows
