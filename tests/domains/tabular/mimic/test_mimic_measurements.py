"""The first 24 hours, against a loop over all rows; units, chunks, and what is kept between runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from domains.tabular.mimic import measurements
from domains.tabular.mimic.measurements import VARIABLES, harmonised, measure, summary_columns
from domains.tabular.mimic.tables import read_table

Fold = Callable[..., Path]
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def windows(generated_folder: Path) -> pd.Series:
    """Some beginning of intensive care for each patient, one patient without."""
    stays = read_table(generated_folder, "ICUSTAYS").sort_values("INTIME").drop_duplicates("SUBJECT_ID")
    return stays.set_index("SUBJECT_ID")["INTIME"].iloc[1:]


def slow(rows_of: Callable[[str], Rows], windows: pd.Series) -> dict[tuple[int, str], list[float]]:
    """Subject and variable -> the readings that count, one row of the files after the other."""
    found: dict[tuple[int, str], list[float]] = {}
    begins = {int(subject): begin.to_pydatetime() for subject, begin in windows.items()}
    for table, before in (("CHARTEVENTS", 0), ("LABEVENTS", 6)):
        for row in rows_of(table):
            begin, item, value = begins.get(int(row["SUBJECT_ID"])), int(row["ITEMID"]), float(row["VALUENUM"])
            variable = next(v for v in VARIABLES if item in (v.chart if table == "CHARTEVENTS" else v.labs))
            if begin is None or row.get("ERROR") in ("1", "1.0"):
                continue
            since = datetime.fromisoformat(row["CHARTTIME"]) - begin
            if not -timedelta(hours=before) <= since <= timedelta(hours=24):
                continue
            unit = row["VALUEUOM"]
            if variable.name == "temperature":
                value = (value - 32) / 1.8 if 70 <= value <= 120 else value
            elif unit == "units":
                continue
            elif unit == "mmol/L" and variable.name == "glucose":
                value *= 18.016
            elif unit == "umol/L":
                value /= 88.42
            elif unit == "g/L":
                value /= 10
            if variable.low <= value <= variable.high:
                found.setdefault((int(row["SUBJECT_ID"]), variable.name), []).append(value)
    return found


def test_minimum_mean_and_maximum_are_those_of_a_loop(
    generated_folder: Path, windows: pd.Series, rows_of: Callable[[str], Rows]
) -> None:
    found, expected = measure(generated_folder, windows), slow(rows_of, windows)
    assert set(found.summaries.index) == set(expected) and len(expected) > 1800
    for key, readings in expected.items():
        row = found.summaries.loc[key]
        assert row["count"] == len(readings)
        np.testing.assert_allclose(
            row[["min", "sum", "max"]].to_numpy(float), [min(readings), sum(readings), max(readings)], rtol=1e-9
        )
    assert found.notes["readings used"] == sum(map(len, expected.values()))
    assert found.notes["readings in an unknown unit, left out"] > 0
    assert found.notes["readings outside the plausible range, left out"] > 0


def test_the_result_does_not_depend_on_the_size_of_the_chunks(altered: Fold, windows: pd.Series) -> None:
    folder = altered("CHARTEVENTS", lambda rows: rows.__delitem__(slice(300, None)))
    altered("LABEVENTS", lambda rows: rows.__delitem__(slice(200, None)))
    whole = measure(folder, windows)
    for chunk_rows in (11, 97):
        parts = measure(folder, windows, chunk_rows=chunk_rows)
        pd.testing.assert_frame_equal(parts.summaries, whole.summaries, rtol=1e-12)
        assert parts.notes == whole.notes


def test_no_more_rows_than_a_chunk_are_held(generated_folder: Path, windows: pd.Series, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be joined never exceeds a chunk and what was found, so the file's size plays no part."""
    waiting: list[int] = []
    joined = measurements._joined
    monkeypatch.setattr(
        measurements, "_joined", lambda parts: waiting.append(sum(len(p.summaries) for p in parts[1:])) or joined(parts)
    )
    found = measure(generated_folder, windows, chunk_rows=1500)
    assert len(waiting) > 4 and max(waiting) <= 2 * 1500 + len(found.summaries)


