"""From benchmarks/results/label_shift.json to the page and its figure; `python benchmarks/label_shift.py --tables` calls it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from label_shift_figure import examples
from label_shift_rows import COMPLEMENTS, LENGTHS, PERMUTED, SHIFTED, SINGLE, TITLES, Numbers
from method_pages import Shown, section
from runs import ROOT, Record, cell, filled

from contextssl.files import write_text
from contextssl.reporting.number_format import number
from contextssl.reporting.style import svg_of
from contextssl.reporting.tables import Cell, Table, to_markdown

PAGES = (ROOT / "README.md", ROOT / "docs/results/label_shift.md")
TABLE5 = ROOT / "benchmarks/results/table5_mini.json"
FIGURE = ROOT / "docs/figures/label_shift.svg"
R2_LENGTHS = (0, 2, 14, 126)
FIRST = 2  # tokens: the shortest context that holds a pair
NEAR = 0.02  # what the targets allow
MINUTES = 15  # for three seeds on two cores
CONTROLS = ("true", "contradictory", "other-split", "label-noise")


def target_table(numbers: Numbers) -> str:
    """What the study was to reach, what it reached, and whether that is enough."""
    lines = ["| target | experiment | measured | asked for | holds |", "| --- | --- | ---: | ---: | --- |"]
    for experiment in SINGLE:
        for what, measured, asked, holds in _targets(numbers, experiment):
            lines.append(f"| {what} | {TITLES[experiment]} | {measured} | {asked} | {'yes' if holds else 'no'} |")
    return "\n".join(lines if len(lines) > 2 else ["Not measured yet."]) + "\n"


def _targets(numbers: Numbers, experiment: str) -> Iterator[tuple[str, str, str, bool]]:
    """Target, measured, asked for, and whether it holds; nothing for what was not measured."""
    rules = SHIFTED[experiment]
    empty = [row["mean"] for rule in rules if (row := numbers.label(experiment, rule, 0)) is not None]
    plain = [row["mean"] for rule in rules if (row := numbers.label(f"{SINGLE[experiment]}/{rule}", rule, 0)) is not None]
    if len(empty) == len(plain) == len(rules):
        expected = 1.0 if experiment in COMPLEMENTS else sum(plain) / len(plain)
        what = "*c* = 0: the two accuracies sum to " + ("1" if experiment in COMPLEMENTS else "that of one fixed rule")
        yield what, number(sum(empty)), f"{number(expected)} ± {number(NEAR)}", abs(sum(empty) - expected) <= NEAR
    gaps = [gap for rule in rules for gap in _gaps(numbers, experiment, rule)]
    if len(gaps) == len(rules) * (len(LENGTHS) - 1):
        yield "from *c* = 2 on: largest shortfall from one fixed rule", number(max(gaps)), f"≤ {number(NEAR)}", max(gaps) <= NEAR
    if (minutes := numbers.minutes(experiment)) is not None:
        yield "minutes on two cores, all seeds", f"{minutes:.1f}", f"≤ {MINUTES}", minutes <= MINUTES


def accuracy_table(numbers: Numbers, metric: str = "accuracy") -> str:
    """Labels of the context's rule at every length, with the ideal observer and the reference with one fixed rule below."""
    lines: list[tuple[tuple[str, str, str], list[Cell]]] = []
    for experiment, rules in SHIFTED.items():
        for rule in rules:
            row = [cell(numbers.label(experiment, rule, length, metric=metric)) for length in LENGTHS]
            lines.append(((experiment, rule, "ours"), row))
            if metric != "accuracy":
                continue
            observer = [cell(numbers.label(experiment, rule, length, probe="observer")) for length in LENGTHS]
            lines.append(((experiment, rule, "ideal observer"), observer))
            if single := SINGLE.get(experiment):
                fixed = [cell(numbers.label(f"{single}/{rule}", rule, length)) for length in LENGTHS]
                lines.append(((experiment, rule, "one fixed rule"), fixed))
    columns = tuple((f"c = {length}",) for length in LENGTHS)
    return _table(("experiment", "context", "model"), columns, lines)


