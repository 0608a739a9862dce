"""Fill the tables of docs/methods/*.md from the records of reproduced tables; `python benchmarks/method_pages.py` runs it.

A record is the JSON file that `contextssl reproduce` writes. Where one is not there yet, pages say so.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from runs import ROOT, Record, filled

from contextssl.files import write_text
from contextssl.reporting.tables import to_markdown
from contextssl.reproduction.pages import BEST, DIFFERENT, block_table

PAGES = ROOT / "docs/methods"
RESULTS = ROOT / "benchmarks/results"
COMMANDS = {
    "table1_mini.json": "contextssl reproduce paper/table1 scale=mini seeds=3",
    "table5_mini.json": "contextssl reproduce paper/table5 scale=mini seeds=3",
    "seq_jepa_mini.json": "contextssl reproduce seq_jepa/table scale=mini seeds=3",
}
REFERENCES = ("simclr", "context_ssl")


@dataclass(frozen=True)
class Shown:
    """What a page shows.

    Attributes:
        rows: keys of its own lines; those of `REFERENCES` stand beside them. All lines when None.
        file: name of the record.
    """

    rows: Collection[str] | None
    file: str = "table1_mini.json"


def told(key: str) -> Shown:
    """A method that is told all groups or one of them."""
    return Shown((key, f"{key}_rotation", f"{key}_color"))


SHOWN = {
    "index": Shown(None),
    "context_ssl": Shown(("context_ssl",)),
    "simclr": Shown(("simclr",)),
    "vicreg": Shown(("vicreg",)),
    "equimod": told("equimod"),
    "sen": told("sen"),
    "sie": told("sie"),
    "plus": Shown(("simclr_plus_alone", "simclr_plus", "simclr_plus_masked", "vicreg_plus_alone")),
    "seq_jepa": Shown(("seq_jepa_1", "seq_jepa_3", "seq_jepa_3_untold"), "seq_jepa_mini.json"),
    "aug_self": Shown(()),
    "byol": Shown(()),
}


def section(record: Record | None, shown: Shown) -> str:
    """What stands between a page's markers; `record` is None where it is not there yet."""
    if shown.rows is not None and not shown.rows:
        return "Not measured yet: this method is not among the rows of the tables that are reproduced.\n"
    if record is None:
        return f"Not measured yet. `{COMMANDS[shown.file]}` measures it.\n"
    tables = [to_markdown(block_table(block)) for block in blocks_with(record, shown.rows)]
    return "\n".join([caption(record), *tables]) if tables else "Not measured yet: the stored table has no line of this method.\n"


def blocks_with(record: Record, rows: Collection[str] | None) -> list[Record]:
    """The blocks that have one of these rows, with these lines and those of the references alone."""
    if rows is None:
        return list(record["blocks"])
    wanted = {*rows, *REFERENCES}
    return [
        block | {"lines": [line for line in block["lines"] if line["row"] in wanted]}
        for block in record["blocks"]
        if any(line["row"] in rows for line in block["lines"])
    ]


def caption(record: Record) -> str:
    """What the numbers are."""
    unfinished = "" if record["complete"] else "**The table is not complete yet.** "
    return (
        f"{unfinished}{record['title']} ({record['source']}), scale {record['scale']}: {record['about_scale']} {record['note']} Mean ± "
        f"standard deviation over {len(record['seeds'])} training seeds. {BEST} best of its column in the whole table; {DIFFERENT} "
        "differs by more than noise from it, or, by context length, from the shortest context of its line. Made by "
        f"`{' '.join(record['command'])}`.\n"
    )


def main(pages: Path = PAGES, results: Path = RESULTS) -> None:
    """Write all pages."""
    records = {name: json.loads((results / name).read_text()) if (results / name).is_file() else None for name in COMMANDS}
    for name, shown in SHOWN.items():
        page = pages / f"{name}.md"
        write_text(page, filled(page.read_text(), {"compared": section(records[shown.file], shown)}))


if __name__ == "__main__":
    main()
