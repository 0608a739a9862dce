"""A record as a page: the table in the paper's shape with the paper's numbers beside ours, in Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from contextssl.evaluation.readouts import VALUE_METRICS
from contextssl.files import write_text
from contextssl.reporting import markdown, names, page
from contextssl.reporting.document import Block, CaptionedTable, Document, Notices, Paragraph, Section
from contextssl.reporting.tables import Cell, Table
from contextssl.reproduction.record import Record, as_json

BEST, DIFFERENT = "¹", "*"


def write_pages(record: Record, folder: Path, name: str) -> Path:
    """Write `name`.json, .md and .html into the folder, each at once; returns the path of the HTML file."""
    document = compose(record)
    write_text(folder / f"{name}.json", as_json(record))
    write_text(folder / f"{name}.md", markdown.to_page(document))
    write_text(folder / f"{name}.html", page.to_page(document))
    return folder / f"{name}.html"


def compose(record: Record) -> Document:
    """The record as a document."""
    sections = [Section(block["title"], tuple(_block_parts(record, block))) for block in record["blocks"]]
    if record["learning_rates"]:
        sections.append(_rates(record))
    sections.append(_runs(record))
    subtitle = f"{record['source']} · scale {record['scale']} · {len(record['seeds'])} seeds"
    return Document(record["title"], subtitle, tuple(_opening(record)), tuple(sections))


def _opening(record: Record) -> Iterator[Block]:
    if lines := [*_unfinished(record), *(f"{name} failed: {why}" for name, why in record["failed"].items())]:
        yield Notices(tuple(lines))
    yield Paragraph(" ".join(part for part in (record["about_scale"], record["note"]) if part))
    yield Paragraph(
        f"Mean ± standard deviation over training seeds. {BEST} best of its column; {DIFFERENT} differs by more than noise, the 95 % "
        "interval of the difference over seeds leaving out zero: from the best of its column, or, in a table by context length, from "
        "the shortest context of its line. Seeds are paired.",
        "note",
    )


def _unfinished(record: Record) -> Iterator[str]:
    if not record["complete"]:
        missing = record["missing"]
        shown = names.join(missing[:4]) if len(missing) <= 4 else f"{', '.join(missing[:3])} and {len(missing) - 3} more"
        yield f"**This table is not complete.** Still to come: {shown}. The same command goes on."


def _block_parts(record: Record, block: Record) -> Iterator[Block]:
    yield CaptionedTable(block_table(block), _caption(block))
    if block["note"]:
        yield Paragraph(block["note"], "note")
    shown = {(cell["probe"], cell["metric"]) for line in block["lines"] for cell in line["cells"]}
    for metric in VALUE_METRICS:
        if any(kind in VALUE_METRICS for _, kind in shown) and (found := other_table(block, metric=metric)) is not None:
            yield CaptionedTable(found, f"The same as {names.metric_name(metric)}.")
    if (found := other_table(block, suffix="-standardised")) is not None:
        yield CaptionedTable(found, "The same, read from standardised inputs.")


def _caption(block: Record) -> str:
    read: dict[str, str] = {}
    for place, column in enumerate(block["columns"]):
        cells = [line["cells"][place] for line in block["lines"]]
        probes = [names.probe_name(probe) for probe in dict.fromkeys(cell["probe"] for cell in cells) if probe != "-"]
        what = ", ".join([names.metric_name(cells[0]["metric"]), *([names.join(probes, "or")] if probes else [])])
        read.setdefault(column["label"], f"{column['label']}: {what}")
    return "; ".join(read.values()) + "."


def block_table(block: Record) -> Table:
    """The headline table: published numbers in columns beside ours, or in lines below ours where there are context lengths."""
    below = any(column["length"] is not None for column in block["columns"])
    heads = [_heading(column) for column in block["columns"]]
    floors = [_floor(block, place) for place in range(len(heads))]
    if below:
        columns = tuple(heads)
        rows = [line for number in range(len(block["lines"])) for line in _two_lines(block, number)]
        rows.append((("constant predictor", "", ""), tuple(floors)))
    else:
        columns = tuple((*head, whose) for head in heads for whose in ("ours", "paper"))
        rows = [(_labels(line), tuple(_pairs(block, line))) for line in block["lines"]]
        rows.append((("constant predictor", ""), tuple(cell for floor in floors for cell in (floor, Cell()))))
    corner = ("method", "told", "from") if below else ("method", "told")
    return Table(corner, columns, tuple(labels for labels, _ in rows), tuple(cells for _, cells in rows))


def _two_lines(block: Record, place: int) -> Iterator[tuple[tuple[str, ...], tuple[Cell, ...]]]:
    line = block["lines"][place]
    percents = [column["percent"] for column in block["columns"]]
    yield (
        (*_labels(line), "ours"),
        tuple(_ours(cell, percent) for cell, percent in zip(line["cells"], percents, strict=True)),
    )
    if any(cell["published"] is not None for cell in line["cells"]):
        yield (*_labels(line), "paper"), tuple(Cell(cell["published"]) for cell in line["cells"])


def _pairs(block: Record, line: Record) -> Iterator[Cell]:
    for column, cell in zip(block["columns"], line["cells"], strict=True):
        yield _ours(cell, column["percent"])
        yield Cell(cell["published"])


def other_table(block: Record, metric: str | None = None, suffix: str = "") -> Table | None:
    """The table with another metric or probe wherever one was measured; None when no cell has it."""
    places = [
        place
        for place in range(len(block["columns"]))
        if any(_other(line["cells"][place], metric, suffix) for line in block["lines"])
    ]
    if not places:
        return None
    factors = [100 if column["percent"] else 1 for column in block["columns"]]
    rows = [
        (_labels(line), tuple(_cell(_other(line["cells"][place], metric, suffix), factors[place]) for place in places))
        for line in block["lines"]
    ]
    floors = [next(filter(None, (_other(line["cells"][place], metric, suffix) for line in block["lines"]))) for place in places]
    rows.append(
        (
            ("constant predictor", ""),
            tuple(_scaled(found["floor"], factors[place]) for place, found in zip(places, floors, strict=True)),
        )
    )
    columns = tuple(_heading(block["columns"][place]) for place in places)
    return Table(("method", "told"), columns, tuple(labels for labels, _ in rows), tuple(cells for _, cells in rows))


def _other(cell: Record, metric: str | None, suffix: str) -> Record | None:
    wanted = (cell["probe"] + suffix, cell["metric"] if metric is None else metric)
    if metric is not None and cell["metric"] not in VALUE_METRICS:
        return None
    return next((found for found in cell["others"] if (found["probe"], found["metric"]) == wanted), None)


def _heading(column: Record) -> tuple[str, ...]:
    told = f", {names.environment_name(column['environment'])}" if column["environment"] else ""
    return (column["label"] + told, "" if column["length"] is None else f"c = {column['length']}")


def _labels(line: Record) -> tuple[str, ...]:
    return (line["label"], line["line"] or names.join(line["groups"]) or "nothing")


def _ours(cell: Record, percent: bool) -> Cell:
    against = cell["against"]
    mark = BEST if cell["best"] else DIFFERENT if against is not None and against["beyond_noise"] else ""
    return _cell(cell["shown"], 100 if percent else 1, mark)


def _cell(found: Record | None, factor: int = 1, mark: str = "") -> Cell:
    """Mean ± standard deviation over seeds; of a single seed the mean alone."""
    if found is None or found["mean"] is None:
        return Cell()
    mean, sd = factor * found["mean"], found["sd"]
    if sd is None or found["num_seeds"] < 2:
        return Cell(mean, mark=mark)
    return Cell(mean, mean - factor * sd, mean + factor * sd, mark)


def _floor(block: Record, place: int) -> Cell:
    found = [line["cells"][place]["shown"] for line in block["lines"]]
    floor = next((one["floor"] for one in found if one and one["floor"] is not None), None)
    return _scaled(floor, 100 if block["columns"][place]["percent"] else 1)


def _scaled(value: float | None, factor: int) -> Cell:
    return Cell(None if value is None else factor * value)


def _rates(record: Record) -> Section:
    labels = {line["row"]: line["label"] + _of(line) for block in record["blocks"] for line in block["lines"]}
    rates = list(dict.fromkeys(rate for choice in record["learning_rates"].values() for rate in choice["scores"]))
    rows = [(labels.get(key, key), f"{choice['rate']:g}") for key, choice in record["learning_rates"].items()]
    cells = [tuple(Cell(choice["scores"].get(rate)) for rate in rates) for choice in record["learning_rates"].values()]
    table = Table(("method", "chosen"), tuple((rate,) for rate in rates), tuple(rows), tuple(cells))
    what = names.join(
        [f"{one['label']} ({names.metric_name(one['metric'])}, {names.probe_name(one['probe'])})" for one in record["score"]]
    )
    text = (
        f"Every method was trained with the same candidates and the first seed. The score, on validation items, is the mean of {what}: "
        "of the groups a method is told, or of all groups where it is told none."
    )
    return Section("Learning rates", (Paragraph(text), CaptionedTable(table, "Scores of the candidates.")))


def _of(line: Record) -> str:
    return f", {names.join(line['groups'])}" if line["groups"] else ""


def _runs(record: Record) -> Section:
    environment = record["environment"]
    machine = names.join([*environment["gpus"]]) if environment["gpus"] else environment["processor"]
    spans = {
        verb: _span([value for clock in record["seconds"].values() for value in clock.get(verb, [])])
        for verb in ("train", "evaluate")
    }
    text = f"`{' '.join(record['command'])}` on {machine}, {environment['num_cpus']} cores."
    if spans["train"]:
        text += f" A run took {spans['train']} s to train and {spans['evaluate']} s to evaluate."
    return Section("How it was made", (Paragraph(text),))


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.0f} to {max(values):.0f}" if values else ""
