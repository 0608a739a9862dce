"""The planted causal structure of the generated MIMIC, and what is known of it.

In this order (-> means "is drawn given"):

    sex, severity, age, ethnicity (independent; severity is never recorded)
    ethnicity, age -> insurance, language
    severity -> admission type and location
    severity, age -> the diseases with a `severity` weight
    sex, age -> the diseases with a `woman` weight, and marital status: proxies of sex
    sex, diseases -> first care unit: another proxy
    sex, diseases -> haemoglobin, creatinine (proxies), other vital signs and laboratory values
    diseases, age, admission type, insurance, marital status, and sex (`stay_effect`) -> stay of more than 7 days
    diseases, age -> death in hospital
    diseases, sex -> first procedure; diseases -> ventilation

So sex acts on the stay directly, and through diseases and marital status; the record holds all causes of the stay, and the
probability of a long stay given the record is exact. Severity acts on nothing but what is recorded, and no disease depends
both on severity and on sex, so the probability that a record is a woman's is exact as well.

Letters: N patients, P procedure classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.str_]

SHARE_OF_WOMEN = 0.44
STAY_EFFECT = 0.6  # logits that being a woman adds to a stay of more than 7 days, other things equal
STAY_INTERCEPT = -1.3
STAY_WEIGHTS = {"age": 0.15, "ELECTIVE": -0.5, "Medicaid": 0.25, "WIDOWED": 0.3}
DEATH_INTERCEPT, DEATH_AGE = -3.9, 0.4
MIDDLE_STAYS = 0.55  # of the stays of 7 days and less, the share above 3 days


@dataclass(frozen=True, slots=True)
class Disease:
    """A diagnosis: its ICD-9 code and logits; `age` counts per 15 years above 65, `severity` per standard deviation."""

    code: str
    base: float
    severity: float = 0.0
    age: float = 0.0
    woman: float = 0.0
    stay: float = 0.0
    death: float = 0.0


DISEASES = (
    Disease("51881", -1.6, severity=1.2, stay=1.1, death=1.2),  # respiratory failure
    Disease("0389", -2.0, severity=1.1, stay=0.9, death=0.9),  # sepsis
    Disease("78552", -3.0, severity=1.4, stay=0.6, death=1.0),  # septic shock
    Disease("431", -3.0, severity=0.4, stay=0.7, death=1.3),  # brain haemorrhage
    Disease("5849", -1.6, severity=0.8, age=0.2, stay=0.7, death=0.5),  # kidney failure
    Disease("486", -1.8, severity=0.6, stay=0.6, death=0.3),  # pneumonia
    Disease("4280", -1.2, severity=0.5, age=0.6, stay=0.4, death=0.2),  # heart failure
    Disease("42731", -1.2, severity=0.2, age=0.8, stay=0.3),  # atrial fibrillation
    Disease("2762", -1.9, severity=0.8, death=0.3),  # acidosis
    Disease("2859", -1.6, severity=0.3, stay=0.2),  # anaemia
    Disease("4019", -0.3, severity=-0.2, age=0.2, stay=-0.2),  # hypertension
    Disease("25000", -1.1),  # diabetes
    Disease("2724", -1.2),  # high cholesterol
    Disease("496", -1.8, age=0.1, stay=0.2),  # chronic lung disease
    Disease("41401", -0.5, age=0.2, woman=-0.9),  # coronary disease
    Disease("5990", -2.5, age=0.3, woman=1.2, stay=0.5),  # urinary infection
    Disease("82021", -3.6, age=0.9, woman=0.9, stay=0.6),  # hip fracture
    Disease("E8889", -2.4, age=0.4, woman=0.4),  # fall
    Disease("2449", -2.8, age=0.2, woman=1.4),  # underactive thyroid
    Disease("73300", -4.2, age=0.6, woman=2.2),  # osteoporosis
    Disease("311", -2.4, woman=0.7),  # depression
    Disease("30390", -1.9, age=-0.7, woman=-1.2, stay=0.2),  # alcohol
    Disease("2749", -2.4, woman=-1.0),  # gout
    Disease("60000", -2.3, age=0.6, woman=-9.0),  # enlarged prostate
    Disease("V103", -6.0, age=0.2, woman=3.8),  # past breast cancer
)
MARITAL_STATUSES = ("DIVORCED", "MARRIED", "SINGLE", "WIDOWED")
CARE_UNITS = ("CCU", "CSRU", "MICU", "SICU", "TSICU")
ETHNICITIES = {
    "WHITE": 0.70, "BLACK/AFRICAN AMERICAN": 0.10, "HISPANIC OR LATINO": 0.05, "ASIAN": 0.03, "OTHER": 0.03,
    "UNKNOWN/NOT SPECIFIED": 0.09,
}  # fmt: skip

# First procedure: chapter -> the code that is written.
PROCEDURES = {
    "cardiovascular": "3615", "diagnostic_therapeutic": "8872", "digestive": "4513", "musculoskeletal": "7935", "nervous": "0139",
    "none": "", "respiratory": "3324", "urinary": "5732",
}  # fmt: skip
PROCEDURE_CLASSES = tuple(PROCEDURES)
VENTILATION_CODE = "9671"
# The first of these diseases that a patient has (else "") -> chances of the classes, for men and for women.
PROCEDURE_CHANCES: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "41401": (
        {"cardiovascular": 0.75, "diagnostic_therapeutic": 0.15, "none": 0.10},
        {"cardiovascular": 0.30, "diagnostic_therapeutic": 0.55, "none": 0.15},
    ),
    "431": ({"nervous": 0.65, "none": 0.35}, {"nervous": 0.30, "none": 0.70}),
    "82021": ({"musculoskeletal": 0.70, "none": 0.30}, {"musculoskeletal": 0.80, "none": 0.20}),
    "51881": (
        {"respiratory": 0.60, "digestive": 0.15, "none": 0.25},
        {"respiratory": 0.25, "digestive": 0.15, "none": 0.60},
    ),
    "": (
        {"digestive": 0.45, "urinary": 0.20, "none": 0.35},
        {"digestive": 0.20, "urinary": 0.10, "none": 0.70},
    ),
}


@dataclass(frozen=True, slots=True)
class Patients:
    """N drawn patients as their records show them, and the chances that their records give.

    Attributes:
        woman: [N].
        age: [N] years, not capped.
        ethnicity, insurance, language, admission_type, admission_location, marital_status, care_unit: [N]; an empty
            string is not recorded.
        diseases: [N, D] which of `DISEASES`.
        long_stay, middle_stay, died, ventilated: [N]; a middle stay is one of 3 to 7 days.
        procedure: [N] number of the class of the first procedure, ventilation not counted.
        stay_logit: [N] of a stay of more than 7 days.
        woman_log_odds: [N] that the record, without its sex, is a woman's.
        death: [N] chance of death in hospital.
        treatment_chances: [N, 2, P] of the class of the first-listed procedure, which is ventilation for who has no other
            one, for a man and for a woman with this record.
    """

    woman: Booleans
    age: Integers
    ethnicity: Strings
    insurance: Strings
    language: Strings
    admission_type: Strings
    admission_location: Strings
    marital_status: Strings
    care_unit: Strings
    diseases: Booleans
    long_stay: Booleans
    middle_stay: Booleans
    died: Booleans
    ventilated: Booleans
    procedure: Integers
    stay_logit: Floats
    woman_log_odds: Floats
    death: Floats
    treatment_chances: Floats


def draw_patients(num_patients: int, seed: int, stay_effect: float = STAY_EFFECT) -> Patients:
    """`num_patients` adults from the structure, with no randomness but that of the seed."""
    rng = np.random.default_rng((seed, 0))
    woman, severity = rng.random(num_patients) < SHARE_OF_WOMEN, rng.normal(size=num_patients)
    age = np.clip(np.round(rng.normal(66, 16, num_patients)), 18, 102).astype(np.int64)
    old = (np.minimum(age, 90) - 65) / 15  # what the record shows: ages above 89 read 90
    ethnicity, insurance, language = _background(age, rng)
    admission_type, location = _admission(severity, rng)
    diseases, evidence = _diseases(woman, severity, old, rng)
    marital, seen = _proxy(MARITAL_STATUSES, lambda w: _marital_logits(w, old), woman, 0.05, rng)
    evidence += seen
    unit, seen = _proxy(CARE_UNITS, lambda w: _unit_logits(w, diseases), woman, 0.02, rng)
    evidence += seen
    stay = STAY_INTERCEPT + STAY_WEIGHTS["age"] * old + diseases @ np.array([d.stay for d in DISEASES]) + stay_effect * woman
    for name, recorded in (("ELECTIVE", admission_type), ("Medicaid", insurance), ("WIDOWED", marital)):
        stay = stay + STAY_WEIGHTS[name] * (recorded == name)
    death = sigmoid(DEATH_INTERCEPT + DEATH_AGE * old + diseases @ np.array([d.death for d in DISEASES]))
    ventilation = sigmoid(-3.0 + 3.0 * _has(diseases, "51881") + 0.5 * _has(diseases, "0389"))
    procedures = _procedure_chances(diseases)
    procedure = _drawn(procedures[np.arange(num_patients), woman.astype(int)], rng)
    return Patients(
        woman, age, ethnicity, insurance, language, admission_type, location, marital, unit, diseases,
        long_stay=rng.random(num_patients) < sigmoid(stay), middle_stay=rng.random(num_patients) < MIDDLE_STAYS,
        died=rng.random(num_patients) < death, ventilated=rng.random(num_patients) < ventilation, procedure=procedure,
        stay_logit=stay, woman_log_odds=evidence + np.log(SHARE_OF_WOMEN / (1 - SHARE_OF_WOMEN)), death=death,
        treatment_chances=_with_ventilation(procedures, ventilation),
    )  # fmt: skip


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-x)), dtype=np.float64)


def _has(diseases: Booleans, code: str) -> Booleans:
    return np.asarray(diseases[:, [d.code for d in DISEASES].index(code)])


def _background(age: Integers, rng: np.random.Generator) -> tuple[Strings, Strings, Strings]:
    """Ethnicity, insurance (younger people of ethnic minorities have Medicaid more often) and language."""
    number = len(age)
    ethnicity = rng.choice(list(ETHNICITIES), number, p=list(ETHNICITIES.values()))
    minority = np.isin(ethnicity, ["BLACK/AFRICAN AMERICAN", "HISPANIC OR LATINO"])
    place, medicaid = rng.random(number), np.where(minority, 0.45, 0.12)
    rest = np.where(place < medicaid + 0.05, "Government", np.where(place < medicaid + 0.07, "Self Pay", "Private"))
    insurance = np.where((age >= 65) & (rng.random(number) < 0.9), "Medicare", np.where(place < medicaid, "Medicaid", rest))
    foreign = rng.random(number) < np.where(ethnicity == "HISPANIC OR LATINO", 0.5, 0.06)
    spoken = np.where(foreign, np.where(ethnicity == "HISPANIC OR LATINO", "SPAN", "RUSS"), "ENGL")
    return ethnicity, insurance, np.where(rng.random(number) < 0.4, "", spoken)


def _admission(severity: Floats, rng: np.random.Generator) -> tuple[Strings, Strings]:
    number = len(severity)
    emergency, urgent = rng.random(number) < sigmoid(1.3 + 0.6 * severity), rng.random(number) < 0.2
    kind = np.where(emergency, "EMERGENCY", np.where(urgent, "URGENT", "ELECTIVE"))
    arrived = rng.choice(
        ["EMERGENCY ROOM ADMIT", "CLINIC REFERRAL/PREMATURE", "TRANSFER FROM HOSP/EXTRAM"], number, p=[0.6, 0.25, 0.15]
    )
    planned = np.where(kind == "ELECTIVE", "PHYS REFERRAL/NORMAL DELI", "TRANSFER FROM HOSP/EXTRAM")
    return kind, np.where(emergency, arrived, planned)


def _diseases(woman: Booleans, severity: Floats, old: Floats, rng: np.random.Generator) -> tuple[Booleans, Floats]:
    """Who has which disease, and the log odds that each patient's diseases give for a woman."""
    base, slope, age, sex = (np.array([getattr(d, name) for d in DISEASES]) for name in ("base", "severity", "age", "woman"))
    common = base + np.outer(severity, slope) + np.outer(old, age)
    has = rng.random(common.shape) < sigmoid(common + np.outer(woman, sex))
    chances = [np.where(has, chance, 1 - chance) for chance in (sigmoid(common + sex), sigmoid(common))]
    # Diseases that do not depend on sex give 0, whatever the severity, which nobody can see.
    return has, np.log(chances[0] / chances[1]).sum(axis=1)


