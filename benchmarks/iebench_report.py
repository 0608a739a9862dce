"""From the records of the 3DIEBench benchmark to tables and pages; `python benchmarks/iebench.py --tables` calls it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import iebench_figures as figures
from iebench_rows import (
    AUXILIARY,
    CONTEXTUAL,
    GROUPS,
    LENGTHS,
    LONGEST,
    MASKS,
    PAIR_PROBES,
    PAIRS,
    PRESETS,
    PROBES,
    STRONGEST,
    STRONGEST_PROBES,
    Numbers,
    other,
)
from runs import ROOT, Record, cell, filled

from contextssl.files import write_text
from contextssl.reporting.names import control_name, probe_name
from contextssl.reporting.style import svg_of
from contextssl.reporting.tables import Cell, Table, to_markdown

PAGES = (ROOT / "README.md", ROOT / "docs/results/iebench.md")
FIGURES = ROOT / "docs/figures"
CONTROLS = ("true", "shuffled", "noise", "wrong-group", "empty")
HARDER = "linear-standardised"


def headline_table(rows: Sequence[Record]) -> str:
    """For each preset and context: what is read of the told group, and by each probe of the untold one, at 126 tokens."""
    numbers = Numbers(rows)
    probes = numbers.probes()
    columns = [("told R²", heading) for heading in ("no context", f"c = {LONGEST}")]
    columns += [(f"untold R², c = {LONGEST}", probe_name(probe)) for probe in probes]
    lines = []
    for preset, group in _contexts(numbers):
        told = [numbers.r2(preset, group, group, length, HARDER) for length in (0, LONGEST)]
        lines.append((preset, group, told + [numbers.r2(preset, group, other(group), LONGEST, probe) for probe in probes]))
    return _table(columns, lines)


def length_table(rows: Sequence[Record], probe: str) -> str:
    """For each preset and context: both groups at every context length, read by one probe."""
    numbers = Numbers(rows)
    columns = [(f"{what} R²", f"c = {length}") for what in ("told", "untold") for length in LENGTHS]
    lines = [
        (preset, group, [numbers.r2(preset, group, read, length, probe) for read in (group, other(group)) for length in LENGTHS])
        for preset, group in _contexts(numbers)
    ]
    return _table(columns, lines)


def control_table(rows: Sequence[Record]) -> str:
    """For each preset and context at 126 tokens: both groups when the actions are true, and when they lie."""
    numbers = Numbers(rows)
    columns = [(f"{what} R²", control_name(control)) for what in ("told", "untold") for control in CONTROLS]
    lines = [
        (
            preset,
            group,
            [numbers.r2(preset, group, read, LONGEST, HARDER, control) for read in (group, other(group)) for control in CONTROLS],
        )
        for preset, group in _contexts(numbers)
    ]
    return _table(columns, lines)


def criteria_table(rows: Sequence[Record]) -> str:
    """For each preset and context, the worst of 14 to 126 tokens: what the told group loses, what the untold one keeps."""
    numbers = Numbers(rows)
    raw, probes = [probe for probe in numbers.probes() if probe in ("linear", "knn-10")], numbers.probes()
    columns = [("told R² falls by at most", probe_name(probe)) for probe in raw]
    columns += [("share of untold R² that goes, at least", probe_name(probe)) for probe in raw]
    columns += [("untold R² is at most", probe_name(probe)) for probe in probes]
    lines: list[tuple[str, str, list[Record | float | None]]] = []
    for preset, group in _contexts(numbers):
        worst = [numbers.told_fall(preset, group, probe) for probe in raw]
        worst += [numbers.untold_share_gone(preset, group, probe) for probe in raw]
        lines.append((preset, group, worst + [numbers.untold_most(preset, group, probe) for probe in probes]))
    return _table(columns, lines)


def pair_table(rows: Sequence[Record]) -> str:
    """For each preset and context: the change between two views, read from both embeddings as in the paper's tables."""
    numbers = Numbers(rows)
    columns = [(f"{what} pooled R²", f"c = {length}") for what in ("told", "untold") for length in LENGTHS]
    lines = []
    for preset, group in _contexts(numbers):
        asked = [(read, length) for read in (group, other(group)) for length in LENGTHS]
        found = [numbers.r2(preset, group, read, length, PAIR_PROBES[read], reading=PAIRS) for read, length in asked]
        lines.append((preset, group, found))
    return _table(columns, lines)


def strongest_table(rows: Sequence[Record]) -> str:
    """For each preset and context at 126 tokens: what whitened kernel ridge reads of both groups, at three precisions."""
    numbers = Numbers(rows)
    columns = [(f"{what} R²", precision) for what in ("told", "untold") for precision in ("float32", "6 bits", "4 bits")]
    lines = []
    for preset, group in _contexts(numbers):
        asked = [(read, probe) for read in (group, other(group)) for probe in STRONGEST_PROBES]
        found = [numbers.r2(preset, group, read, LONGEST, probe, reading=STRONGEST) for read, probe in asked]
        lines.append((preset, group, found))
    return _table(columns, lines)


