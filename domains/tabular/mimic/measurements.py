"""Vital signs and laboratory values of the first 24 hours in intensive care, streamed from CHARTEVENTS and LABEVENTS.

The window belongs to the first stay in intensive care of a patient's first admission: from its beginning (laboratory: from
six hours before, when the blood is often taken) to 24 hours after. Of each variable the number of readings, their minimum,
sum and maximum are kept; these can be joined over chunks, so the memory needed is that of one chunk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from contextssl.files import write_atomically
from domains.tabular.mimic.tables import TableFile, locate, stream

CHUNK_ROWS = 500_000
HOURS = 24
HOURS_BEFORE = {"CHARTEVENTS": 0, "LABEVENTS": 6}
SUMMARIES = ("count", "min", "sum", "max")
NOTES = ("readings used", "readings in an unknown unit, left out", "readings outside the plausible range, left out")


@dataclass(frozen=True, slots=True)
class Variable:
    """A measured quantity in one unit.

    Attributes:
        name: of the column.
        unit: that all readings are brought to.
        low, high: smallest and largest plausible value, in this unit; readings outside are left out.
        chart: ITEMIDs in CHARTEVENTS, of CareVue (below 220000) and MetaVision.
        labs: ITEMIDs in LABEVENTS.
        factors: other unit (lower case, letters, digits, % and / only) -> what its readings are multiplied with.
    """

    name: str
    unit: str
    low: float
    high: float
    chart: tuple[int, ...] = ()
    labs: tuple[int, ...] = ()
    factors: tuple[tuple[str, float], ...] = ()


# Items and ranges as in the first-day concepts of the mimic-code project (Johnson et al. 2018, doi 10.1093/jamia/ocx084).
VARIABLES = (
    Variable("heart_rate", "bpm", 1, 300, chart=(211, 220045)),
    Variable("systolic_pressure", "mmHg", 1, 400, chart=(51, 442, 455, 6701, 220179, 220050)),
    Variable("mean_pressure", "mmHg", 1, 300, chart=(456, 52, 6702, 443, 220052, 220181, 225312)),
    Variable("respiratory_rate", "insp/min", 1, 70, chart=(615, 618, 220210, 224690), factors=(("bpm", 1), ("breaths", 1))),
    Variable("temperature", "degC", 10, 50, chart=(678, 223761, 676, 223762)),
    Variable("oxygen_saturation", "%", 1, 100, chart=(646, 220277)),
    Variable(
        "glucose", "mg/dL", 10, 2000, chart=(807, 811, 1529, 3744, 3745, 225664, 220621, 226537), labs=(50809, 50931),
        factors=(("mmol/l", 18.016),),
    ),
    Variable("creatinine", "mg/dL", 0.05, 150, labs=(50912,), factors=(("umol/l", 1 / 88.42),)),
    Variable("urea_nitrogen", "mg/dL", 0.5, 300, labs=(51006,), factors=(("mmol/l", 2.801),)),
    Variable("sodium", "mEq/L", 70, 200, labs=(50824, 50983), factors=(("mmol/l", 1),)),
    Variable("potassium", "mEq/L", 0.5, 30, labs=(50822, 50971), factors=(("mmol/l", 1),)),
    Variable("bicarbonate", "mEq/L", 1, 100, labs=(50882,), factors=(("mmol/l", 1),)),
    Variable("haemoglobin", "g/dL", 0.5, 50, labs=(50811, 51222), factors=(("g/l", 0.1), ("gm/dl", 1))),
    Variable("platelets", "K/uL", 1, 10_000, labs=(51265,), factors=(("10^9/l", 1),)),
    Variable("white_cells", "K/uL", 0.05, 1000, labs=(51300, 51301), factors=(("10^9/l", 1),)),
    Variable("lactate", "mmol/L", 0.05, 50, labs=(50813,), factors=(("mg/dl", 1 / 9.008),)),
)  # fmt: skip
TABLES = {
    "CHARTEVENTS": {item: v for v in VARIABLES for item in v.chart},
    "LABEVENTS": {item: v for v in VARIABLES for item in v.labs},
}


@dataclass(frozen=True, slots=True)
class Measurements:
    """Per patient and variable `count`, `min`, `sum`, `max` (index: subject, variable), and the notes of the reading."""

    summaries: pd.DataFrame
    notes: dict[str, int]


def measure(root: Path, windows: pd.Series, cache: Path | None = None, chunk_rows: int = CHUNK_ROWS) -> Measurements:
    """The measurements of both events tables.

    Args:
        root: folder of the tables.
        windows: subject -> beginning of the first stay in intensive care.
        cache: folder that keeps the result, some ten megabytes for v1.4, for the next time that the same files are read;
            None keeps nothing.
        chunk_rows: rows in memory at a time.

    Raises:
        FileNotFoundError, ValueError: see `tables.stream`.
    """
    kept = None if cache is None else cache / f"measurements-{_fingerprint(root, windows)}.parquet"
    if kept is not None and kept.is_file():
        return _read(kept)
    found = _joined([_table(root, name, windows, chunk_rows) for name in TABLES])
    if kept is not None:
        write_atomically(kept, lambda path: _write(found, path))
    return found


def _table(root: Path, name: str, windows: pd.Series, chunk_rows: int) -> Measurements:
    items = frozenset(TABLES[name])
    found = _summary(pd.DataFrame({"subject": [], "variable": [], "value": []}), dict.fromkeys(NOTES, 0))
    waiting: list[Measurements] = []
    for chunk in stream(root, name, items, chunk_rows):
        waiting.append(_chunk(chunk, name, windows))
        # Joining costs as much as all that was found so far, so it waits until there is as much again.
        if sum(len(one.summaries) for one in waiting) > max(chunk_rows, len(found.summaries)):
            found, waiting = _joined([found, *waiting]), []
    return _joined([found, *waiting])


def _chunk(chunk: pd.DataFrame, name: str, windows: pd.Series) -> Measurements:
    """The measurements of some rows of a table: those in a window, not marked as errors, brought to one unit each."""
    start = chunk["SUBJECT_ID"].map(windows)
    hours = (chunk["CHARTTIME"] - start).dt.total_seconds() / 3600
    inside = hours.between(-HOURS_BEFORE[name], HOURS) & chunk["VALUENUM"].notna()
    if "ERROR" in chunk:
        inside &= ~(chunk["ERROR"] == 1)
    rows = chunk[inside]
    variable = rows["ITEMID"].map({item: v.name for item, v in TABLES[name].items()}).astype(object)
    value = harmonised(variable, rows["VALUENUM"], rows["VALUEUOM"])
    limits = {v.name: (v.low, v.high) for v in VARIABLES}
    low, high = (
        variable.map({n: low for n, (low, _) in limits.items()}),
        variable.map({n: high for n, (_, high) in limits.items()}),
    )
    plausible = value.between(low.astype(float), high.astype(float))
    notes = dict(
        zip(NOTES, (int(plausible.sum()), int(value.isna().sum()), int((value.notna() & ~plausible).sum())), strict=True)
    )
    used = pd.DataFrame({"subject": rows["SUBJECT_ID"], "variable": variable, "value": value})[plausible]
    return _summary(used, notes)


def harmonised(variable: pd.Series, value: pd.Series, unit: pd.Series) -> pd.Series:
    """Readings in the unit of their variable; missing where the unit is not known for it.

    A reading without a unit has the variable's own. Temperatures are told by their size, since both scales occur under
    every item and unit: between 70 and 120 is Fahrenheit.
    """
    spelled = unit.astype(object).fillna("").str.lower().str.replace(r"[^a-z0-9%/^]", "", regex=True)
    factor = pd.Series(np.nan, index=value.index)
    for known in VARIABLES:
        mine = variable == known.name
        if known.name == "temperature":
            factor[mine] = 1.0
            continue
        for text, number in (("", 1.0), (known.unit.lower(), 1.0), *known.factors):
            factor[mine & (spelled == text)] = number
    fahrenheit = (variable == "temperature") & value.between(70, 120)
    return (value * factor).mask(fahrenheit, (value - 32) / 1.8)


def _summary(rows: pd.DataFrame, notes: dict[str, int]) -> Measurements:
    grouped = rows.astype({"subject": "int64", "variable": object, "value": float}).groupby(["subject", "variable"])["value"]
    return Measurements(grouped.agg(list(SUMMARIES)), notes)


def _joined(parts: Sequence[Measurements]) -> Measurements:
    """The measurements of the rows of all parts."""
    how = {"count": "sum", "min": "min", "sum": "sum", "max": "max"}
    every = pd.concat([part.summaries for part in parts if len(part.summaries)] or [parts[0].summaries])
    return Measurements(every.groupby(level=[0, 1]).agg(how), {note: sum(part.notes[note] for part in parts) for note in NOTES})


def summary_columns(found: Measurements, subjects: pd.Index) -> pd.DataFrame:
    """[N, 3 x variables]: `{variable}_min`, `_mean` and `_max` for each subject, missing where there was no reading."""
    table = found.summaries.assign(mean=found.summaries["sum"] / found.summaries["count"])[["min", "mean", "max"]]
    wide = table.unstack("variable").reindex(subjects)
    every = {
        f"{v.name}_{summary}": wide[(summary, v.name)] if (summary, v.name) in wide else pd.Series(np.nan, index=subjects)
        for v in VARIABLES
        for summary in ("min", "mean", "max")
    }
    return pd.DataFrame(every, index=subjects).astype(float)


def _fingerprint(root: Path, windows: pd.Series) -> str:
    """What the result depends on: both files (size, time of change, first and last MiB), windows, variables."""
    state = [repr(VARIABLES), HOURS, HOURS_BEFORE, [_state(locate(root, name)) for name in TABLES]]
    digest = hashlib.sha256(json.dumps(state).encode())
    ordered = windows.sort_index()
    digest.update(ordered.index.to_numpy(dtype="int64").tobytes())
    digest.update(ordered.to_numpy().astype("datetime64[s]").astype("int64").tobytes())
    return digest.hexdigest()[:20]


def _state(file: TableFile) -> list[object]:
    """Reading tens of gigabytes for a digest would take as long as using them; both ends and the times tell copies apart."""
    status = file.path.stat()
    with file.path.open("rb") as opened:
        ends = opened.read(2**20)
        opened.seek(max(0, status.st_size - 2**20))
        ends += opened.read()
    return [file.path.name, status.st_size, status.st_mtime_ns, hashlib.sha256(ends).hexdigest()]


def _write(found: Measurements, path: Path) -> None:
    frame = found.summaries.reset_index()
    frame.attrs = {"notes": found.notes}
    frame.to_parquet(path, engine="pyarrow", index=False)


def _read(path: Path) -> Measurements:
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
        notes = {note: int(frame.attrs["notes"][note]) for note in NOTES}
        return Measurements(frame.astype({"variable": object}).set_index(["subject", "variable"]), notes)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} cannot be read as kept measurements ({type(error).__name__}); delete it and run again"
        ) from None
