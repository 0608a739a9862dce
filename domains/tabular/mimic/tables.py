"""The published CSV files of MIMIC-III v1.4 and of its open demo: finding, checking and reading them.

A file is PATIENTS.csv, patients.csv, PATIENTS.csv.gz or patients.csv.xz; columns are in upper or lower case and in any
order. No message repeats a cell of a file: rows of a credentialed copy appear in no log.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd

ENDINGS = (".csv", ".csv.gz", ".csv.xz")
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
COLUMNS = {
    "PATIENTS": ("SUBJECT_ID", "GENDER", "DOB"),
    "ADMISSIONS": (
        "SUBJECT_ID", "HADM_ID", "ADMITTIME", "DISCHTIME", "DEATHTIME", "ADMISSION_TYPE", "ADMISSION_LOCATION", "INSURANCE",
        "LANGUAGE", "MARITAL_STATUS", "ETHNICITY", "HOSPITAL_EXPIRE_FLAG", "HAS_CHARTEVENTS_DATA",
    ),
    "ICUSTAYS": ("SUBJECT_ID", "HADM_ID", "ICUSTAY_ID", "FIRST_CAREUNIT", "INTIME"),
    "DIAGNOSES_ICD": ("HADM_ID", "SEQ_NUM", "ICD9_CODE"),
    "PROCEDURES_ICD": ("HADM_ID", "SEQ_NUM", "ICD9_CODE"),
    "CHARTEVENTS": ("SUBJECT_ID", "ITEMID", "CHARTTIME", "VALUENUM", "VALUEUOM", "ERROR"),
    "LABEVENTS": ("SUBJECT_ID", "ITEMID", "CHARTTIME", "VALUENUM", "VALUEUOM"),
}  # fmt: skip
KEYS = {"PATIENTS": "SUBJECT_ID", "ADMISSIONS": "HADM_ID", "ICUSTAYS": "ICUSTAY_ID"}
IDENTIFIERS = ("SUBJECT_ID", "HADM_ID", "ICUSTAY_ID", "ITEMID")
TIMES = ("DOB", "ADMITTIME", "DISCHTIME", "DEATHTIME", "INTIME", "CHARTTIME")
FLAGS = ("HOSPITAL_EXPIRE_FLAG", "HAS_CHARTEVENTS_DATA")
NUMBERS = ("SEQ_NUM", "VALUENUM", "ERROR")
REPAIR = "take the file again from your copy of MIMIC-III v1.4"
NUM_CODES_WITH_ZEROS = 1000  # more than one in twenty ICD-9 codes of MIMIC begins with a 0; so many codes without one were edited


@dataclass(frozen=True, slots=True)
class TableFile:
    """One file, and how its header spells each needed column."""

    path: Path
    name: str
    spelling: dict[str, str]

    def read_options(self) -> dict[str, Any]:
        """What every `pd.read_csv` of this file is given: the needed columns as text, empty cells missing."""
        text = dict.fromkeys(self.spelling.values(), str)
        return {
            "usecols": list(self.spelling.values()), "dtype": text, "keep_default_na": False, "na_values": [""],
            "encoding_errors": "replace",
        }  # fmt: skip


def locate(root: Path, name: str) -> TableFile:
    """The file of a table in `root`, plain before compressed, its header checked.

    Raises:
        FileNotFoundError: when the folder or the table is not there.
        ValueError: for two files that differ in case only, a wrong delimiter, or a missing column.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; root must be the folder that holds MIMIC-III's CSV files")
    wanted = [f"{name}{ending}".lower() for ending in ENDINGS]
    found = [path for path in root.iterdir() if path.name.lower() in wanted]
    found.sort(key=lambda path: (wanted.index(path.name.lower()), path.name))
    if not found:
        raise FileNotFoundError(
            f"{root} holds no {name}.csv (or .csv.gz, .csv.xz); root must be the folder of MIMIC-III's CSV files"
        )
    if len(found) > 1 and found[0].name.lower() == found[1].name.lower():
        raise ValueError(f"{root} holds both {found[0].name} and {found[1].name}; keep one of them")
    return TableFile(found[0], name, _spelling(found[0], name))


def _spelling(path: Path, name: str) -> dict[str, str]:
    """Needed column -> how the header writes it."""
    with _reported(path), _opened(path) as file:
        line = file.readline().removeprefix("\ufeff").strip()
    cells = [cell.strip().strip('"') for cell in line.split(",")]
    if line and len(cells) == 1:
        mark = next((repr(mark) for mark in (";", "\t", "|") if mark in line), "something else")
        raise ValueError(f"{path.name}: the columns are separated by {mark}, not by commas; {REPAIR}")
    spelled = {cell.upper(): cell for cell in cells}
    if missing := [column for column in COLUMNS[name] if column not in spelled]:
        raise ValueError(f"{path.name}: there is no column {missing[0]}; {REPAIR}")
    return {column: spelled[column] for column in COLUMNS[name]}


