"""The original Adult files: finding, fetching, verifying and parsing them (Becker & Kohavi 1996, doi 10.24432/C5XW20)."""

from __future__ import annotations

import hashlib
import io
import os
import urllib.request
import warnings
import zipfile
from pathlib import Path

import pandas as pd

from contextssl.files import write_bytes

COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship", "race", "sex",
    "capital_gain", "capital_loss", "hours_per_week", "native_country", "income",
)  # fmt: skip
NUMERIC_COLUMNS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
INCOMES = ("<=50K", ">50K")
MISSING = "?"

FILES = ("adult.data", "adult.test")
ROWS = {"adult.data": 32_561, "adult.test": 16_281}
DIGESTS = {
    "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
    "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
}

DOWNLOAD_PAGE = "https://archive.ics.uci.edu/dataset/2/adult"
DOWNLOAD_URL = "https://archive.ics.uci.edu/static/public/2/adult.zip"
ADVICE = (
    f"Download the zip from {DOWNLOAD_PAGE} and set domain.root to it or to its folder (or put it into $CONTEXTSSL_DATA/adult); "
    "domain.source=generated runs on a generated stand-in instead"
)


def read_adult(root: Path | None = None, check_digests: bool = True) -> dict[str, pd.DataFrame]:
    """The rows of both files, `adult.data` (official training rows) and `adult.test`, as 15 named columns.

    Args:
        root: a zip, or a folder that holds adult.zip or the two files; None looks where `locate` looks and fetches.
        check_digests: compare the files with the originals byte for byte. Without it an edited copy is accepted as
            long as it parses, with any number of rows.

    Raises:
        FileNotFoundError: when there are no files and none could be fetched.
        ValueError: for a file that is not the original, naming the file and, where it is known, the line.
    """
    contents = _contents(locate(root))
    tables = {name: parse(contents[name], name, check_rows=check_digests) for name in FILES}
    for name, content in contents.items():
        if check_digests and (found := hashlib.sha256(content).hexdigest()) != DIGESTS[name]:
            raise ValueError(
                f"{name}: SHA-256 {found[:16]}... is not that of the original file ({DIGESTS[name][:16]}...); "
                f"take the file from {DOWNLOAD_PAGE}, or pass check_digests=False to use an edited copy knowingly"
            )
    return tables


def locate(root: Path | None = None) -> Path:
    """Where the files are: `root`; else $CONTEXTSSL_DATA/adult; else the user cache, filled by fetching if empty."""
    if root is not None:
        return Path(root)
    if (packs := os.environ.get("CONTEXTSSL_DATA")) and (Path(packs) / "adult").exists():
        return Path(packs) / "adult"
    cache = cache_folder()
    return cache if all((cache / name).is_file() for name in FILES) else fetch(cache)


def cache_folder() -> Path:
    """Folder of fetched files: $CONTEXTSSL_CACHE/adult, by default ~/.cache/contextssl/adult."""
    return Path(os.environ.get("CONTEXTSSL_CACHE") or Path.home() / ".cache" / "contextssl") / "adult"


