"""From benchmarks/results/adult.json to the tables and the figure; `python benchmarks/adult.py --tables` calls it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from runs import ROOT, Record, cell, filled

from contextssl.evaluation.intervals import KEY
from contextssl.files import write_text
from contextssl.reporting import figures, style
from contextssl.reporting.names import EMPTY, method_name, metric_name, probe_name
from contextssl.reporting.summary import NUMBERS, Readout, Study
from contextssl.reporting.tables import Table, to_markdown

FIGURE = ROOT / "docs/figures/adult.svg"
PAGES = (ROOT / "README.md", ROOT / "docs/results/adult.md")

MAIN, SIMCLR, BASELINES = "adult_sex", "adult_sex_simclr", "baselines"
EXPERIMENTS = (MAIN, "adult_sex_presence", "adult_sex_matched", "adult_sex_flip", SIMCLR)
LONGEST = 126


class Line(NamedTuple):
    """One line of a table: where its numbers stand in the record."""

    label: str
    experiment: str
    method: str
    environment: str
    control: str
    length: int
    income_probe: str = "linear-standardised"


ODDS = "equalized_odds_difference(sex)"
INCOME_COLUMNS = ("accuracy", "auroc", ODDS)
SEX_PROBES = ("linear", "linear-standardised", "mlp-standardised", "boosting", "knn-10")
CONTEXTS = (
    ("told nothing (invariant)", "none", "true", LONGEST),
    ("told sex (equivariant)", "sex", "true", LONGEST),
    ("told shuffled sex", "sex", "shuffled", LONGEST),
    ("no context", "-", "empty", 0),
    ("encoder features", "-", "-", 0),
)
BASELINE_LINES = tuple(
    Line(f"{name}, {columns}", BASELINES, method, "-", "-", 0, probe)
    for (columns, method), (name, probe) in product(
        (
            ("all columns", "columns"),
            ("without sex", "columns-without-sensitive"),
            ("CorrelationRemover", "correlation-remover-1"),
            ("CorrelationRemover at 0.7", "correlation-remover-0.7"),
        ),
        (("logistic regression", "linear-standardised"), ("gradient boosting", "boosting")),
    )
) + (Line("majority", BASELINES, "majority", "-", "-", 0),)
PLAINEST = (
    "logistic regression, all columns",
    "gradient boosting, all columns",
    "logistic regression, without sex",
    "logistic regression, CorrelationRemover",
    "majority",
)
_PLACE = ("experiment", "method", "environment", "control", "context_length", "target", "probe", "metric")


def main_lines() -> list[Line]:
    """The main experiment in all contexts, SimCLR, and the plainest of the baselines."""
    own = [
        Line(f"{label}, c = {length}" if length else label, MAIN, "context_ssl", environment, control, length)
        for label, environment, control, length in CONTEXTS
    ]
    simclr = Line("SimCLR features, same pairs and budget", SIMCLR, "simclr", "-", "-", 0)
    return [*own, simclr, *(line for line in BASELINE_LINES if line.label in PLAINEST)]


def experiment_lines() -> list[Line]:
    """All contextual experiments after the longest contexts, and after none."""
    return [
        Line(f"`{experiment}`, {label}", experiment, "context_ssl", environment, control, length)
        for experiment in EXPERIMENTS
        if experiment != SIMCLR
        for label, environment, control, length in CONTEXTS[:4]
    ]


def table(rows: Sequence[Record], lines: Sequence[Line]) -> str:
    """A Markdown table, mean ± standard deviation over seeds; lines that were not measured are left out."""
    found = {tuple(row[name] for name in _PLACE): row for row in rows}
    labels, cells = [], []
    for line in lines:
        wanted = [("income", line.income_probe, metric) for metric in INCOME_COLUMNS]
        wanted += [("sex", probe, "auroc") for probe in SEX_PROBES]
        numbers = [found.get((*line[1:6], *readout)) for readout in wanted]
        if any(numbers):
            labels.append((line.label,))
            cells.append(tuple(cell(row) for row in numbers))
    columns = [(f"income {metric_name(metric)}",) for metric in INCOME_COLUMNS[:2]] + [(metric_name(ODDS.partition("(")[0]),)]
    columns += [(f"sex AUROC: {probe_name(probe)}",) for probe in SEX_PROBES]
    return to_markdown(Table(("",), tuple(columns), tuple(labels), tuple(cells)))


def caption(record: Record) -> str:
    """What the numbers of the tables are, and what they cost."""
    own = [row for row in record["results"] if row["experiment"] == MAIN]
    draws = max(row["num_draws"] // row["num_seeds"] for row in own)
    said = (
        f"{'Stand-in data, not the real ones. ' if record['data']['stand_in'] else ''}Test rows; mean ± standard deviation over "
        f"{len(record['seeds'])} training seeds, each the mean of {draws} context draws (boosting: of one). Income is read by "
        "logistic regression on standardised embeddings, sex by the probe that the column names; .500 is chance for AUROC. "
        "Lower is fairer for the difference and, where sex is not told, for sex AUROC."
    )
    clock = record["seconds"][MAIN]
    spent = " and ".join(f"{min(clock[verb]):.0f} to {max(clock[verb]):.0f} s {what}" for verb, what in _VERBS)
    return f"{said} One seed took {spent}, on one thread ({record['environment']['processor']})."


_VERBS = (("train", "to train"), ("evaluate", "to evaluate"))
PANELS = (
    Readout("sex", "linear-standardised", "auroc"),
    Readout("sex", "mlp-standardised", "auroc"),
    Readout("income", "linear-standardised", "accuracy"),
    Readout("income", "linear-standardised", "equalized_odds_difference"),
)


def figure(record: Record) -> str:
    """The main experiment's curves over context length as one SVG, two panels a line."""
    study, note = _study(record["results"]), "stand-in data" if record["data"]["stand_in"] else None
    svgs = [style.svg_of(figures.context_curves(study, readout, note)) for readout in PANELS]
    width, height = (72 * inches for inches in style.PANEL_INCHES)
    pieces = []
    for index, svg in enumerate(svgs):
        inner = re.sub(r'width="([\d.]+)pt" height="([\d.]+)pt"', r'width="\1" height="\2"', svg[svg.index("<svg") :], count=1)
        pieces.append(inner.replace("<svg", f'<svg x="{index % 2 * width:g}" y="{index // 2 * height:g}"', 1))
    size = (2 * width, math.ceil(len(svgs) / 2) * height)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]:g}pt" height="{size[1]:g}pt" viewBox="0 0 {size[0]:g} {size[1]:g}">'
    return head + "\n" + "".join(pieces) + "</svg>\n"


