"""Reading the original files, and every way in which they can be wrong."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from domains.tabular import sources
from domains.tabular.census import generate_census

LINE = "39, State-gov, 77516, Bachelors, 13, Divorced, Adm-clerical, Unmarried, White, Male, 2174, 0, 40, United-States, <=50K"
OTHER = "50, ?, 83311, HS-grad, 9, Divorced, ?, Unmarried, Black, Female, 0, 0, 13, ?, >50K"


def parse(text: str, name: str = "adult.data") -> pd.DataFrame:
    return sources.parse(text.encode(), name, check_rows=False)


def test_spaces_question_marks_and_blank_lines() -> None:
    rows = parse(f"{LINE}\n{OTHER}\n\n")
    assert list(rows.columns) == list(sources.COLUMNS)
    assert rows["age"].tolist() == [39, 50] and rows["capital_gain"].tolist() == [2174, 0]
    assert rows["workclass"].tolist() == ["State-gov", "?"]
    assert rows["income"].tolist() == ["<=50K", ">50K"]


def test_test_file_has_a_remark_and_trailing_dots() -> None:
    rows = parse(f"|1x3 Cross validator\n{LINE}.\n{OTHER}.\n\n", "adult.test")
    assert rows["income"].tolist() == ["<=50K", ">50K"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LINE}\n{LINE[:60]}\n", r"adult\.data, line 2: 8 columns where Adult has 15"),
        (f"{LINE}, 1\n", r"line 1: 16 columns"),
        (LINE.replace("<=50K", "rich"), r"line 1: the label 'rich'"),
        (LINE.replace("39", "3x9", 1), r"line 1: age is '3x9', not a whole number"),
        ("\n\n", r"adult\.data: no rows"),
    ],
)
def test_faults_name_file_and_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_wrong_number_of_rows() -> None:
    with pytest.raises(ValueError, match=r"adult\.test: 2 rows where the original has 16,281"):
        sources.parse(f"{LINE}.\n{OTHER}.\n".encode(), "adult.test")


def files(folder: Path, train: str = f"{LINE}\n{OTHER}\n", test: str = f"{OTHER}.\n") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adult.data").write_text(train)
    (folder / "adult.test").write_text(test)
    return folder


def zipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in sources.FILES:
            archive.write(folder / name, name)
    return path


def test_folder_zip_and_folder_with_zip_give_the_same_rows(tmp_path: Path) -> None:
    folder = files(tmp_path / "plain")
    (tmp_path / "packed").mkdir()
    archive = zipped(tmp_path / "packed" / "adult.zip", folder)
    expected = sources.read_adult(folder, check_digests=False)
    for root in (archive, tmp_path / "packed"):
        found = sources.read_adult(root, check_digests=False)
        for name in sources.FILES:
            pd.testing.assert_frame_equal(found[name], expected[name])


def test_an_edited_copy_is_refused_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ROWS", {"adult.data": 2, "adult.test": 1})
    folder = files(tmp_path / "edited")
    with pytest.raises(ValueError, match=r"adult\.data: SHA-256 .* is not that of the original file .* check_digests=False"):
        sources.read_adult(folder)
    assert len(sources.read_adult(folder, check_digests=False)["adult.data"]) == 2
    assert "NOT the original" in "\n".join(sources.info(folder))


def test_missing_folder_empty_folder_and_broken_zip(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not exist.*domain\.root"):
        sources.read_adult(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="neither adult.zip nor"):
        sources.read_adult(tmp_path)
    broken = tmp_path / "adult.zip"
    broken.write_bytes(zipped(tmp_path / "whole.zip", files(tmp_path / "f")).read_bytes()[:-40])
    with pytest.raises(ValueError, match="not a whole zip file"):
        sources.read_adult(broken)
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("adult.data", LINE)
    with pytest.raises(ValueError, match="does not hold both"):
        sources.read_adult(broken)


def fake_download(frame: pd.DataFrame) -> dict[str, bytes]:
    return {
        "adult.data": sources.original_format(frame, "adult.data"),
        "adult.test": sources.original_format(frame, "adult.test"),
    }


def test_fetching_accepts_only_original_content_and_leaves_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = fake_download(generate_census(30, seed=0))

    def no_network() -> dict[str, bytes]:
        raise OSError("no route to host")

    monkeypatch.setenv("CONTEXTSSL_CACHE", str(tmp_path))
    monkeypatch.delenv("CONTEXTSSL_DATA", raising=False)
    monkeypatch.setattr(sources, "_from_openml", lambda: contents)
    monkeypatch.setattr(sources, "_from_uci", no_network)
    with pytest.raises(FileNotFoundError) as error:
        sources.prepare()
    for part in (
        "OpenML: its rows are not the original ones",
        "no route to host",
        "domain.source=generated",
        "domain.root",
        "https://",
    ):
        assert part in str(error.value)
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setattr(sources, "DIGESTS", {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})
    monkeypatch.setattr(sources, "ROWS", {"adult.data": 30, "adult.test": 30})
    assert sources.prepare() == tmp_path / "adult"
    assert len(sources.verify()) == 2
    monkeypatch.setattr(sources, "_from_openml", no_network)  # the cache is found: nothing is fetched again
    assert len(sources.read_adult()["adult.test"]) == 30


def test_openmls_table_holds_the_test_rows_first(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = generate_census(20, seed=0), generate_census(7, seed=1)
    table = SimpleNamespace(frame=pd.concat([test, train]).replace("?", np.nan))
    monkeypatch.setattr("fairlearn.datasets.fetch_adult", lambda as_frame: table)
    monkeypatch.setattr(sources, "ROWS", {"adult.data": 20, "adult.test": 7})
    contents = sources._from_openml()
    for name, rows in (("adult.data", train), ("adult.test", test)):
        found = sources.parse(contents[name], name)
        assert found.to_dict("list") == rows.to_dict("list")


def test_a_copy_with_missing_values_and_floats_is_written_in_the_original_format() -> None:
    rows = parse(f"{LINE}\n{OTHER}\n")
    copy = rows.replace("?", pd.NA).astype({"age": "float64"})
    assert sources.original_format(copy, "adult.data").decode() == f"{LINE}\n{OTHER}\n\n"


@pytest.mark.data
def test_the_real_files(adult_root: Path) -> None:
    tables = sources.read_adult(adult_root)
    train, test = tables["adult.data"], tables["adult.test"]
    assert (len(train), len(test)) == (32_561, 16_281)
    assert (train["income"] == ">50K").sum() == 7841 and (test["income"] == ">50K").sum() == 3846
    assert (train == "?").to_numpy().sum() == 4262 and (test == "?").any(axis=1).sum() == 1221
    for name, digest in sources.DIGESTS.items():
        assert hashlib.sha256(sources.original_format(tables[name], name)).hexdigest() == digest