def digests(root: Path | None = None) -> dict[str, str]:
    """SHA-256 of each file's content."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in _contents(locate(root)).items()}


def _contents(root: Path) -> dict[str, bytes]:
    """The bytes of both files from a zip, a folder with adult.zip, or a folder with the files."""
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist. {ADVICE}")
    if root.is_dir() and all((root / name).is_file() for name in FILES):
        return {name: (root / name).read_bytes() for name in FILES}
    archive = root / "adult.zip" if root.is_dir() else root
    if not archive.is_file():
        raise FileNotFoundError(f"{root} holds neither adult.zip nor adult.data and adult.test. {ADVICE}")
    try:
        with zipfile.ZipFile(archive) as opened:
            return {name: opened.read(name) for name in FILES}
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{archive} is not a whole zip file ({error}). {ADVICE}") from error
    except KeyError as error:
        raise ValueError(f"{archive} does not hold both adult.data and adult.test ({error}). {ADVICE}") from error


def parse(content: bytes, name: str, check_rows: bool = True) -> pd.DataFrame:
    """Rows of one original file: spaces and the trailing dots of the test labels removed, `?` kept, numbers as int64.

    Raises:
        ValueError: naming file and line, for a wrong number of columns, something that is not a whole number or an
            unknown label; naming the file, for a wrong number of rows.
    """
    rows = []
    lines = content.decode("utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        # adult.test opens with the remark "|1x3 Cross validator"; both files end with a blank line.
        if not line.strip() or line.startswith("|"):
            continue
        rows.append(_cells(line, f"{name}, line {number}"))
    if check_rows and len(rows) != ROWS[name]:
        raise ValueError(
            f"{name}: {len(rows):,} rows where the original has {ROWS[name]:,}; the file is truncated or edited, fetch it again"
        )
    if not rows:
        raise ValueError(f"{name}: no rows; the file is empty, fetch it again")
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(NUMERIC_COLUMNS, "int64"))


def _cells(line: str, where: str) -> list[str]:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(COLUMNS):
        raise ValueError(
            f"{where}: {len(cells)} columns where Adult has {len(COLUMNS)}; the file is truncated or edited, fetch it again"
        )
    cells[-1] = cells[-1].removesuffix(".")
    if cells[-1] not in INCOMES:
        raise ValueError(f"{where}: the label {cells[-1]!r} is neither <=50K nor >50K")
    for column in NUMERIC_COLUMNS:
        if not cells[COLUMNS.index(column)].isdecimal():
            raise ValueError(f"{where}: {column} is {cells[COLUMNS.index(column)]!r}, not a whole number")
    return cells


def fetch(folder: Path) -> Path:
    """Fetch Adult into `folder` as the two original files, and return the folder.

    OpenML's copy is a table: it is written out in the original format. Whatever the source, the result is accepted
    only when its digests equal those of the original files, so no copy needs to be trusted.

    Raises:
        FileNotFoundError: when no source gave the original files, with what each of them said.
    """
    failures = []
    for source, download in (("OpenML", _from_openml), ("UCI", _from_uci)):
        try:
            contents = download()
        except Exception as error:  # noqa: BLE001 - every library and network reports its failures differently
            failures.append(f"{source}: {type(error).__name__}: {str(error).partition(chr(10))[0][:160]}")
            continue
        if all(hashlib.sha256(contents[name]).hexdigest() == DIGESTS[name] for name in FILES):
            for name in FILES:
                write_bytes(folder / name, contents[name])
            return folder
        failures.append(f"{source}: its rows are not the original ones")
    raise FileNotFoundError(f"UCI Adult is not on this machine and could not be fetched ({'; '.join(failures)}). {ADVICE}")


def _from_openml() -> dict[str, bytes]:
    """OpenML's copy through fairlearn: the test rows first, then the training rows."""
    from fairlearn.datasets import fetch_adult

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns before every retry; what fails in the end is reported by `fetch`
        frame = fetch_adult(as_frame=True).frame
    first = ROWS["adult.test"]
    return {
        "adult.data": original_format(frame.iloc[first:], "adult.data"),
        "adult.test": original_format(frame.iloc[:first], "adult.test"),
    }


def _from_uci() -> dict[str, bytes]:
    """The archive at UCI itself: the hub's copies hold the training rows only, so no official split can be had there."""
    with urllib.request.urlopen(DOWNLOAD_URL, timeout=60) as response, zipfile.ZipFile(io.BytesIO(response.read())) as opened:
        return {name: opened.read(name) for name in FILES}


def original_format(frame: pd.DataFrame, name: str) -> bytes:
    """The bytes of an original file from its 15 columns, whatever a copy calls them; missing cells become `?`."""
    cells = frame.astype(object).where(frame.notna(), MISSING)
    lines = [", ".join(_text(cell) for cell in row) for row in cells.itertuples(index=False)]
    if name == "adult.test":
        lines = ["|1x3 Cross validator", *(line + "." for line in lines)]
    return ("\n".join(lines) + "\n\n").encode()


def _text(cell: object) -> str:
    return str(int(cell)) if isinstance(cell, float) else str(cell).strip()


def prepare(root: Path | None = None) -> Path:
    """Where the verified files are, fetched into the user cache if need be; raises what `read_adult` raises."""
    found = locate(root)
    read_adult(found)
    return found


def verify(root: Path | None = None) -> list[str]:
    """One line per file, for files that are the originals byte for byte; raises what `read_adult` raises otherwise."""
    found = locate(root)
    return [f"{name}: {len(rows):,} rows, SHA-256 {DIGESTS[name]}, the original file" for name, rows in read_adult(found).items()]


def info(root: Path | None = None) -> list[str]:
    """What the files hold: rows, classes, sizes of the sensitive groups, missing cells, digests. Edited copies are shown too."""
    found = locate(root)
    lines = [f"UCI Adult in {found}"]
    for name, digest in digests(found).items():
        rows = read_adult(found, check_digests=False)[name]
        missing = rows == MISSING
        by_column = ", ".join(f"{column} {count:,}" for column, count in missing.sum().items() if count)
        lines += [
            f"{name}: {len(rows):,} rows; SHA-256 {digest} ({'the original' if digest == DIGESTS[name] else 'NOT the original'})",
            *(f"  {column}: {_counts(rows[column])}" for column in ("income", "sex", "race")),
            f"  >50K by sex: {_rates(rows, 'sex')}; by race: {_rates(rows, 'race')}",
            f"  missing cells: {int(missing.sum().sum()):,} in {int(missing.any(axis=1).sum()):,} rows ({by_column})",
        ]
    return lines


def _counts(column: pd.Series) -> str:
    return ", ".join(f"{value} {count:,} ({count / len(column):.1%})" for value, count in column.value_counts().items())


def _rates(rows: pd.DataFrame, column: str) -> str:
    rates = (rows["income"] == INCOMES[1]).groupby(rows[column]).mean()
    return ", ".join(f"{value} {rate:.1%}" for value, rate in rates.items())