def _study(rows: Sequence[Record]) -> Study:
    """The main experiment as reports see it; the one attribute need not stand behind every metric."""
    frame = pd.DataFrame([row for row in rows if row["experiment"] == MAIN])
    frame["metric"] = frame["metric"].str.removesuffix("(sex)")
    frame.loc[frame["control"] == "empty", "environment"] = EMPTY
    frame = frame[[*KEY, *NUMBERS]].astype(dict.fromkeys(("mean", "low", "high", "floor"), float))
    return Study((), frame, "context_ssl")


def with_results(page: str, record: Record, figure_link: str) -> str:
    """The page with whatever stands between its markers replaced."""
    alternative = f"{method_name('context_ssl')} on UCI Adult: sex AUROC, income accuracy and equalized-odds difference against context length"
    sections: Mapping[str, str] = {
        "adult-figure": f"![{alternative}]({figure_link})\n",
        "adult": table(record["results"], main_lines()) + "\n" + caption(record) + "\n",
        "adult-baselines": table(record["results"], BASELINE_LINES),
        "adult-experiments": table(record["results"], experiment_lines()),
    }
    return filled(page, sections)


def show(record: Record, pages: Sequence[Path] = PAGES, figure_file: Path = FIGURE) -> None:
    """Write the figure and the tables of all pages."""
    write_text(figure_file, figure(record))
    for page in pages:
        link = Path(os.path.relpath(figure_file, page.parent)).as_posix()
        write_text(page, with_results(page.read_text(), record, link))
