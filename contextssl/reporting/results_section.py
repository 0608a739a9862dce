"""The sections of a report that show results: curves, comparison, controls, tables."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Drawing

from contextssl.reporting import figures, names, style
from contextssl.reporting.comparison import (
    columns,
    comparison_table,
    contenders,
    fairness_points,
    leakage_points,
    strongest_shared_probe,
)
from contextssl.reporting.document import Block, CaptionedTable, Figure, Panel, Paragraph, Section
from contextssl.reporting.number_format import number
from contextssl.reporting.pictures import Picture
from contextssl.reporting.summary import Readout, Study
from contextssl.reporting.tables import pivot, select

_FAIRNESS = "equalized_odds_difference"


def panel(name: str, description: str, drawing: Drawing) -> Panel:
    """A drawing as a panel of a document."""
    wide = bool(drawing.get_figwidth() > style.PANEL_INCHES[0])
    return Panel(name, description, style.svg_of(drawing), style.png_of(drawing), wide)


def intervals_caption(study: Study) -> str:
    """What intervals mean in this study, for captions."""
    if study.num_seeds > 1:
        each = f", each the mean of {study.num_draws} context draws" if study.num_draws > 1 else ""
        return f"95 % intervals (t) over {study.num_seeds} training seeds{each}"
    if study.num_draws > 1:
        return f"95 % intervals (t) over {study.num_draws} context draws of one training seed"
    return "95 % intervals over test items, where there are any; one training seed, one context draw"


def curves_section(study: Study, pictures: Sequence[Picture], note: str | None) -> Section | None:
    """Metric against context length: the story where several groups are told, the pictures, then all other read-outs."""
    if len(study.lengths) < 2 or not study.environments:
        return None
    story = [study.readout(target) for target in study.headline_targets if study.group_of(target)]
    story = story if len(story) > 1 else []
    headlines = [readout for target in study.targets if (readout := study.readout(target)) not in story]
    for target in study.targets:
        headlines += [study.readout(target, metric) for metric in _fairness_metrics(study, target)]
    headlines = [readout for readout in headlines if study.has_course(readout)]
    blocks: list[Block] = [_story(study, story, note), *pictures] if story else []
    if headlines:
        blocks.append(_headlines(study, headlines, note))
    blocks += [] if story else pictures
    for target in study.targets:
        others = [
            readout for readout in study.readouts(target) if readout not in [*story, *headlines] and study.has_course(readout)
        ]
        if study.group_of(target) and others:
            blocks.append(_other_probes(study, target, others, note))
    return Section("Metric against context length", tuple(blocks))


def pictures_section(pictures: Sequence[Picture]) -> Section | None:
    """The pictures alone, where there are no curves to show them with."""
    return Section("Pictures", tuple(pictures)) if pictures else None


def _story(study: Study, readouts: Sequence[Readout], note: str | None) -> Figure:
    """What is read of each group, told or not, side by side: the first figure."""
    told = names.join([names.environment_name(name) for name in study.telling], "or")
    return Figure(
        (panel("story", _ends(study, readouts, study.telling), figures.context_story(study, readouts, note)),),
        f"What can be read of each group after contexts that were {told}. Bands: {intervals_caption(study)}. Dashed: what a "
        "constant predictor scores. Marks beside the longest context: contexts whose actions lie; where the wrong group was "
        "told, the model should do as if that one had been asked for. All lines start at the empty context.",
    )


def _headlines(study: Study, readouts: Sequence[Readout], note: str | None) -> Figure:
    return Figure(
        tuple(_curve_panel(study, readout, note) for readout in readouts),
        f"Metric against context length, one line per environment. Bands: {intervals_caption(study)}. Dashed: what a "
        "constant predictor scores (.500 for AUROC). Marks beside the longest context: contexts whose actions lie. "
        "All lines start at the empty context.",
    )


def _other_probes(study: Study, target: str, others: Sequence[Readout], note: str | None) -> Figure:
    return Figure(
        tuple(_curve_panel(study, readout, note) for readout in others),
        f"**{names.target_name(target)}** through the other probes, on the same scale. A raw probe sees what is there at usable amplitude; one "
        "that standardises each dimension, or a non-linear one, recovers what was only shrunk.",
    )


def _curve_panel(study: Study, readout: Readout, note: str | None) -> Panel:
    description = _ends(study, [readout], study.environments)
    return panel(_file_name("context", *readout), description, figures.context_curves(study, readout, note))


def _ends(study: Study, readouts: Sequence[Readout], environments: Sequence[str]) -> str:
    """The numbers at the longest context in words."""
    said = []
    for readout in readouts:
        ends = [(names.environment_name(e), study.cell(readout, e, study.lengths[-1])) for e in environments]
        values = names.join([f"{number(cell['mean'])} {told}" for told, cell in ends if cell is not None])
        what = f"{names.target_name(readout.target)}, {names.metric_name(readout.metric)}, {names.probe_name(readout.probe)}"
        said.append(f"{what}: {values} at {study.lengths[-1]} tokens")
    return "; ".join(said)


def comparison_section(study: Study, note: str | None) -> Section | None:
    """All methods in one table, and the planes of fairness and leakage against utility."""
    if len(contenders(study)) < 2:
        return None
    blocks: list[Block] = []
    bars = f"{intervals_caption(study)}; a number from one run only has the interval over test items, where there is one"
    if planes := _planes(study, note):
        blocks.append(
            Figure(
                tuple(planes),
                "Utility against unfairness and against leakage. Coloured paths run from the empty context (open marks) to the "
                "longest (filled); grey dots are other methods, without those whose utility is that of a constant predictor. "
                f"Lines: {bars}.",
            )
        )
    fairer = " Of differences between groups lower is fairer." if any(names.direction(r.metric) for r in columns(study)) else ""
    caption = f"All methods on the {study.split} split, ± half the width of {bars}.{fairer}"
    blocks.append(CaptionedTable(comparison_table(study), caption))
    return Section("Comparison", tuple(blocks))


def _fairness_metrics(study: Study, target: str) -> list[str]:
    """The equalized-odds difference of the target's predictions, for every attribute it was measured for."""
    return names.versions_of(_FAIRNESS, study.own.loc[study.own["target"] == target, "metric"])


