"""The published files as they come, and every way in which they can be wrong."""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from domains.tabular.mimic.tables import COLUMNS, locate, read_table, stream

Fold = Callable[..., Path]
ADMISSIONS = "ADMISSIONS.csv"


def repacked(source: Path, folder: Path, name: str, lower: bool) -> Path:
    """A table under another name and compression, its header in lower case and its columns in reverse order if `lower`."""
    folder.mkdir(exist_ok=True)
    table = pd.read_csv(source, dtype=str, keep_default_na=False)
    if lower:
        table = table[table.columns[::-1]].rename(columns=str.lower)
    text = table.to_csv(index=False).encode()
    (folder / name).write_bytes({"gz": gzip.compress, "xz": lzma.compress, "sv": bytes}[name[-2:]](text))
    return folder


@pytest.mark.parametrize(
    "name", ["ADMISSIONS.csv", "admissions.csv", "ADMISSIONS.csv.gz", "admissions.csv.gz", "Admissions.CSV.xz"]
)
@pytest.mark.parametrize("lower", [False, True])
def test_names_compression_header_case_and_column_order_do_not_matter(
    generated_folder: Path, tmp_path: Path, name: str, lower: bool
) -> None:
    expected = read_table(generated_folder, "ADMISSIONS")
    if name.endswith(".CSV.xz"):
        repacked(generated_folder / ADMISSIONS, tmp_path, "a.xz", lower)
        (tmp_path / "a.xz").rename(tmp_path / name.lower())
    else:
        repacked(generated_folder / ADMISSIONS, tmp_path, name, lower)
    pd.testing.assert_frame_equal(read_table(tmp_path, "ADMISSIONS"), expected)


def test_cells_have_the_type_of_their_column(generated_folder: Path, rows_of: Callable[[str], list[dict[str, str]]]) -> None:
    found, rows = read_table(generated_folder, "ADMISSIONS"), rows_of("ADMISSIONS")
    assert list(found.columns) == list(COLUMNS["ADMISSIONS"])
    assert found["HADM_ID"].tolist() == [int(row["HADM_ID"]) for row in rows]
    assert [str(time) for time in found["ADMITTIME"]] == [row["ADMITTIME"] for row in rows]
    assert found["DEATHTIME"].isna().tolist() == [row["DEATHTIME"] == "" for row in rows]
    assert [value or "" for value in found["LANGUAGE"]] == [row["LANGUAGE"] for row in rows]


def test_codes_keep_their_zeros(generated_folder: Path) -> None:
    assert "0389" in set(read_table(generated_folder, "DIAGNOSES_ICD")["ICD9_CODE"])


def test_only_empty_cells_are_missing(altered: Fold) -> None:
    found = read_table(altered("ADMISSIONS", lambda rows: rows[0].update(LANGUAGE="NA", MARITAL_STATUS="")), "ADMISSIONS")
    assert found["LANGUAGE"][0] == "NA" and found["MARITAL_STATUS"][0] is None


def test_plain_is_preferred_and_two_of_one_kind_are_refused(generated_folder: Path, tmp_path: Path) -> None:
    repacked(generated_folder / ADMISSIONS, tmp_path, "ADMISSIONS.csv.gz", lower=False)
    repacked(generated_folder / ADMISSIONS, tmp_path, "ADMISSIONS.csv", lower=False)
    assert locate(tmp_path, "ADMISSIONS").path.name == "ADMISSIONS.csv"
    repacked(generated_folder / ADMISSIONS, tmp_path, "admissions.csv", lower=False)
    if len(list(tmp_path.glob("*.csv"))) == 2:  # not on a file system that knows no case
        with pytest.raises(ValueError, match="holds both ADMISSIONS.csv and admissions.csv; keep one"):
            locate(tmp_path, "ADMISSIONS")


def test_missing_folder_and_missing_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder; root must be"):
        read_table(tmp_path / "nowhere", "PATIENTS")
    with pytest.raises(FileNotFoundError, match=r"holds no PATIENTS\.csv \(or \.csv\.gz, \.csv\.xz\)"):
        read_table(tmp_path, "PATIENTS")


@pytest.mark.parametrize("column", COLUMNS["ADMISSIONS"])
def test_a_missing_column_is_named(altered: Fold, generated_folder: Path, tmp_path: Path, column: str) -> None:
    table = pd.read_csv(generated_folder / ADMISSIONS, dtype=str, nrows=3).drop(columns=column)
    table.to_csv(tmp_path / ADMISSIONS, index=False)
    with pytest.raises(ValueError, match=rf"ADMISSIONS\.csv: there is no column {column};"):
        read_table(tmp_path, "ADMISSIONS")


