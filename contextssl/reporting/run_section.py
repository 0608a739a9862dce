"""The sections of a report that say how the numbers came about: training, data, configuration, how to do it again."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from contextssl.reporting import figures
from contextssl.reporting.document import Block, CaptionedTable, Figure, Listing, Paragraph, Section
from contextssl.reporting.number_format import number
from contextssl.reporting.results_section import panel
from contextssl.reporting.run_folder import RunFolder
from contextssl.reporting.tables import Table

Series = dict[str, tuple[Sequence[float], Sequence[float]]]

_NOT_PLOTTED = frozenset({"step", "epoch", "seconds", "time"})


def training_section(folder: RunFolder, note: str | None) -> Section | None:
    """Loss, its terms, and everything else that was logged, against the step."""
    if not folder.metrics:
        return None
    panels = [
        panel(
            f"training-{name.replace('/', '-').replace('_', '-')}",
            f"{title} against the training step",
            figures.training_curves(title, series, note),
        )
        for name, title, series in training_series(folder.metrics)
    ]
    steps = folder.metrics[-1]["step"]
    if not panels:
        return Section("Training", (Paragraph(f"{steps:,} steps; nothing but the step was logged."),))
    return Section(
        "Training", (Figure(tuple(panels), f"Training over {steps:,} steps; terms are weighted, so that they sum to the loss."),)
    )


def training_series(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, Series]]:
    """(name, title, lines) of each training panel: terms of one total share a panel, all else has its own."""
    series: Series = {}
    for key in dict.fromkeys(key for row in metrics for key in row):
        rows = [row for row in metrics if isinstance(row.get(key), int | float) and not isinstance(row.get(key), bool)]
        if key not in _NOT_PLOTTED and rows:
            series[key] = ([row["step"] for row in rows], [float(row[key]) for row in rows])
    found = []
    for key, line in series.items():
        total = key.rpartition("/")[0]
        if total in series:
            continue
        terms = {
            other.rpartition("/")[2].replace("_", " "): values
            for other, values in series.items()
            if other.rpartition("/")[0] == key
        }
        name = "learning rate" if key == "lr" else key.removeprefix("train/").rpartition("/")[2].replace("_", " ")
        found.append((key, name, {"total": line, **terms} if terms else {name: line}))
    return found


def collapse_cautions(folder: RunFolder) -> list[str]:
    """Warnings of the log, and signs of collapse in the last diagnostics."""
    found = [f"The log warns: {line}." if not line.endswith(".") else f"The log warns: {line}" for line in folder.warnings]
    ranks = [float(row["diagnostics/effective_rank"]) for row in folder.metrics if "diagnostics/effective_rank" in row]
    if ranks and (not math.isfinite(ranks[-1]) or ranks[-1] < 2):
        found.append(f"Embeddings had collapsed at the end of training: their effective rank was {number(ranks[-1])}.")
    return found


def data_section(folder: RunFolder) -> Section:
    """The manifest, entry by entry; what is itself a text, like the flow of a cohort, stands below."""
    texts = {key: value for key, value in folder.manifest.items() if _is_text(value)}
    entries = _entries({key: value for key, value in folder.manifest.items() if key not in texts})
    blocks: list[Block] = [CaptionedTable(entries, "What the numbers were measured on, as the run recorded it.")]
    return Section(
        "Data", (*blocks, *(Listing("\n".join(lines), key.replace("_", " ").capitalize()) for key, lines in texts.items()))
    )


def configuration_section(folder: RunFolder) -> Section:
    """The resolved configuration and the machine."""
    blocks: list[Block] = [Listing(folder.config_text, "Resolved configuration")]
    blocks.append(CaptionedTable(_entries(folder.environment), "Versions and hardware."))
    return Section("Configuration and environment", tuple(blocks))


def reproduction_section(folder: RunFolder) -> Section:
    """The commands that make these numbers again."""
    commit, command = folder.environment.get("commit"), folder.environment.get("command")
    lines = [f"git checkout {commit}"] if commit else []
    if command:
        lines.append(command if isinstance(command, str) else shlex.join(map(str, command)))
    lines += ["contextssl evaluate run=RUN", "contextssl report run=RUN"]
    blocks: list[Block] = [Listing("\n".join(lines)), Paragraph("`RUN` is the folder that the training command prints.", "note")]
    if not command:
        blocks.append(Paragraph("The training command was not recorded: start from the resolved configuration above.", "note"))
    return Section("How to reproduce", tuple(blocks))


def _is_text(value: object) -> bool:
    """Whether it is a list of lines, which spaces align, and not of names."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(line, str) and "  " in line for line in value[:2])


def _entries(content: Mapping[str, Any]) -> Table:
    """Named entries as a table; nested ones are told by all their names."""
    rows = tuple((name.replace("_", " "), value) for name, value in _flattened(content))
    return Table(("entry", "value"), (), rows, ((),) * len(rows))


def _flattened(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            found += _flattened(value, f"{prefix}{key}, ")
        else:
            found.append((f"{prefix}{key}", _said(value)))
    return found


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else "none" if value in (None, {}) else json.dumps(value)