def _marital_logits(woman: float, old: Floats) -> Floats:
    logits = [-0.9 + 0 * old, 0.9 - 0.9 * woman + 0 * old, -0.3 - 0.9 * old, -1.7 + 1.2 * old + 1.4 * woman]
    return np.stack(logits, axis=1)


def _unit_logits(woman: float, diseases: Booleans) -> Floats:
    heart, failing, fallen = _has(diseases, "41401"), _has(diseases, "4280"), _has(diseases, "E8889")
    logits = [
        -0.8 + heart + failing,
        -1.6 + 2.2 * heart - 0.7 * woman,
        0.5 + 0 * heart,
        -0.5 + 0 * heart,
        -1.4 + fallen - 0.6 * woman,
    ]
    return np.stack(logits, axis=1)


def _proxy(
    names: tuple[str, ...], logits: Callable[[float], Floats], woman: Booleans, missing: float, rng: np.random.Generator
) -> tuple[Strings, Floats]:
    """A category drawn given the sex, not recorded with a chance, and the log odds that it gives for a woman."""
    man_logits, woman_logits = logits(0.0), logits(1.0)
    men, women = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (man_logits, woman_logits))
    drawn = _drawn(np.where(woman[:, None], women, men), rng)
    unseen, rows = rng.random(len(woman)) < missing, np.arange(len(woman))
    odds = np.log(women[rows, drawn] / men[rows, drawn])
    return np.where(unseen, "", np.array(names)[drawn]), np.where(unseen, 0.0, odds)


