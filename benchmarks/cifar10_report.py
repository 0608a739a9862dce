"""From the records of the CIFAR-10 benchmark to tables, figures and pages; `python benchmarks/cifar10.py --tables` calls it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from runs import ROOT, Record, cell, filled

from contextssl.files import write_text
from contextssl.reporting.names import control_name, probe_name
from contextssl.reporting.style import COLOURS, MARKERS, RULE, SOFT, house_style, svg_of
from contextssl.reporting.tables import Cell, Table, to_markdown

PAGES = (ROOT / "README.md", ROOT / "docs/results/cifar10.md")
FIGURES = ROOT / "docs/figures"
LENGTHS = (0, 2, 14, 30, 126)
LONGEST = LENGTHS[-1]
CONTROLS = ("true", "shuffled", "noise", "wrong-group", "empty")
PROBES = ("linear", "linear-standardised", "mlp", "mlp-standardised", "knn-10")
CLASS_PROBES = ("linear", "linear-standardised", "knn-10", "knn-200-weighted")
SINGLE, PAIRS, CLASSES = "attribute-probe", "relative-r2", "untransformed-probe"
PAIR_PROBES = {"crop": "mlp", "blur": "linear", "color": "mlp"}  # protocol 12.8
HARDER = "linear-standardised"
NAMES = {"crop": "crop", "blur": "blur", "color": "colour"}
CONTEXT_FREE = ("SimCLR",)


@dataclass(frozen=True)
class Study:
    """Runs that are compared.

    Attributes:
        groups: the two groups that vary.
        experiments: preset -> experiment.
    """

    groups: tuple[str, str]
    experiments: Mapping[str, str]

    def other(self, group: str) -> str:
        """The group that a context telling `group` does not tell."""
        return self.groups[1 - self.groups.index(group)]


class Numbers:
    """The rows of a study's record, found by what they are.

    Args:
        study: whose.
        rows: of the record.
    """

    def __init__(self, study: Study, rows: Sequence[Record]) -> None:
        place = ("experiment", "target", "probe", "metric", "environment", "control", "context_length")
        self.study = study
        self._rows = {(row["protocol"].partition("/")[0], *(row[name] for name in place)): row for row in rows}
        measured = {row["experiment"] for row in rows}
        self.presets = [preset for preset, experiment in study.experiments.items() if experiment in measured]

    def find(
        self, protocol: str, preset: str, target: str, probe: str, metric: str, told: str, length: int, control: str = "true"
    ) -> Record | None:
        """The row of an embedding after a context that tells a group, None when it was not measured; `-` tells nothing."""
        place = ("-", "empty", 0) if length == 0 or control == "empty" else (told, control, length)
        return self._rows.get((protocol, self.study.experiments[preset], target, probe, metric, *place))

    def single(self, preset: str, told: str, read: str, length: int, probe: str, control: str = "true") -> Record | None:
        """R2 of a group's parameters, read from single views."""
        return self.find(SINGLE, preset, read, probe, "r2_dim_mean", told, length, control)

    def pair(self, preset: str, told: str, read: str, length: int) -> Record | None:
        """R2 of the change of a group between two views."""
        return self.find(PAIRS, preset, f"relative_{read}", PAIR_PROBES[read], "r2_pooled", told, length)

    def features(self, protocol: str, preset: str, target: str, probe: str, metric: str) -> Record | None:
        """What is read from the encoder's own features."""
        return self._rows.get((protocol, self.study.experiments[preset], target, probe, metric, "-", "-", 0))

    @property
    def contexts(self) -> list[tuple[str, str]]:
        """Every preset that reads contexts with every group that a context can tell."""
        return [(preset, group) for preset in self.presets if preset not in CONTEXT_FREE for group in self.study.groups]