def _file_name(*parts: str) -> str:
    joined = "-".join(part for part in parts if part != "-")
    return joined.replace("_", "-").replace("@", "-at-").replace("(", "-").replace(")", "")


def _planes(study: Study, note: str | None) -> list[Panel]:
    panels = []
    for target in study.targets:
        if study.group_of(target):
            continue
        utility = f"{names.target_name(target)} {names.metric_name(study.metric(target))}"
        for metric in _fairness_metrics(study, target):
            points, name = fairness_points(study, target, metric), names.metric_name(metric)
            drawing = figures.utility_plane(points, "Utility and fairness", name, utility, note)
            panels.append(panel(_file_name("plane", target, metric), f"{utility} against {name}", drawing))
        # Where several groups are told in turn, none of them is meant to be gone: nothing leaks.
        for leaked in filter(study.group_of, study.targets if len(study.groups) == 1 else ()):
            if (readout := strongest_shared_probe(study, leaked)) is None or study.metric(target) not in ("accuracy", "auroc"):
                continue
            leakage = f"{names.target_name(leaked)} {names.metric_name(readout.metric)}, {names.probe_name(readout.probe)}"
            drawing = figures.utility_plane(
                leakage_points(study, target, readout),
                f"Utility and leakage of {names.target_name(leaked)}",
                leakage,
                utility,
                note,
            )
            panels.append(panel(f"plane-{target}-leakage-of-{leaked}", f"{utility} against {leakage}", drawing))
    return panels


def controls_section(study: Study) -> Section | None:
    """Each environment's controls beside its true contexts, for every target's headline metric."""
    rows = study.frame[study.frame["method"] == study.method]
    lying = rows[~rows["control"].isin(["true", "empty", "-"])]
    if lying.empty:
        return None
    lengths = [int(length) for length in lying["context_length"].unique()]
    readouts = [study.readout(target) for target in study.headline_targets]
    chosen = rows[
        rows["environment"].isin(lying["environment"].unique()) & rows["context_length"].isin(lengths) & (rows["control"] != "-")
    ]
    keep = [tuple(key) in readouts for key in chosen[["target", "probe", "metric"]].itertuples(index=False, name=None)]
    chosen = chosen[keep].drop_duplicates(["environment", "control", "target", "metric", "context_length"])
    columns = ("target", "metric") if len(lengths) == 1 else ("target", "metric", "context_length")
    table = pivot(chosen, rows=("environment", "control"), columns=columns, floor=False)
    tokens = names.join([str(length) for length in sorted(lengths)])
    lies = list(dict.fromkeys(lying["control"]))
    meant = [names.control_meaning(control) for control in lies]
    caption = f"Contexts of {tokens} tokens that are not what they should be. {' '.join(filter(None, meant))}" + (
        " A model that reads the values of actions treats shuffled and noise actions as if told nothing."
        if "shuffled" in lies
        else ""
    )
    return Section("Controls", (CaptionedTable(table, caption),))


def tables_section(study: Study) -> Section:
    """Every number: one table per target, probe and metric against environment and context length."""
    blocks: list[Block] = []
    for target in study.targets:
        rows = select(study.own, target=target)
        repeated = rows.duplicated(["probe", "metric", "environment", "context_length"]).any()
        table = pivot(rows, rows=("protocol", "probe", "metric") if repeated else ("probe", "metric"))
        protocols = names.join([f"`{name}`" for name in rows["protocol"].unique()])
        what = "No target" if target == "-" else f"**{names.target_name(target)}**"
        blocks.append(
            CaptionedTable(
                table, f"{what}. Protocol {protocols}, {study.split} split. ± is half the width of {intervals_caption(study)}."
            )
        )
    measured = dict.fromkeys(map(names.base_metric, study.own["metric"]))  # of groups and their differences once
    meanings = {metric: meaning for metric in measured if (meaning := names.metric_meaning(metric))}
    glossary = [
        f"{names.metric_name(metric)}: {', '.join(filter(None, (meaning, names.direction(metric))))}"
        for metric, meaning in meanings.items()
    ]
    if glossary:
        text = "; ".join(glossary)
        blocks.append(Paragraph(f"{text}. *Floor* is what a constant predictor scores.".replace("*", ""), "note"))
    return Section("All numbers", tuple(blocks))
