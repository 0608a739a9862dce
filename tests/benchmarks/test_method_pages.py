"""The methods' pages: their numbers are those of the stored record, each page has its own lines, and none is forgotten."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from test_dependencies import METHODS

from contextssl.commands.configuration import configs_folder
from contextssl.evaluation.results import Result
from contextssl.reproduction import record as records
from contextssl.reproduction.tables import PaperTable

OWN = {"context_classifier", "label_tokens"}  # not compared with these; docs/results/label_shift.md


@pytest.fixture
def method_pages(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("method_pages")


@pytest.fixture(scope="module")
def table() -> PaperTable:
    content = yaml.safe_load((configs_folder() / "reproduce/paper/table1.yaml").read_text())
    return PaperTable.read(content, "paper/table1")


def planted(table: PaperTable) -> dict[str, object]:
    """A record in which row number n has R² n / 100 + .001, seed by seed a little more."""
    results = {
        row.key: [
            Result(f"{reading.protocol}/1", reading.target, reading.probe, reading.metric, environment, control, length, 0, seed,
                   "test", number / 100 + 0.001 + 0.0002 * seed, 0.0, method=row.key)
            for seed in range(3)
            for name, reading in table.readings.items()
            if not name.startswith("validation")
            for environment, control, length in [("-", "-", 0), ("-", "empty", 0), ("rotation", "true", 126), ("color", "true", 126)]
        ]
        for number, row in enumerate(table.rows, start=1)
    }  # fmt: skip
    return {
        "title": table.title, "source": table.source, "note": table.note, "scale": "mini", "about_scale": "Small.",
        "command": ["contextssl", "reproduce", "paper/table1"], "complete": True, "seeds": [0, 1, 2], "blocks": records.blocks(table, results),
    }  # fmt: skip


def shown_rows(text: str) -> list[str]:
    """First two labels of every line of the tables."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")][:2] for line in text.splitlines() if line.startswith("|")]
    return [" / ".join(cells) for cells in lines]


def test_a_page_shows_its_own_lines_and_the_references(method_pages: ModuleType, table: PaperTable) -> None:
    record = planted(table)
    text = method_pages.section(record, method_pages.SHOWN["sie"])
    rows = [row for row in shown_rows(text) if re.match(r"\**(SimCLR|SIE|EquiMOD|SEN|ContextSSL|VICReg)", row)]
    assert rows == [
        "SimCLR / nothing", "SIE / rotation and color", "SIE / rotation", "SIE / color", "ContextSSL / features, no context",
    ]  # fmt: skip
    keys = [row.key for row in table.rows]
    for key in ("sie", "sie_rotation", "sie_color", "simclr", "context_ssl"):
        assert f"{(keys.index(key) + 1) / 100 + 0.0012:.3f} ± ".lstrip("0") in text, key
    assert f"{(keys.index('vicreg') + 1) / 100 + 0.0012:.3f} ± ".lstrip("0") not in text
    assert ".671" in text and "Small." in text and "3 training seeds" in text  # the paper's number beside ours


def test_curves_by_context_are_on_the_pages_that_have_them(method_pages: ModuleType, table: PaperTable) -> None:
    record = planted(table)
    texts = {name: method_pages.section(record, shown) for name, shown in method_pages.SHOWN.items() if name != "seq_jepa"}
    assert {name for name, text in texts.items() if "c = 126" in text} == {"index", "context_ssl"}
    assert all(label in texts["index"] for label in ("VICReg+", "SEN", "SIE", "EquiMOD", "ContextSSL"))
    assert all("not among the rows" in texts[name] and "|" not in texts[name] for name in ("byol", "aug_self"))
    assert "not complete" not in texts["index"]
    assert "not complete" in method_pages.section(record | {"complete": False}, method_pages.SHOWN["simclr"])


def test_every_line_of_the_table_has_a_page_and_every_page_a_line(method_pages: ModuleType, table: PaperTable) -> None:
    named = [key for shown in method_pages.SHOWN.values() if shown.file == "table1_mini.json" for key in shown.rows or ()]
    assert sorted(named) == sorted(row.key for row in table.rows)
    rows = yaml.safe_load((configs_folder() / "reproduce/seq_jepa/table.yaml").read_text())["rows"]
    keys = {row["key"] for row in rows if isinstance(row, dict)}
    assert set(method_pages.SHOWN["seq_jepa"].rows) == keys


def test_every_method_and_config_has_a_page(method_pages: ModuleType) -> None:
    pages = {path.stem: path.read_text() for path in method_pages.PAGES.glob("*.md")}
    assert set(pages) == set(method_pages.SHOWN)
    for method in METHODS - OWN:
        (page,) = [name for name, text in pages.items() if f"`contextssl/methods/{method}.py`" in text]
        assert pages[page].count("## How it compares here\n") == 1
    for config in re.findall(r"method=([\w/]+)", "".join(pages.values())):
        assert (configs_folder() / "method" / f"{config}.yaml").is_file(), config


def test_filling_replaces_what_stands_there_and_says_what_is_missing(
    method_pages: ModuleType, table: PaperTable, tmp_path: Path
) -> None:
    for name in method_pages.SHOWN:
        (tmp_path / f"{name}.md").write_text("before\n<!-- compared:begin -->\nold .123\n<!-- compared:end -->\nafter\n")
    method_pages.main(tmp_path, tmp_path)
    page = (tmp_path / "sen.md").read_text()
    assert "Not measured yet. `contextssl reproduce paper/table1 scale=mini seeds=3`" in page and ".123" not in page
    (tmp_path / "table1_mini.json").write_text(json.dumps(planted(table)))
    method_pages.main(tmp_path, tmp_path)
    first = {path.name: path.read_text() for path in tmp_path.glob("*.md")}
    method_pages.main(tmp_path, tmp_path)
    assert first == {path.name: path.read_text() for path in tmp_path.glob("*.md")}
    assert "Not measured" not in first["sen.md"] and "± " in first["sen.md"]
    assert first["sen.md"].startswith("before\n") and first["sen.md"].endswith("after\n")
    assert "seq_jepa/table" in first["seq_jepa.md"]


def test_the_pages_show_the_stored_numbers(method_pages: ModuleType, tmp_path: Path) -> None:
    """Else: python benchmarks/method_pages.py."""
    pages = {name: (method_pages.PAGES / f"{name}.md").read_text() for name in method_pages.SHOWN}
    for name, text in pages.items():
        (tmp_path / f"{name}.md").write_text(text)
    method_pages.main(tmp_path)
    assert pages == {name: (tmp_path / f"{name}.md").read_text() for name in method_pages.SHOWN}