def headline_table(numbers: Numbers) -> str:
    """For each preset and context: what is read of the told group, and by each probe of the untold one, at 126 tokens."""
    columns = [("told R²", heading) for heading in ("no context", f"c = {LONGEST}")]
    columns += [(f"untold R², c = {LONGEST}", probe_name(probe)) for probe in PROBES]
    lines = []
    for preset, group in numbers.contexts:
        told = [numbers.single(preset, group, group, length, HARDER) for length in (0, LONGEST)]
        untold = [numbers.single(preset, group, numbers.study.other(group), LONGEST, probe) for probe in PROBES]
        lines.append((preset, group, told + untold))
    return _table(numbers.study, columns, lines)


def length_table(numbers: Numbers, probe: str) -> str:
    """For each preset and context: both groups at every context length, read by one probe from single views."""
    columns = [(f"{what} R²", f"c = {length}") for what in ("told", "untold") for length in LENGTHS]
    lines = [
        (
            preset,
            group,
            [numbers.single(preset, group, read, length, probe) for read in _both(numbers, group) for length in LENGTHS],
        )
        for preset, group in numbers.contexts
    ]
    return _table(numbers.study, columns, lines)


def pair_table(numbers: Numbers) -> str:
    """For each preset and context: the change between two views, read from both embeddings (protocol 6.4, 12.8)."""
    columns = [(f"{what} pooled R²", f"c = {length}") for what in ("told", "untold") for length in LENGTHS]
    lines = [
        (preset, group, [numbers.pair(preset, group, read, length) for read in _both(numbers, group) for length in LENGTHS])
        for preset, group in numbers.contexts
    ]
    return _table(numbers.study, columns, lines)


def control_table(numbers: Numbers) -> str:
    """For each preset and context at 126 tokens: both groups when the actions are true, and when they lie."""
    columns = [(f"{what} R²", control_name(control)) for what in ("told", "untold") for control in CONTROLS]
    lines = [
        (
            preset,
            group,
            [
                numbers.single(preset, group, read, LONGEST, HARDER, control)
                for read in _both(numbers, group)
                for control in CONTROLS
            ],
        )
        for preset, group in numbers.contexts
    ]
    return _table(numbers.study, columns, lines)


def feature_table(numbers: Numbers) -> str:
    """For each preset, from encoder features: the change of both groups between two views, and top-1 of images as they are."""
    columns = [("pooled R²", NAMES[group]) for group in numbers.study.groups]
    columns += [("top-1", probe_name(probe)) for probe in CLASS_PROBES]
    lines = []
    for preset in numbers.presets:
        found = [
            numbers.features(PAIRS, preset, f"relative_{group}", PAIR_PROBES[group], "r2_pooled")
            for group in numbers.study.groups
        ]
        found += [numbers.features(CLASSES, preset, "untransformed_class", probe, "accuracy") for probe in CLASS_PROBES]
        lines.append(tuple(map(cell, found)))
    return to_markdown(Table(("",), tuple(columns), tuple((preset,) for preset in numbers.presets), tuple(lines)))


def _both(numbers: Numbers, group: str) -> tuple[str, str]:
    return group, numbers.study.other(group)


def _table(
    study: Study, columns: Sequence[tuple[str, ...]], lines: Sequence[tuple[str, str, Sequence[Record | None]]]
) -> str:  # fmt: skip
    """Markdown; a line is a preset, the group that its context tells, and rows."""
    labels = tuple((preset, f"told {NAMES[group]}, {NAMES[study.other(group)]} not") for preset, group, _ in lines)
    cells: tuple[tuple[Cell, ...], ...] = tuple(tuple(map(cell, values)) for _, _, values in lines)
    return to_markdown(Table(("preset", "context"), tuple(columns), labels, cells))