def _drawn(chances: Floats, rng: np.random.Generator) -> Integers:
    """[N], a class for each row of [N, C] chances."""
    below = (chances.cumsum(axis=1) < rng.random((len(chances), 1))).sum(axis=1)
    return np.asarray(below.clip(max=chances.shape[1] - 1), dtype=np.int64)


def _procedure_chances(diseases: Booleans) -> Floats:
    """[N, 2, P] by the first of the deciding diseases that a patient has."""
    table = {
        code: np.array([[one.get(name, 0.0) for name in PROCEDURE_CLASSES] for one in both])
        for code, both in PROCEDURE_CHANCES.items()
    }
    chances = np.broadcast_to(table[""], (len(diseases), 2, len(PROCEDURE_CLASSES))).copy()
    for code in reversed([code for code in table if code]):
        chances[_has(diseases, code)] = table[code]
    return chances


def _with_ventilation(chances: Floats, ventilation: Floats) -> Floats:
    """The chances of the first-listed procedure from those of the first other one."""
    changed = chances.copy()
    none, ventilated = PROCEDURE_CLASSES.index("none"), PROCEDURE_CLASSES.index("diagnostic_therapeutic")
    moved = chances[:, :, none] * ventilation[:, None]
    changed[:, :, none] -= moved
    changed[:, :, ventilated] += moved
    return changed
