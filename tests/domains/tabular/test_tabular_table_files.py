"""Reading CSV and Parquet: the same cells whatever the packing, and every broken line named."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from domains.tabular.table_files import Cells, read_cells

TEXT = 'name;age; note \nAnn;31;"two\nlines; one cell"\n\nBob;?;\n Cy ;7.5;x\n'
MARKS = ("", "?")


def cells_of(content: str | bytes, folder: Path, name: str = "people.csv", separator: str | None = None) -> Cells:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_cells(path, separator, MARKS)


@pytest.mark.parametrize("name", ["people.csv", "people.txt", "people.csv.gz", "people.csv.xz"])
def test_every_packing_gives_the_same_cells(name: str, tmp_path: Path) -> None:
    packed = {".gz": gzip.compress, ".xz": lzma.compress}.get(Path(name).suffix, bytes)(TEXT.encode("utf-8-sig"))
    found = cells_of(packed, tmp_path, name)
    assert found.names == ["name", "age", "note"]
    assert found.frame.fillna("-").to_numpy().tolist() == [
        ["Ann", "31", "two\nlines; one cell"],
        ["Bob", "-", "-"],
        ["Cy", "7.5", "x"],
    ]
    assert found.lines is not None and found.lines.tolist() == [2, 5, 6]
    np.testing.assert_array_equal(found.numbers("age"), [31, np.nan, 7.5])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_from_the_header(separator: str, tmp_path: Path) -> None:
    assert cells_of(f"a{separator}b b\n1{separator}2.5\n", tmp_path).names == ["a", "b b"]


def test_an_index_without_a_name_gets_one(tmp_path: Path) -> None:
    assert cells_of(",a\n0,x\n", tmp_path).names == ["column 1", "a"]


def test_parquet_keeps_numbers_and_says_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": [31, None, 7.5], "kids": [0.0, 2.0, None], "job": ["x", "?", None], "ok": [True, False, True]})
    frame.to_parquet(tmp_path / "people.parquet")
    found = read_cells(tmp_path / "people.parquet", None, MARKS)
    np.testing.assert_array_equal(found.numbers("age"), [31, np.nan, 7.5])
    assert found.words("kids").fillna("-").tolist() == ["0", "2", "-"]
    assert found.words("job").fillna("-").tolist() == ["x", "-", "-"]
    assert found.words("ok").tolist() == ["True", "False", "True"]
    with pytest.raises(ValueError, match=r"people\.parquet, row 1: job is 'x', which is not a finite number"):
        found.numbers("job")


@pytest.mark.parametrize(
    ("content", "separator", "message"),
    [
        ("a,b\n1,2\n1,2,3\n", None, r"people\.csv:3: 3 cells where the header has 2"),
        ('a,b\n1,"x\ny"\n1\n', None, r"people\.csv:4: 1 cells where the header has 2"),
        ("a,b,a\n1,2,3\n", None, "'a' stands in the header twice"),
        ("a;b\n1;2\n", ",", "one column between ','; it seems that ';' separates them"),
        ("just a title\n1\n", None, "give a CSV with a header"),
        ("", None, "give a CSV with a header"),
        ("a,b\n", None, "the table has no rows"),
        ("a,b\n1,caf\u00e9\n".encode("latin-1"), None, "not text in UTF-8"),
    ],
)
def test_a_broken_csv_is_named(content: str | bytes, separator: str | None, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        cells_of(content, tmp_path, separator=separator)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "kind"), [("a.csv.gz", "CSV"), ("a.csv.xz", "CSV"), ("a.parquet", "Parquet")])
def test_a_damaged_file_is_named(name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"cannot be read as (a )?{kind}"):
        cells_of(b"no such thing", tmp_path, name)
    with pytest.raises(FileNotFoundError, match="no such table"):
        read_cells(tmp_path / f"other{name}", None, MARKS)


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read as a CSV"):
        cells_of(gzip.compress(TEXT.encode() * 50)[:-20], tmp_path, "a.csv.gz")


def test_the_first_cell_that_is_no_number_is_named_and_shortened(tmp_path: Path) -> None:
    found = cells_of("a,b\n1,x\n\ninf,y\nnorth of here and very far away,z\n", tmp_path)
    with pytest.raises(ValueError, match=r"people\.csv:4: a is 'inf'"):
        found.numbers("a")
    found = cells_of("a,b\n1,x\nnorth of here and very far away,z\n", tmp_path)
    with pytest.raises(ValueError, match=r"people\.csv:3: a is 'north of here and\.\.\.', which is not a finite number"):
        found.numbers("a")
