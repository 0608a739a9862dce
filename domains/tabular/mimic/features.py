"""From the chosen admissions to columns: what is known on arrival, the diagnoses, the treatment, the split.

Diagnoses and procedures are coded after discharge. The diagnoses are inputs by protocol 5.4 and can be switched off;
procedures are targets only.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from contextssl.adapter import Split
from domains.tabular.mimic import codes
from domains.tabular.mimic.tables import read_table
from domains.tabular.preprocessing import MISSING, Categorical, Column, Numeric

OLDEST = 90  # birth dates of patients above 89 are 300 years before their first admission
SHARES = {Split.TRAIN: 0.7, Split.VALIDATION: 0.1, Split.TEST: 0.2}
SEXES = {"F": "Female", "M": "Male"}
# Sensitive attribute -> (value 0, value 1), alphabetical.
SENSITIVE_VALUES = {"sex": ("Female", "Male"), "ethnicity": ("NON-WHITE", "WHITE"), "insurance": ("Private", "Public")}
NO_PROCEDURE, OTHER_PROCEDURE = "none", "other"
NUM_TREATMENTS = 10

Floats = npt.NDArray[np.float64]


def ages(birth: pd.Series, moment: pd.Series) -> pd.Series:
    """Completed years at a moment; from the calendar, since 300 years do not fit into nanoseconds."""
    had_birthday = (moment.dt.month > birth.dt.month) | ((moment.dt.month == birth.dt.month) & (moment.dt.day >= birth.dt.day))
    years = moment.dt.year - birth.dt.year - (~had_birthday).astype(int)
    return pd.Series(years, index=birth.index)


def shuffled(subjects: npt.NDArray[np.int64], seed: int) -> Floats:
    """A number in [0, 1) for each patient, which depends on the identifier and the seed alone."""
    digests = (hashlib.sha256(f"{seed}:{subject}".encode()).digest() for subject in subjects.tolist())
    return np.array([int.from_bytes(digest[:8]) / 2**64 for digest in digests])


def splits(place: Floats) -> npt.NDArray[np.object_]:
    """The split of each patient from its number in [0, 1): 70 % training, 10 % validation, 20 % test.

    So a patient is in the same split in every cohort with that seed, whatever its other rules.
    """
    train, validation = SHARES[Split.TRAIN], SHARES[Split.TRAIN] + SHARES[Split.VALIDATION]
    names = np.where(place < train, str(Split.TRAIN), np.where(place < validation, str(Split.VALIDATION), str(Split.TEST)))
    return names.astype(object)


def arrival(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """What is known on arrival, and how many values v1.4 does not hold; missing categories are `?`."""
    found, notes = {"age": rows["AGE"].clip(upper=OLDEST).astype("int64")}, {}
    for column in codes.PUBLISHED:
        values, foreign = codes.published(rows[column], column)
        found[column.lower()] = values
        notes[f"values of {column} that v1.4 does not hold, read as {codes.OTHER}"] = foreign
    found["language"] = codes.languages(rows["LANGUAGE"])
    found["ethnicity"] = codes.ethnicity_groups(rows["ETHNICITY"])
    found["sex"] = rows["GENDER"].map(SEXES)
    frame = pd.DataFrame(found, index=rows.index)
    return frame.where(frame.notna(), MISSING), notes


def binarised(frame: pd.DataFrame, sensitive: tuple[str, ...]) -> pd.DataFrame:
    """The frame with a sensitive ethnicity or insurance in its two values; rows without one were excluded before."""
    changed = {}
    if "ethnicity" in sensitive:
        changed["ethnicity"] = frame["ethnicity"].where(frame["ethnicity"] == "WHITE", "NON-WHITE")
    if "insurance" in sensitive:
        public = frame["insurance"].isin(codes.PUBLIC_INSURANCES)
        changed["insurance"] = public.map({True: "Public", False: "Private"}).astype(object)
    return frame.assign(**changed)


def arrival_columns(sensitive: tuple[str, ...]) -> list[Column]:
    """The schema of `arrival`; every vocabulary is declared, so that the rows of no split can surprise it."""
    known = {column.lower(): values for column, values in codes.PUBLISHED.items()}
    vocabulary = {
        "admission_type": tuple(value for value in known["admission_type"] if value != "NEWBORN"),
        "admission_location": known["admission_location"],
        "first_careunit": known["first_careunit"],
        "insurance": known["insurance"],
        "language": ("ENGLISH",),
        "marital_status": known["marital_status"],
        "ethnicity": tuple(value for value in codes.ETHNICITIES if value != codes.OTHER),
    }
    columns: list[Column] = [Numeric("age")]
    for name, values in vocabulary.items():
        columns.append(Categorical(name, SENSITIVE_VALUES[name] if name in sensitive else (*values, codes.OTHER, MISSING)))
    return [*columns, Categorical("sex", SENSITIVE_VALUES["sex"])]


def diagnoses(
    root: Path, admissions: pd.Index, train: npt.NDArray[np.bool_], num_codes: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """[N, chapters + codes] 0 or 1: has the admission a diagnosis of that ICD-9 chapter, and of that three-digit code?

    The codes are the `num_codes` most frequent ones of the training rows.
    """
    table = read_table(root, "DIAGNOSES_ICD")
    table = table[table["HADM_ID"].isin(admissions) & table["ICD9_CODE"].notna()]
    category = codes.diagnosis_categories(table["ICD9_CODE"])
    chapter = codes.diagnosis_chapters(category)
    notes = {"diagnosis codes that are not ICD-9 codes, left out": int(chapter.isna().sum())}
    known = pd.DataFrame({"admission": table["HADM_ID"], "category": category, "chapter": chapter}).dropna()
    frequent = known[known["admission"].isin(admissions[train])].drop_duplicates(["admission", "category"])["category"]
    order = (
        frequent.value_counts()
        .rename_axis("category")
        .reset_index(name="count")
        .sort_values(["count", "category"], ascending=[False, True])
    )
    chosen = sorted(order["category"].head(num_codes))
    flags = {
        f"chapter_{name}": admissions.isin(known.loc[known["chapter"] == name, "admission"])
        for name in codes.ALL_DIAGNOSIS_CHAPTERS
    } | {f"code_{name}": admissions.isin(known.loc[known["category"] == name, "admission"]) for name in chosen}
    return pd.DataFrame(flags, index=admissions).astype("int64"), notes


def treatments(root: Path, admissions: pd.Index, train: npt.NDArray[np.bool_]) -> tuple[pd.DataFrame, dict[str, int]]:
    """[N, 2]: `treatment`, the chapter of the first-listed procedure, and `ventilation`, 0 or 1.

    Chapters beyond the ten most frequent of the training rows are `other`; without a procedure it is `none`.
    """
    table = read_table(root, "PROCEDURES_ICD")
    table = table[table["HADM_ID"].isin(admissions) & table["ICD9_CODE"].notna()].assign(
        chapter=lambda rows: codes.procedure_chapters(rows["ICD9_CODE"])
    )
    notes = {"procedure codes that are not ICD-9 codes, left out": int(table["chapter"].isna().sum())}
    first = table.dropna(subset=["chapter"]).sort_values(["HADM_ID", "SEQ_NUM"], kind="stable").drop_duplicates("HADM_ID")
    chapter = first.set_index("HADM_ID")["chapter"].reindex(admissions)
    counts = chapter[train].value_counts().rename_axis("chapter").reset_index(name="count")
    frequent = counts.sort_values(["count", "chapter"], ascending=[False, True])["chapter"].head(NUM_TREATMENTS)
    treatment = chapter.where(chapter.isin(frequent) | chapter.isna(), OTHER_PROCEDURE).fillna(NO_PROCEDURE)
    ventilated = admissions.isin(table.loc[table["ICD9_CODE"].isin(codes.VENTILATION_CODES), "HADM_ID"])
    return pd.DataFrame(
        {"treatment": treatment.astype(object), "ventilation": ventilated.astype("int64")}, index=admissions
    ), notes


def measurement_columns(measured: pd.DataFrame, train: npt.NDArray[np.bool_]) -> list[Column]:
    """The schema of the measurements, missing ones imputed; variables that no training row has are left out."""
    known = measured.columns[measured[train].notna().any().to_numpy()]
    return [Numeric(str(name), num_bins=4, impute=True) for name in known]


def flag_columns(flags: pd.DataFrame) -> list[Column]:
    """The schema of columns that hold 0 or 1."""
    return [Categorical(str(name), ("0", "1")) for name in flags]
