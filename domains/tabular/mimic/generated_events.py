"""The events of the generated MIMIC: charted vital signs and laboratory values, with both systems' items and mixed units."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from domains.tabular.mimic.structure import DISEASES, Booleans, Floats, Patients

OTHER_SCALE = 0.03  # of the Celsius readings that are Fahrenheit, and of the readings written in another unit
UNKNOWN_UNIT, IMPOSSIBLE, ERRORS = 0.003, 0.003, 0.01
AFTER_THE_WINDOW = 0.2


@dataclass(frozen=True, slots=True)
class Signal:
    """A variable: ITEMID in each system (equal ones for the laboratory), mean, deviations, and what shifts it.

    Attributes:
        items: of CareVue and of MetaVision.
        unit: as it is written.
        mean, between, within: of men without the diseases; standard deviations between patients and between readings.
        woman: added for women.
        diseases: code -> what it adds.
        readings: within the window.
        absent: share of patients without any.
        other: another unit, and what a value is multiplied with to be written in it.
    """

    items: tuple[int, int]
    unit: str
    mean: float
    between: float
    within: float
    woman: float = 0.0
    diseases: dict[str, float] = field(default_factory=dict)
    readings: int = 3
    absent: float = 0.02
    other: tuple[str, float] | None = None


CHART = (
    Signal((211, 220045), "bpm", 84, 10, 6, diseases={"0389": 14, "42731": 6}),
    Signal((455, 220179), "mmHg", 122, 12, 8, diseases={"78552": -22, "4019": 12}),
    Signal((456, 220181), "mmHg", 80, 8, 6, diseases={"78552": -14, "4019": 6}),
    Signal((618, 220210), "insp/min", 18, 2.5, 2, diseases={"486": 3, "51881": 4}),
    Signal((678, 223762), "Deg. C", 36.9, 0.4, 0.3, diseases={"0389": 0.8, "486": 0.5}),
    Signal((646, 220277), "%", 97, 1.0, 0.8, diseases={"51881": -3, "496": -1.5}),
    Signal((807, 225664), "mg/dL", 125, 14, 10, diseases={"25000": 55}, absent=0.15, other=("mmol/L", 1 / 18.016)),
)
LABS = (
    Signal((50912, 50912), "mg/dL", 1.0, 0.15, 0.08, -0.18, {"5849": 1.3}, 2, 0.05, ("umol/L", 88.42)),
    Signal((51006, 51006), "mg/dL", 18, 4, 2, 0, {"5849": 22, "4280": 7}, 2, 0.05),
    Signal((50983, 50983), "mEq/L", 139, 2.5, 1, 0, {}, 2, 0.05),
    Signal((50971, 50971), "mEq/L", 4.1, 0.3, 0.2, 0, {"5849": 0.4}, 2, 0.05, ("mmol/L", 1.0)),
    Signal((50882, 50882), "mEq/L", 25, 2, 1, 0, {"2762": -7}, 2, 0.05),
    Signal((51222, 51222), "g/dL", 13.4, 1.2, 0.4, -1.5, {"2859": -3}, 2, 0.04, ("g/L", 10.0)),
    Signal((51265, 51265), "K/uL", 230, 50, 12, 20, {"0389": -50}, 2, 0.05),
    Signal((51301, 51301), "K/uL", 9, 2, 1, 0, {"0389": 5, "486": 3}, 2, 0.05),
    Signal((50813, 50813), "mmol/L", 1.6, 0.3, 0.2, 0, {"78552": 3, "0389": 1}, 2, 0.55),
)  # fmt: skip


def charted(patients: Patients, stays: pd.DataFrame, seen: Booleans, rng: np.random.Generator) -> pd.DataFrame:
    """CHARTEVENTS of the stays that were seen, with its fourteen columns behind ROW_ID."""
    rows = pd.concat([_readings(signal, patients, stays, seen, rng) for signal in CHART], ignore_index=True)
    fahrenheit = (rows["ITEMID"] == 678) | ((rows["ITEMID"] == 223762) & (rng.random(len(rows)) < OTHER_SCALE))
    rows["VALUENUM"] = rows["VALUENUM"].mask(fahrenheit, rows["VALUENUM"] * 1.8 + 32).round(2)
    rows["VALUEUOM"] = rows["VALUEUOM"].mask(rows["ITEMID"] == 678, "Deg. F")
    error = (rows["ITEMID"] > 220_000) & (rng.random(len(rows)) < ERRORS)
    rows["VALUENUM"] = rows["VALUENUM"].mask(error, 1.5 * rows["VALUENUM"])
    flag = error.astype(int).where(rows["ITEMID"] > 220_000).astype("Int64")
    after = rows.assign(
        STORETIME=rows["CHARTTIME"], CGID=20_000, VALUE=rows["VALUENUM"].astype(str), WARNING=flag * 0, ERROR=flag,
        RESULTSTATUS="", STOPPED="",
    )  # fmt: skip
    order = ["SUBJECT_ID", "HADM_ID", "ICUSTAY_ID", "ITEMID", "CHARTTIME", "STORETIME", "CGID", "VALUE", "VALUENUM", "VALUEUOM"]
    return _mixed(after[[*order, "WARNING", "ERROR", "RESULTSTATUS", "STOPPED"]], rng)


def laboratory(patients: Patients, stays: pd.DataFrame, seen: Booleans, rng: np.random.Generator) -> pd.DataFrame:
    """LABEVENTS of the stays that were seen, with its eight columns behind ROW_ID; some readings have no admission."""
    rows = pd.concat([_readings(signal, patients, stays, seen, rng) for signal in LABS], ignore_index=True)
    admission = rows["HADM_ID"].astype("Int64").where(rng.random(len(rows)) < 0.95)
    full = rows.assign(HADM_ID=admission, VALUE=rows["VALUENUM"].astype(str), FLAG="")
    return _mixed(full[["SUBJECT_ID", "HADM_ID", "ITEMID", "CHARTTIME", "VALUE", "VALUENUM", "VALUEUOM", "FLAG"]], rng)


def _readings(signal: Signal, patients: Patients, stays: pd.DataFrame, seen: Booleans, rng: np.random.Generator) -> pd.DataFrame:
    """Readings of one variable, in the window and some after it, in its own unit or another one."""
    rows = np.repeat(np.flatnonzero(seen & (rng.random(len(seen)) >= signal.absent)), signal.readings)
    level = _level(signal, patients) + rng.normal(0, signal.between, len(seen))
    value = level[rows] + rng.normal(0, signal.within, len(rows))
    if signal.unit == "%":
        value = np.minimum(value, 100)
    late = rng.random(len(rows)) < AFTER_THE_WINDOW
    seconds = np.where(late, rng.uniform(25, 60, len(rows)), rng.uniform(0.1, 23.9, len(rows))) * 3600
    unit = np.full(len(rows), signal.unit, dtype=object)
    if signal.other:
        changed = rng.random(len(rows)) < OTHER_SCALE
        value, unit[changed] = np.where(changed, value * signal.other[1], value), signal.other[0]
    unit[rng.random(len(rows)) < UNKNOWN_UNIT] = "units"
    value = np.where(rng.random(len(rows)) < IMPOSSIBLE, 999_999, np.maximum(value, 0.1))
    mine = stays.iloc[rows]
    return pd.DataFrame(
        {
            "SUBJECT_ID": mine["SUBJECT_ID"].to_numpy(), "HADM_ID": mine["HADM_ID"].to_numpy(), "ICUSTAY_ID": mine["ICUSTAY_ID"].to_numpy(),
            "ITEMID": np.where(mine["metavision"], signal.items[1], signal.items[0]), "VALUENUM": value.round(3), "VALUEUOM": unit,
            "CHARTTIME": mine["INTIME"].to_numpy() + seconds.astype("int64").astype("timedelta64[s]"),
        }
    )  # fmt: skip


def _level(signal: Signal, patients: Patients) -> Floats:
    weights = np.array([signal.diseases.get(d.code, 0.0) for d in DISEASES])
    return np.asarray(signal.mean + signal.woman * patients.woman + patients.diseases @ weights, dtype=np.float64)


def _mixed(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return rows.iloc[rng.permutation(len(rows))].reset_index(drop=True)
