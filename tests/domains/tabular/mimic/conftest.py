"""Small folders of generated files for all tests of this folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from domains.tabular.mimic.generated import generate

Rows = list[dict[str, str]]
Change = Callable[[Rows], None]


@pytest.fixture(scope="session")
def generated_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of 300 generated patients, events included; nobody writes into it."""
    return generate(tmp_path_factory.mktemp("mimic") / "files", num_patients=300, seed=3)


@pytest.fixture
def altered(generated_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """From a table and a change of its rows to a folder with the changed table and the others, `real` or marked as generated."""

    def make(name: str, change: Change, real: bool = True) -> Path:
        folder = tmp_path / "altered"
        if not folder.exists():
            folder.mkdir()
            for path in generated_folder.glob("*.csv"):
                (folder / path.name).symlink_to(path)
        rows = read_rows(folder / f"{name}.csv")
        columns = list(rows[0])
        change(rows)
        (folder / f"{name}.csv").unlink()
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        if not real:
            (folder / "GENERATED").touch()
        return folder

    return make


def read_rows(path: Path) -> Rows:
    """The rows of a CSV file as strings."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def rows_of(generated_folder: Path) -> Iterator[Callable[[str], Rows]]:
    """From a table's name to its rows as strings."""
    yield lambda name: read_rows(generated_folder / f"{name}.csv")
