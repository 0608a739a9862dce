"""The report of a run: `report.md`, `report.html` and `figures/`, made from the files of its folder alone."""

from __future__ import annotations

from pathlib import Path

from contextssl.files import write_bytes, write_text
from contextssl.reporting import headline, markdown, names, page
from contextssl.reporting.document import Block, Document, Notices, Paragraph
from contextssl.reporting.results_section import (
    comparison_section,
    controls_section,
    curves_section,
    pictures_section,
    tables_section,
)
from contextssl.reporting.run_folder import RunFolder, read_run
from contextssl.reporting.run_section import (
    collapse_cautions,
    configuration_section,
    data_section,
    reproduction_section,
    training_section,
)
from contextssl.reporting.summary import Study

STAND_IN_NOTE = "stand-in data"


def write_report(run: Path) -> Path:
    """Write `figures/*.svg|png`, `report.md` and `report.html` into a run folder; returns the path of the HTML file.

    Equal run folders give equal bytes, wherever they stand. Raises what `read_run` raises, and writes nothing then.
    """
    document = compose(read_run(run))
    for panel in document.panels:
        write_text(run / "figures" / f"{panel.name}.svg", panel.svg)
        write_bytes(run / "figures" / f"{panel.name}.png", panel.png)
    write_text(run / "report.md", markdown.to_page(document))
    write_text(run / "report.html", page.to_page(document))
    return run / "report.html"


def compose(folder: RunFolder) -> Document:
    """The report as a document."""
    study = Study.of(folder.results)
    note = STAND_IN_NOTE if folder.stand_in else None
    sections = [training_section(folder, note), data_section(folder), configuration_section(folder), reproduction_section(folder)]
    if study is not None:
        sections = [
            curves_section(study, folder.pictures, note) or pictures_section(folder.pictures),
            comparison_section(study, note),
            controls_section(study),
            tables_section(study),
            *sections,
        ]
    return Document(_title(folder, study), _subtitle(folder, study), _opening(folder, study), tuple(filter(None, sections)))


def _title(folder: RunFolder, study: Study | None) -> str:
    method = names.method_name(study.method) if study else "A training run"
    return f"{method} on {folder.manifest.get('name', 'unnamed data')}"


def _subtitle(folder: RunFolder, study: Study | None) -> str:
    commit = str(folder.environment.get("commit") or "")[:10]
    parts = []
    if study is not None:
        parts.append(headline.counted(study))
    if folder.metrics:
        parts.append(f"{folder.metrics[-1]['step']:,} steps")
    if commit:
        parts.append(f"commit {commit}" + (" with uncommitted changes" if folder.environment.get("dirty") else ""))
    return " · ".join(parts) or "nothing measured yet"


def _opening(folder: RunFolder, study: Study | None) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if folder.stand_in:
        source = folder.manifest.get("source", "not stated")
        blocks.append(
            Notices(
                (f"**Stand-in data.** Every number below comes from generated data, not from real ones (source: {source}).",),
                "stand-in",
            )
        )
    if study is None:
        why = (
            "The evaluation of this run left nothing to report."
            if folder.evaluated
            else "This run has not been evaluated yet: there are no results to report. `contextssl evaluate run=RUN` makes them."
        )
        blocks.append(Paragraph(why, "lead"))
    else:
        blocks.append(Paragraph(headline.question(study), "lead"))
        blocks += [Paragraph(answer) for answer in headline.answers(study)]
    cautions = collapse_cautions(folder) + (headline.cautions(study) if study else [])
    if folder.environment.get("dirty"):
        cautions.append("The code had uncommitted changes: the commit alone does not reproduce these numbers.")
    if cautions:
        blocks.append(Notices(tuple(cautions)))
    return tuple(blocks)