def class_table(rows: Sequence[Record]) -> str:
    """Top-1 accuracy of each preset from encoder features, as each probe reads it."""
    numbers = Numbers(rows)
    presets = [preset for preset in PRESETS if numbers.measured(preset)]
    probes = [probe for probe in PROBES if any(numbers.top1(preset, probe) for preset in presets)]
    lines = [[cell(numbers.top1(preset, probe)) for probe in probes] for preset in presets]
    columns = tuple((probe_name(probe),) for probe in probes)
    return to_markdown(Table(("",), columns, tuple((preset,) for preset in presets), tuple(map(tuple, lines))))


def _contexts(numbers: Numbers) -> Iterable[tuple[str, str]]:
    """Every preset that reads contexts with every group that a context can tell."""
    return [(preset, group) for preset in CONTEXTUAL if numbers.measured(preset) for group in GROUPS]


def _table(columns: Sequence[tuple[str, ...]], lines: Sequence[tuple[str, str, Sequence[Record | float | None]]]) -> str:
    """Markdown; a line is a preset, the group that its context tells, and rows or plain numbers."""
    labels = tuple((preset, f"told {figures.NAMES[group]}, {figures.NAMES[other(group)]} not") for preset, group, _ in lines)
    cells = tuple(tuple(Cell(v) if isinstance(v, float) else cell(v) for v in values) for _, _, values in lines)
    return to_markdown(Table(("preset", "context"), tuple(columns), labels, cells))


def caption(record: Record) -> str:
    """What the numbers of the tables are, and what they cost."""
    draws = max(row["num_draws"] // row["num_seeds"] for row in record["results"])
    objects = record["data"]["objects"]
    said = (
        f"{objects['test']} held-out objects of {len(record['data']['categories'])} categories, single views, R² per coordinate, "
        f"averaged (a constant predictor scores 0); mean ± standard deviation over {len(record['seeds'])} training seeds, each the "
        f"mean of {draws} context draws."
    )
    clock = [record["seconds"][PRESETS[name]] for name in PRESETS if PRESETS[name] in record["seconds"]]
    parts = []
    for verb, what in (("train", "to train"), ("evaluate", "to evaluate")):
        spent = [seconds for one in clock for seconds in one[verb]]
        parts.append(f"{min(spent):.0f} to {max(spent):.0f} s {what}")
    return f"{said} One run took {' and '.join(parts)}, on one thread ({record['environment']['processor']})."


def sections(name: str, record: Record, link: str) -> dict[str, str]:
    """What stands between the markers of a set's part of the pages."""
    rows, start = record["results"], "iebench" if name == "easy" else f"iebench-{name}"
    text = {
        f"{start}-figure": f"![R² of rotation and of colour against context length, {name} set]({link}/{figure_name(name)})\n",
        start: headline_table(rows) + "\n" + caption(record) + "\n",
        f"{start}-criteria": criteria_table(rows),
        f"{start}-controls": control_table(rows),
        f"{start}-classes": class_table(rows),
        f"{start}-pairs": pair_table(rows),
        f"{start}-strongest": strongest_table(rows),
        f"{start}-standardised-figure": f"![The same, read by the standardised probe]({link}/{figure_name(name, HARDER)})\n",
    }
    return text | {f"{start}-lengths-{probe}": length_table(rows, probe) for probe in PROBES}


def figure_name(name: str, probe: str = "linear") -> str:
    """The file of a set's curves."""
    return f"iebench{'' if name == 'easy' else f'_{name}'}{'' if probe == 'linear' else '_standardised'}.svg"


def with_results(page: str, records: Mapping[str, Record], ablations: Record | None, link: str) -> str:
    """The page with whatever stands between its markers replaced; `link` leads from it to the figures' folder."""
    for name, record in records.items():
        page = filled(page, sections(name, record, link))
    if ablations is not None:
        page = filled(
            page,
            {
                "iebench-mask": f"![Top-1 and R² against the mask probability]({link}/iebench_mask_probability.svg)\n",
                "iebench-auxiliary": f"![R² with and without the auxiliary predictor]({link}/iebench_auxiliary.svg)\n",
            },
        )
    return page


def show(records: Mapping[str, Record], ablations: Record | None, pages: Sequence[Path] = PAGES, folder: Path = FIGURES) -> None:
    """Write the figures and the tables of all pages."""
    for name, record in records.items():
        for probe in ("linear", HARDER):
            write_text(folder / figure_name(name, probe), svg_of(figures.context_curves(record["results"], probe)))
    if ablations is not None:
        write_text(folder / "iebench_mask_probability.svg", svg_of(figures.mask_curves(ablations["results"], MASKS)))
        write_text(folder / "iebench_auxiliary.svg", svg_of(figures.auxiliary_curves(ablations["results"], AUXILIARY)))
    for page in pages:
        link = Path(os.path.relpath(folder, page.parent)).as_posix()
        write_text(page, with_results(page.read_text(), records, ablations, link))