def control_table(numbers: Numbers) -> str:
    """Own and other rule's labels after contexts that lie, at the longest length; of permutations the mean of those trained on."""
    columns = tuple((control, whose) for control in CONTROLS for whose in ("own", "other"))
    lines = []
    for experiment, rules in SHIFTED.items():
        for rule, other in (rules, rules[::-1]):
            row = [
                cell(numbers.label(experiment, rule, LENGTHS[-1], control, read=read))
                for control in CONTROLS
                for read in (rule, other)
            ]
            lines.append(((experiment, rule), row))
    permuted = [one for control in CONTROLS for one in (numbers.permutations(control, "head", LENGTHS[-2]), Cell())]
    return _table(("experiment", "context"), columns, [*lines, ((PERMUTED, f"c = {LENGTHS[-2]}"), permuted)])


def group_table(numbers: Numbers) -> str:
    """What is kept of both groups after contexts of either rule."""
    columns = tuple((f"{group} R²", f"c = {length}") for group in ("rotation", "color") for length in R2_LENGTHS)
    experiment = "supervised/label_shift"
    lines = [
        ((told,), [cell(numbers.r2(experiment, told, group, length)) for group in ("rotation", "color") for length in R2_LENGTHS])
        for told in SHIFTED[experiment]
    ]
    return _table(("context",), columns, lines)


def permutation_table(numbers: Numbers) -> str:
    """Permutations that were and were not trained on, against the ideal observer."""
    lines = [
        ((which, model), [numbers.permutations(control, probe, length) for length in LENGTHS[:-1]])
        for which, control in (("trained on", "true"), ("never seen", "unseen-rule"))
        for model, probe in (("ours", "head"), ("ideal observer", "observer"))
    ]
    return _table(("permutations", "model"), tuple((f"c = {length}",) for length in LENGTHS[:-1]), lines)


def distance_table(numbers: Numbers) -> str:
    """By how much each rule falls short of the reference with one fixed rule, at worst, from the first pair on."""
    lines = []
    for experiment in SINGLE:
        for rule in SHIFTED[experiment]:
            gaps = _gaps(numbers, experiment, rule)
            lines.append(((experiment, rule), [Cell(max(gaps)) if gaps else Cell()]))
    return _table(("experiment", "context"), (("largest shortfall",),), lines)


def _gaps(numbers: Numbers, experiment: str, rule: str) -> list[float]:
    """How much less accurate than the reference, at every length that shows a pair and was measured."""
    found = []
    for length in (length for length in LENGTHS if length >= FIRST):
        own, fixed = numbers.label(experiment, rule, length), numbers.label(f"{SINGLE[experiment]}/{rule}", rule, length)
        if own is not None and fixed is not None:
            found.append(fixed["mean"] - own["mean"])
    return found


def _table(
    corner: tuple[str, ...], columns: tuple[tuple[str, ...], ...], lines: Sequence[tuple[tuple[str, ...], list[Cell]]]
) -> str:
    shown = [(labels, cells) for labels, cells in lines if any(one.mean is not None for one in cells)]
    if not shown:
        return "Not measured yet.\n"
    return to_markdown(Table(corner, columns, tuple(labels for labels, _ in shown), tuple(tuple(cells) for _, cells in shown)))


TABLES: dict[str, Callable[[Numbers], str]] = {
    "label-shift-targets": target_table,
    "label-shift": accuracy_table,
    "label-shift-distance": distance_table,
    "label-shift-calibration": lambda numbers: accuracy_table(numbers, "ece"),
    "label-shift-controls": control_table,
    "label-shift-groups": group_table,
    "label-shift-permutations": permutation_table,
}


def show(record: Record, pages: Sequence[Path] = PAGES, figure: Path = FIGURE) -> None:
    """Write the figure, and the tables into the pages."""
    numbers = Numbers(record["results"], record["seconds"])
    sections = {name: table(numbers) for name, table in TABLES.items()}
    write_text(figure, svg_of(examples(numbers)))
    sections["label-shift-figure"] = (
        f"![Accuracy against the number of context pairs, beside the ideal observer](../figures/{figure.name})\n"
    )
    sections["table5"] = section(json.loads(TABLE5.read_text()) if TABLE5.is_file() else None, Shown(None, TABLE5.name))
    for page in pages:
        write_text(page, filled(page.read_text(encoding="utf-8"), sections))
