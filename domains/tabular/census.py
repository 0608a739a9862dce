"""A generated census with Adult's columns, for machines where the real file cannot be had.

The planted structure, in this order (-> means "is drawn given"):

    sex, race, age (independent)
    age -> education_num
    sex, age -> relationship (and with it marital_status): the strongest proxy of sex
    sex, education -> occupation: the second proxy
    sex, relationship -> hours_per_week: the third
    education, age, hours -> capital_gain, capital_loss
    education, age, hours, gains, marriage, and sex -> income

Sex acts on income directly (`direct_effect` logits) and through relationship, occupation and hours. Race acts on
nothing but native_country. About 24 % of the rows have the high income and two thirds are men, as in the real data.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from domains.tabular.sources import INCOMES, MISSING

EDUCATIONS = {
    1: "Preschool", 2: "1st-4th", 3: "5th-6th", 4: "7th-8th", 5: "9th", 6: "10th", 7: "11th", 8: "12th", 9: "HS-grad",
    10: "Some-college", 11: "Assoc-voc", 12: "Assoc-acdm", 13: "Bachelors", 14: "Masters", 15: "Prof-school", 16: "Doctorate",
}  # fmt: skip
WORKCLASSES = {
    "Private": 0.70, "Self-emp-not-inc": 0.08, "Local-gov": 0.07, "State-gov": 0.05, "Federal-gov": 0.04, MISSING: 0.06,
}  # fmt: skip
RACES = {"White": 0.85, "Black": 0.10, "Asian-Pac-Islander": 0.03, "Amer-Indian-Eskimo": 0.01, "Other": 0.01}
# Share of women in each occupation; the wider the spread, the stronger the proxy.
OCCUPATIONS = {
    "Craft-repair": 0.06, "Transport-moving": 0.06, "Exec-managerial": 0.29, "Prof-specialty": 0.37, "Sales": 0.36,
    "Other-service": 0.55, "Adm-clerical": 0.67, "Priv-house-serv": 0.90,
}  # fmt: skip
SKILLED = ("Exec-managerial", "Prof-specialty")

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


def generate_census(num_rows: int, seed: int, direct_effect: float = 0.4) -> pd.DataFrame:
    """`num_rows` rows with Adult's 15 columns and categories, drawn from the structure above.

    Args:
        num_rows: how many, at least 1.
        seed: of the only generator used.
        direct_effect: logits that being a man adds to the high income, other things equal.
    """
    rng = np.random.default_rng(seed)
    man = rng.random(num_rows) < 0.67
    age = np.clip(17 + rng.gamma(2.6, 8.5, num_rows), 17, 90).astype(np.int64)
    education = np.clip(np.round(rng.normal(10.1 + 0.5 * (age > 25), 2.5)), 1, 16).astype(np.int64)
    relationship, marital, married = _household(man, age, rng)
    occupation = _occupation(man, education, rng)
    hours = np.clip(np.round(rng.normal(37 + 5 * man + 2 * (married & man) - 2 * (married & ~man), 10)), 1, 99).astype(np.int64)
    skill = 0.3 * (education - 10) + 0.02 * (np.minimum(age, 55) - 38) + 0.03 * (hours - 40)
    gain = np.where(rng.random(num_rows) < _sigmoid(skill - 2.6), np.exp(rng.normal(8.3, 0.9, num_rows)), 0).astype(np.int64)
    lost = (gain == 0) & (rng.random(num_rows) < _sigmoid(skill - 3.2))
    loss = np.where(lost, rng.normal(1870, 250, num_rows), 0).astype(np.int64)
    logit = -3.3 + skill + 1.9 * married + 0.5 * np.isin(occupation, SKILLED) + 2.5 * (gain > 5000) + direct_effect * man
    race = rng.choice(list(RACES), num_rows, p=list(RACES.values()))
    foreign = rng.random(num_rows) < np.where(race == "Asian-Pac-Islander", 0.6, 0.07)
    columns: dict[str, Array] = {
        "age": age,
        "workclass": rng.choice(list(WORKCLASSES), num_rows, p=list(WORKCLASSES.values())),
        "fnlwgt": rng.integers(20_000, 400_000, num_rows),
        "education": np.array([EDUCATIONS[level] for level in education.tolist()]),
        "education_num": education,
        "marital_status": marital,
        "occupation": occupation,
        "relationship": relationship,
        "race": race,
        "sex": np.where(man, "Male", "Female"),
        "capital_gain": gain,
        "capital_loss": loss,
        "hours_per_week": hours,
        "native_country": np.where(foreign, rng.choice(["Mexico", "Philippines", MISSING], num_rows), "United-States"),
        "income": np.where(rng.random(num_rows) < _sigmoid(logit), INCOMES[1], INCOMES[0]),
    }
    # Adult has no occupation exactly where it has no workclass.
    columns["occupation"] = np.where(columns["workclass"] == MISSING, MISSING, occupation)
    return pd.DataFrame({name: values.astype(object) if values.dtype.kind == "U" else values for name, values in columns.items()})


def _household(man: Booleans, age: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Array, Array, Booleans]:
    """Relationship, marital status and whether married. In Adult's sample married women are few: 15 % against 61 %."""
    num_rows = len(man)
    married = rng.random(num_rows) < np.where(man, 0.75, 0.18) * _sigmoid((age - 26) / 4)
    single = rng.random(num_rows) < _sigmoid((36 - age) / 6)
    formerly = rng.choice(["Divorced", "Widowed"], num_rows, p=[0.8, 0.2])
    marital = np.where(married, "Married-civ-spouse", np.where(single, "Never-married", formerly))
    at_home = single & (rng.random(num_rows) < _sigmoid((26 - age) / 3))
    alone = np.where(rng.random(num_rows) < np.where(man, 0.12, 0.40), "Unmarried", "Not-in-family")
    relationship = np.where(married, np.where(man, "Husband", "Wife"), np.where(at_home, "Own-child", alone))
    return relationship, marital, married


def _occupation(man: Booleans, education: npt.NDArray[np.int64], rng: np.random.Generator) -> Array:
    """One draw per row by Gumbel's trick: log share of the sex, plus a preference of the educated for skilled work."""
    women = np.array(list(OCCUPATIONS.values()))
    names = np.array(list(OCCUPATIONS))
    share = np.log(np.where(man[:, None], 1 - women, women))
    preference = 0.35 * (education[:, None] - 10) * np.isin(names, SKILLED)
    return cast(Array, names[np.argmax(share + preference + rng.gumbel(size=(len(man), len(names))), axis=1)])


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)), dtype=np.float64)