@pytest.mark.parametrize(
    ("variable", "value", "unit", "expected"),
    [
        ("temperature", 98.6, "Deg. F", 37.0),
        ("temperature", 98.6, "Deg. C", 37.0),
        ("temperature", 37.0, "?F", 37.0),
        ("glucose", 5.0, "mmol/L", 90.08),
        ("glucose", 90.0, "mg/dL", 90.0),
        ("glucose", 90.0, None, 90.0),
        ("creatinine", 88.42, "umol/L", 1.0),
        ("haemoglobin", 120.0, "g/L", 12.0),
        ("haemoglobin", 12.0, "g/dl", 12.0),
        ("sodium", 140.0, "mmol/L", 140.0),
        ("lactate", 18.016, "mg/dL", 2.0),
        ("white_cells", 9.0, " K/uL ", 9.0),
        ("heart_rate", 80.0, "BPM", 80.0),
        ("sodium", 140.0, "stones", None),
        ("potassium", 4.0, "mg/dL", None),
    ],
)
def test_units(variable: str, value: float, unit: str | None, expected: float | None) -> None:
    found = harmonised(pd.Series([variable]), pd.Series([value]), pd.Series([unit], dtype=object)).iloc[0]
    assert np.isnan(found) if expected is None else found == pytest.approx(expected, rel=1e-4)


def test_no_item_belongs_to_two_variables() -> None:
    for kind in ("chart", "labs"):
        items = [item for v in VARIABLES for item in getattr(v, kind)]
        assert len(items) == len(set(items))


def test_columns_are_missing_where_nothing_was_read(generated_folder: Path, windows: pd.Series) -> None:
    found = measure(generated_folder, windows)
    subjects = pd.Index([windows.index[5], 1])
    table = summary_columns(found, subjects)
    assert list(table.columns[:3]) == ["heart_rate_min", "heart_rate_mean", "heart_rate_max"] and len(table.columns) == 3 * len(
        VARIABLES
    )
    assert table.loc[1].isna().all()
    for variable in VARIABLES:
        key = (windows.index[5], variable.name)
        expected = found.summaries.loc[key, "sum"] / found.summaries.loc[key, "count"] if key in found.summaries.index else np.nan
        np.testing.assert_equal(table.loc[windows.index[5], f"{variable.name}_mean"], expected)


def test_measurements_are_kept_once_and_read_again(
    generated_folder: Path, windows: pd.Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    shutil.copytree(generated_folder, source)
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    cache = tmp_path / "cache"
    first = measure(source, windows, cache)
    [kept] = list(cache.iterdir())
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before and len(list(tmp_path.iterdir())) == 2

    def never(*arguments: object) -> None:
        raise AssertionError("the files were read again")

    with monkeypatch.context() as patched:
        patched.setattr(measurements, "stream", never)
        again = measure(source, windows, cache)
    pd.testing.assert_frame_equal(again.summaries, first.summaries, check_index_type=False)
    assert again.notes == first.notes

    measure(source, windows.iloc[3:], cache)  # other patients
    with (source / "LABEVENTS.csv").open("a") as file:
        file.write("9,1,,50912,2130-01-31 12:00:00,1,1,mg/dL,\n")
    measure(source, windows, cache)  # another file
    assert len(list(cache.iterdir())) == 3
    kept.write_bytes(kept.read_bytes()[:200])
    shutil.copytree(source, tmp_path / "b")
    monkeypatch.setattr(measurements, "_fingerprint", lambda root, windows: kept.stem.removeprefix("measurements-"))
    with pytest.raises(ValueError, match="cannot be read as kept measurements .*delete it"):
        measure(source, windows, cache)


def test_a_failure_leaves_nothing_in_the_cache(altered: Fold, windows: pd.Series, tmp_path: Path) -> None:
    folder = altered("LABEVENTS", lambda rows: rows[-1].update(CHARTTIME="yesterday", ITEMID="50912"))
    with pytest.raises(ValueError, match="column CHARTTIME"):
        measure(folder, windows, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