@pytest.mark.parametrize(("mark", "said"), [(";", "';'"), ("\t", r"'\\t'"), ("|", r"'\|'")])
def test_a_wrong_delimiter_is_named(generated_folder: Path, tmp_path: Path, mark: str, said: str) -> None:
    pd.read_csv(generated_folder / ADMISSIONS, dtype=str, nrows=3).to_csv(tmp_path / ADMISSIONS, index=False, sep=mark)
    with pytest.raises(ValueError, match=f"separated by {said}, not by commas"):
        read_table(tmp_path, "ADMISSIONS")


@pytest.mark.parametrize(
    ("column", "cell", "kind"),
    [
        ("HADM_ID", "secret", "a whole number"),
        ("HADM_ID", "", "a whole number"),
        ("HADM_ID", "12.5", "a whole number"),
        ("ADMITTIME", "31/01/2130 secret", "a time like"),
        ("ADMITTIME", "2130-01-31", "a time like"),
        ("HOSPITAL_EXPIRE_FLAG", "secret", "0 or 1"),
        ("HOSPITAL_EXPIRE_FLAG", "2", "0 or 1"),
        ("HAS_CHARTEVENTS_DATA", "", "0 or 1"),
    ],
)
def test_a_wrong_cell_is_named_and_not_shown(altered: Fold, column: str, cell: str, kind: str) -> None:
    folder = altered("ADMISSIONS", lambda rows: rows[4].update({column: cell}))
    with pytest.raises(ValueError, match=rf"ADMISSIONS\.csv, column {column}, row 5: the cell is not {kind}") as error:
        read_table(folder, "ADMISSIONS")
    assert not cell or cell not in str(error.value).replace("2130-01-31 12:00:00", "")
    assert error.value.__cause__ is None and (error.value.__suppress_context__ or error.value.__context__ is None)


@pytest.mark.parametrize(("name", "key"), [("PATIENTS", "SUBJECT_ID"), ("ADMISSIONS", "HADM_ID"), ("ICUSTAYS", "ICUSTAY_ID")])
def test_a_key_that_occurs_twice_is_named_and_not_shown(altered: Fold, name: str, key: str) -> None:
    folder = altered(name, lambda rows: rows.append(dict(rows[0])))
    with pytest.raises(ValueError, match=f"{name}.csv: {key} occurs more than once") as error:
        read_table(folder, name)
    assert not re.search(r"\d{4}", str(error.value))


def test_damaged_files(generated_folder: Path, tmp_path: Path) -> None:
    whole = (generated_folder / ADMISSIONS).read_bytes()
    for name, content, message in (
        ("ADMISSIONS.csv.gz", gzip.compress(whole)[:-2000], "not a whole compressed file"),
        ("ADMISSIONS.csv.gz", whole, "not a whole compressed file"),
        ("ADMISSIONS.csv.xz", lzma.compress(whole)[:-2000], "not a whole compressed file"),
        ("ADMISSIONS.csv", b"", "there is no column SUBJECT_ID"),
        ("ADMISSIONS.csv", whole + b'1,2,"open', "cannot be cut into rows and cells"),
        ("ADMISSIONS.csv", whole[:-60], r"column \w+, row \d+: the cell is not"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_table(tmp_path, "ADMISSIONS")
        (tmp_path / name).unlink()


def test_codes_that_went_through_a_spreadsheet(altered: Fold) -> None:
    def strip(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["ICD9_CODE"] = row["ICD9_CODE"].lstrip("0")

    folder = altered("DIAGNOSES_ICD", strip)
    with pytest.raises(ValueError, match=r"DIAGNOSES_ICD\.csv: no code begins with 0, so a spreadsheet"):
        read_table(folder, "DIAGNOSES_ICD")


@pytest.mark.parametrize("num_rows", [1, 7, 10_000])
def test_streaming_gives_the_rows_of_the_items_whatever_the_chunks(altered: Fold, num_rows: int) -> None:
    folder = altered("LABEVENTS", lambda rows: rows.__delitem__(slice(60, None)))
    expected = read_table(folder, "LABEVENTS")
    items = frozenset({50912, 51222})
    chunks = list(stream(folder, "LABEVENTS", items, num_rows))
    assert max(map(len, chunks)) <= num_rows and len(chunks) == -(-60 // num_rows)
    pd.testing.assert_frame_equal(pd.concat(chunks), expected[expected["ITEMID"].isin(items)])


def test_streaming_names_the_row_of_the_file(altered: Fold) -> None:
    def spoil(rows: list[dict[str, str]]) -> None:
        del rows[40:]
        rows[33].update(ITEMID="50912", VALUENUM="secret")

    with pytest.raises(ValueError, match=r"LABEVENTS\.csv, column VALUENUM, row 34: the cell is not a number") as error:
        list(stream(altered("LABEVENTS", spoil), "LABEVENTS", frozenset({50912}), 5))
    assert "secret" not in str(error.value)