def _opened(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")
    if path.name.lower().endswith(".xz"):
        return lzma.open(path, "rt", encoding="utf-8", errors="replace")
    return path.open(encoding="utf-8", errors="replace")


def read_table(root: Path, name: str) -> pd.DataFrame:
    """The needed columns of a whole table, in upper case: identifiers int64, times datetime64, flags 0 or 1, the rest text.

    Raises:
        FileNotFoundError: see `locate`.
        ValueError: see `locate`; and for a damaged file, a cell of the wrong kind (naming column and row number) or a
            key that occurs twice.
    """
    file = locate(root, name)
    with _reported(file.path):
        frame = pd.read_csv(file.path, **file.read_options())
    frame = typed(frame, file)
    if (key := KEYS.get(name)) and frame[key].duplicated().any():
        raise ValueError(
            f"{file.path.name}: {key} occurs more than once, where every {key} has one row; were two copies joined? {REPAIR}"
        )
    if "ICD9_CODE" in frame:
        _check_zeros(frame["ICD9_CODE"], file)
    return frame


def stream(root: Path, name: str, items: frozenset[int], num_rows: int) -> Iterator[pd.DataFrame]:
    """The rows of an events table whose ITEMID is among `items`, typed as in `read_table`, `num_rows` rows read at a time.

    Memory does not depend on the size of the file. Raises what `read_table` raises; in rows of other items only the
    ITEMID is looked at.
    """
    file = locate(root, name)
    wanted = {str(item) for item in items}
    with _reported(file.path), pd.read_csv(file.path, chunksize=num_rows, **file.read_options()) as chunks:
        for chunk in chunks:
            item = chunk[file.spelling["ITEMID"]]
            if item.isna().any():
                raise ValueError(f"{file.path.name}: column ITEMID has an empty cell; the file is truncated or edited, {REPAIR}")
            yield typed(chunk[item.isin(wanted)], file)


def typed(frame: pd.DataFrame, file: TableFile) -> pd.DataFrame:
    """The text of a file as numbers and times; row numbers in messages are those of the file, header not counted."""
    frame = frame.rename(columns={spelled: column for column, spelled in file.spelling.items()})
    columns = {column: _typed_column(frame[column].str.strip(), column, file) for column in COLUMNS[file.name]}
    return pd.DataFrame(columns, index=frame.index)


def _typed_column(text: pd.Series, column: str, file: TableFile) -> pd.Series:
    if column in TIMES:
        times = pd.to_datetime(text, format=TIME_FORMAT, errors="coerce")
        return _checked(times, times.isna() & text.notna(), "a time like 2130-01-31 12:00:00", column, file)
    if column not in (*IDENTIFIERS, *FLAGS, *NUMBERS):
        return text.astype(object).where(text.notna(), None)
    number = pd.to_numeric(text, errors="coerce")
    if column in IDENTIFIERS:
        return _checked(number, number.isna() | (number % 1 != 0), "a whole number", column, file).astype("int64")
    if column in FLAGS:
        return _checked(number, ~number.isin([0, 1]), "0 or 1", column, file).astype("int64")
    return _checked(number, number.isna() & text.notna(), "a number", column, file).astype("float64")


def _checked(values: pd.Series, wrong: pd.Series, kind: str, column: str, file: TableFile) -> pd.Series:
    """The values; ValueError that names the first wrong row, and not what it holds."""
    if wrong.any():
        # The index of a chunk goes on from the previous chunk, so it is the row of the file.
        row = wrong.index[wrong.to_numpy()][0] + 1
        raise ValueError(
            f"{file.path.name}, column {column}, row {row}: the cell is not {kind}; the file is truncated or edited, {REPAIR}"
        )
    return values


def _check_zeros(codes: pd.Series, file: TableFile) -> None:
    known = codes.dropna()
    if len(known) >= NUM_CODES_WITH_ZEROS and not known.str.startswith("0").any():
        raise ValueError(
            f"{file.path.name}: no code begins with 0, so a spreadsheet has taken the zeros away and 0389 became 389; {REPAIR}"
        )


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Within it, what a damaged file raises becomes one sentence without a cell of the file."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError):
        raise ValueError(f"{path.name} is not a whole compressed file; {REPAIR}") from None
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path.name} is empty; {REPAIR}") from None
    except pd.errors.ParserError:
        raise ValueError(f"{path.name} cannot be cut into rows and cells; the file is truncated or edited, {REPAIR}") from None