def caption(study: Study, record: Record) -> str:
    """What the numbers of the tables are, and what they cost."""
    images = record["data"]["images"]
    draws = max(row["num_draws"] // row["num_seeds"] for row in record["results"])
    said = (
        f"Trained on {images['train']:,} images; single views of test images, R² per coordinate, averaged (a constant predictor scores "
        f"0); mean ± standard deviation over {len(record['seeds'])} training seeds, each the mean of {draws} context draws."
    )
    parts = []
    for verb, what in (("train", "to train"), ("evaluate", "to evaluate")):
        spent = [seconds for name in study.experiments.values() for seconds in record["seconds"].get(name, {}).get(verb, [])]
        parts.append(f"{min(spent):.0f} to {max(spent):.0f} s {what}")
    device = ", ".join(record["environment"]["gpus"]) or f"one thread ({record['environment']['processor']})"
    return f"{said} One run took {' and '.join(parts)}, on {device}."


def context_curves(numbers: Numbers, probe: str) -> Figure:
    """A row for each group that is read, a column for each preset, a line for each group that a context tells."""
    groups, presets = numbers.study.groups, list(dict.fromkeys(preset for preset, _ in numbers.contexts))
    with house_style():
        figure = Figure(figsize=(1.2 + 1.6 * len(presets), 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(groups), len(presets), squeeze=False, sharex=True, sharey=True)
        for line, read in zip(panels, groups, strict=True):
            for axes, preset in zip(line, presets, strict=True):
                for place, told in enumerate(groups):
                    rows = [numbers.single(preset, told, read, length, probe) for length in LENGTHS]
                    mean, low, high = (
                        np.array([np.nan if row is None or row[name] is None else row[name] for row in rows])
                        for name in ("mean", "low", "high")
                    )
                    colour, label = COLOURS[place], f"context tells {NAMES[told]}"
                    axes.fill_between(range(len(LENGTHS)), low, high, color=colour, alpha=0.16, linewidth=0)
                    axes.plot(range(len(LENGTHS)), mean, color=colour, marker=MARKERS[place], label=label)
                axes.axhline(0, color=SOFT, linewidth=0.9, linestyle=":", zorder=0)
                axes.grid(axis="y", color=RULE, linewidth=0.4)
                axes.set_xticks(range(len(LENGTHS)), [str(length) for length in LENGTHS])
                axes.set_ylim(-0.15, 1.05)
            line[0].set_ylabel(f"R² of {NAMES[read]}")
        for axes, preset in zip(panels[0], presets, strict=True):
            axes.set_title(preset, loc="left")
        for axes in panels[-1]:
            axes.set_xlabel("context tokens")
        panels[0][0].legend(fontsize=6.5)
    return figure


def figure_name(name: str, probe: str = "linear") -> str:
    """The file of a study's curves."""
    return f"cifar10_{name}{'' if probe == 'linear' else '_standardised'}.svg"


def sections(name: str, study: Study, record: Record, link: str) -> dict[str, str]:
    """What stands between the markers of a study's part of the pages."""
    numbers, start = Numbers(study, record["results"]), f"cifar10-{name}"
    first, second = (NAMES[group] for group in study.groups)
    text = {
        f"{start}-figure": f"![R² of {first} and of {second} against context length]({link}/{figure_name(name)})\n",
        f"{start}-standardised-figure": f"![The same, read by the standardised probe]({link}/{figure_name(name, HARDER)})\n",
        start: headline_table(numbers) + "\n" + caption(study, record) + "\n",
        f"{start}-pairs": pair_table(numbers),
        f"{start}-controls": control_table(numbers),
        f"{start}-features": feature_table(numbers),
    }
    return text | {f"{start}-lengths-{probe}": length_table(numbers, probe) for probe in PROBES}


def with_results(page: str, studies: Mapping[str, Study], records: Mapping[str, Record], link: str) -> str:
    """The page with whatever stands between its markers replaced; `link` leads from it to the figures' folder."""
    for name, record in records.items():
        page = filled(page, sections(name, studies[name], record, link))
    return page


def show(
    studies: Mapping[str, Study], records: Mapping[str, Record], pages: Sequence[Path] = PAGES, folder: Path = FIGURES
) -> None:  # fmt: skip
    """Write the figures and the tables of all pages."""
    for name, record in records.items():
        for probe in ("linear", HARDER):
            figure = context_curves(Numbers(studies[name], record["results"]), probe)
            write_text(folder / figure_name(name, probe), svg_of(figure))
    for page in pages:
        link = Path(os.path.relpath(folder, page.parent)).as_posix()
        write_text(page, with_results(page.read_text(), studies, records, link))
