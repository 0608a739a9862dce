"""Codes of MIMIC-III in groups: ICD-9 diagnoses and procedures by chapter, ethnicity, language, and the published categories."""

from __future__ import annotations

import pandas as pd

# ICD-9-CM volume 1: first three-digit code of each chapter. V and E codes are chapters of their own.
DIAGNOSIS_CHAPTERS = {
    1: "infectious", 140: "neoplasms", 240: "endocrine", 280: "blood", 290: "mental", 320: "nervous", 390: "circulatory",
    460: "respiratory", 520: "digestive", 580: "genitourinary", 630: "pregnancy", 680: "skin", 710: "musculoskeletal",
    740: "congenital", 760: "perinatal", 780: "symptoms", 800: "injury",
}  # fmt: skip
SUPPLEMENTARY, EXTERNAL = "supplementary", "external"
ALL_DIAGNOSIS_CHAPTERS = (*DIAGNOSIS_CHAPTERS.values(), SUPPLEMENTARY, EXTERNAL)
# V codes have two digits after the V, E codes three; then up to two (E: one) digits behind the dot that MIMIC leaves out.
DIAGNOSIS_PATTERN = r"(\d{3})\d{0,2}|(V\d{2})\d{0,2}|(E\d{3})\d?"

# ICD-9-CM volume 3: first two digits of the first code of each chapter.
PROCEDURE_CHAPTERS = {
    0: "unclassified", 1: "nervous", 6: "endocrine", 8: "eye", 17: "miscellaneous", 18: "ear", 21: "nose_mouth", 30: "respiratory",
    35: "cardiovascular", 40: "blood", 42: "digestive", 55: "urinary", 60: "male_genital", 65: "female_genital",
    72: "obstetrical", 76: "musculoskeletal", 85: "skin_breast", 87: "diagnostic_therapeutic",
}  # fmt: skip
PROCEDURE_PATTERN = r"(\d{2})\d{1,2}"
VENTILATION_CODES = ("9670", "9671", "9672")  # continuous invasive ventilation: unspecified, under 96 h, 96 h and more

# How ETHNICITY begins is its group; what says that it is not known is missing, everything else is OTHER.
ETHNICITY_PREFIXES = ("WHITE", "BLACK", "HISPANIC", "ASIAN")
ETHNICITY_UNKNOWN = ("UNKNOWN", "UNABLE", "PATIENT DECLINED")
OTHER = "OTHER"
ETHNICITIES = ("ASIAN", "BLACK", "HISPANIC", OTHER, "WHITE")
PUBLIC_INSURANCES = ("Government", "Medicaid", "Medicare")

# The values of v1.4, beside OTHER for what is not among them.
PUBLISHED = {
    "ADMISSION_TYPE": ("ELECTIVE", "EMERGENCY", "NEWBORN", "URGENT"),
    "ADMISSION_LOCATION": (
        "CLINIC REFERRAL/PREMATURE", "EMERGENCY ROOM ADMIT", "HMO REFERRAL/SICK", "PHYS REFERRAL/NORMAL DELI",
        "TRANSFER FROM HOSP/EXTRAM", "TRANSFER FROM OTHER HEALT", "TRANSFER FROM SKILLED NUR", "TRSF WITHIN THIS FACILITY",
    ),
    "INSURANCE": ("Government", "Medicaid", "Medicare", "Private", "Self Pay"),
    "MARITAL_STATUS": ("DIVORCED", "LIFE PARTNER", "MARRIED", "SEPARATED", "SINGLE", "WIDOWED"),
    "FIRST_CAREUNIT": ("CCU", "CSRU", "MICU", "NICU", "NWARD", "SICU", "TSICU"),
}  # fmt: skip
NOT_AVAILABLE = ("** INFO NOT AVAILABLE **", "UNKNOWN (DEFAULT)", "UNOBTAINABLE", "NOT SPECIFIED")


def diagnosis_categories(codes: pd.Series) -> pd.Series:
    """The category of each ICD-9 diagnosis code: `038`, `V45`, `E888`; missing for what is not such a code."""
    parts = codes.astype(object).str.extract(f"^(?:{DIAGNOSIS_PATTERN})$")
    return parts[0].fillna(parts[1]).fillna(parts[2])


def diagnosis_chapters(categories: pd.Series) -> pd.Series:
    """The chapter of each category, a name of `ALL_DIAGNOSIS_CHAPTERS`; missing where the category is (or is 000)."""
    number = pd.to_numeric(categories, errors="coerce")
    chapters = _chapter(number, DIAGNOSIS_CHAPTERS)
    chapters = chapters.mask(categories.str.startswith("V").fillna(False).astype(bool), SUPPLEMENTARY)
    return chapters.mask(categories.str.startswith("E").fillna(False).astype(bool), EXTERNAL)


def procedure_chapters(codes: pd.Series) -> pd.Series:
    """The chapter of each ICD-9 procedure code, a value of `PROCEDURE_CHAPTERS`; missing for what is not such a code."""
    first = codes.astype(object).str.extract(f"^{PROCEDURE_PATTERN}$")[0]
    return _chapter(pd.to_numeric(first, errors="coerce"), PROCEDURE_CHAPTERS)


def _chapter(number: pd.Series, chapters: dict[int, str]) -> pd.Series:
    """The chapter that begins last at or before each number."""
    edges = [*chapters, 1000]
    cut = pd.cut(number, edges, right=False, labels=list(chapters.values()))
    return cut.astype(object).where(cut.notna(), None)


def ethnicity_groups(ethnicity: pd.Series) -> pd.Series:
    """One of `ETHNICITIES` for each of the 41 published values; missing where it was not known or not told."""
    text = ethnicity.astype(object).fillna("UNKNOWN").str.upper()
    groups = pd.Series(OTHER, index=ethnicity.index, dtype=object)
    for prefix in ETHNICITY_PREFIXES:
        groups = groups.mask(text.str.startswith(prefix), prefix)
    return groups.mask(text.str.startswith(ETHNICITY_UNKNOWN), None)


def languages(language: pd.Series) -> pd.Series:
    """`ENGLISH` or OTHER; missing where none is recorded (in half of the admissions, mostly the older ones)."""
    english = language.astype(object).str.upper().str.startswith("ENGL")
    return english.map({True: "ENGLISH", False: OTHER}).astype(object).where(language.notna(), None)


def published(values: pd.Series, column: str) -> tuple[pd.Series, int]:
    """The values, OTHER in place of what v1.4 does not hold, missing where they say so themselves; and how many are OTHER."""
    values = values.astype(object).mask(values.isin(NOT_AVAILABLE), None)
    foreign = values.notna() & ~values.isin(PUBLISHED[column])
    return values.mask(foreign, OTHER), int(foreign.sum())
