"""The sections of a report that show results: curves, comparison, controls, tables."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Drawing

from contextssl.reporting import figures, names, style
from contextssl.reporting.comparison import comparison_table, contenders, fairness_points, leakage_points, strongest_shared_probe
from contextssl.reporting.document import Block, CaptionedTable, Figure, Panel, Paragraph, Section
from contextssl.reporting.number_format import number
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
    return "95 % bootstrap intervals over test items, where there are any; one training seed, one context draw"


def curves_section(study: Study, note: str | None) -> Section | None:
    """Metric against context length: each target's headline metric, then every probe of the targets of groups."""
    if len(study.lengths) < 2 or not study.environments:
        return None
    headlines = [study.readout(target) for target in study.targets]
    for target in study.targets:
        headlines += [study.readout(target, metric) for metric in _fairness_metrics(study, target)]
    blocks: list[Block] = [
        Figure(
            tuple(_curve_panel(study, readout, note) for readout in headlines),
            f"Metric against context length, one line per environment. Bands: {intervals_caption(study)}. Dashed: what a "
            "constant predictor scores (.500 for AUROC). Marks beside the longest context: contexts whose actions lie. "
            "All lines start at the empty context.",
        )
    ]
    for target in study.targets:
        others = [readout for readout in study.readouts(target) if readout not in headlines]
        if study.group_of(target) and others:
            blocks.append(_other_probes(study, target, others, note))
    return Section("Metric against context length", tuple(blocks))


def _other_probes(study: Study, target: str, others: Sequence[Readout], note: str | None) -> Figure:
    return Figure(
        tuple(_curve_panel(study, readout, note) for readout in others),
        f"**{target}** through the other probes, on the same scale. A raw probe sees what is there at usable amplitude; one "
        "that standardises each dimension, or a non-linear one, recovers what was only shrunk.",
    )


def _curve_panel(study: Study, readout: Readout, note: str | None) -> Panel:
    name = _file_name("context", *readout)
    ends = [(names.environment_name(e), study.cell(readout, e, study.lengths[-1])) for e in study.environments]
    values = names.join([f"{number(cell['mean'])} {told}" for told, cell in ends if cell is not None])
    what = f"{readout.target}, {names.metric_name(readout.metric)}, {names.probe_name(readout.probe)}"
    description = f"{what}: {values} at {study.lengths[-1]} tokens"
    return panel(name, description, figures.context_curves(study, readout, note))


def comparison_section(study: Study, note: str | None) -> Section | None:
    """All methods in one table, and the planes of fairness and leakage against utility."""
    if len(contenders(study)) < 2:
        return None
    blocks: list[Block] = []
    bars = (
        f"{intervals_caption(study)}; a number from one run only has the bootstrap interval over test items, where there is one"
    )
    if planes := _planes(study, note):
        blocks.append(
            Figure(
                tuple(planes),
                "Utility against unfairness and against leakage. Coloured paths run from the empty context (open marks) to the "
                "longest (filled); grey dots are other methods, without those whose utility is that of a constant predictor. "
                f"Lines: {bars}.",
            )
        )
    caption = f"All methods on the {study.split} split, ± half the width of {bars}."
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
        utility = f"{target} {names.metric_name(study.metric(target))}"
        for metric in _fairness_metrics(study, target):
            points, name = fairness_points(study, target, metric), names.metric_name(metric)
            drawing = figures.utility_plane(points, "Utility and fairness", name, utility, note)
            panels.append(panel(_file_name("plane", target, metric), f"{utility} against {name}", drawing))
        for leaked in filter(study.group_of, study.targets):
            if (readout := strongest_shared_probe(study, leaked)) is None or study.metric(target) not in ("accuracy", "auroc"):
                continue
            leakage = f"{leaked} {names.metric_name(readout.metric)}, {names.probe_name(readout.probe)}"
            drawing = figures.utility_plane(
                leakage_points(study, target, readout), f"Utility and leakage of {leaked}", leakage, utility, note
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
    readouts = [study.readout(target) for target in study.targets]
    chosen = rows[
        rows["environment"].isin(lying["environment"].unique()) & rows["context_length"].isin(lengths) & (rows["control"] != "-")
    ]
    keep = [tuple(key) in readouts for key in chosen[["target", "probe", "metric"]].itertuples(index=False, name=None)]
    chosen = chosen[keep].drop_duplicates(["environment", "control", "target", "metric", "context_length"])
    columns = ("target", "metric") if len(lengths) == 1 else ("target", "metric", "context_length")
    table = pivot(chosen, rows=("environment", "control"), columns=columns, floor=False)
    tokens = names.join([str(length) for length in sorted(lengths)])
    caption = (
        f"Contexts of {tokens} tokens whose actions lie. Shuffled: true actions, moved to other pairs. Noise: random actions of "
        "the same size in the same coordinates. Wrong group: another group's coordinates are filled. A model that reads the "
        "values of actions treats shuffled and noise actions as if told nothing."
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
        what = "No target" if target == "-" else f"**{target}**"
        blocks.append(
            CaptionedTable(
                table, f"{what}. Protocol {protocols}, {study.split} split. ± is half the width of {intervals_caption(study)}."
            )
        )
    meanings = [(metric, names.metric_meaning(metric)) for metric in dict.fromkeys(study.own["metric"])]
    glossary = [f"{names.metric_name(metric)}: {meaning}" for metric, meaning in meanings if meaning]
    if glossary:
        text = "; ".join(glossary)
        blocks.append(Paragraph(f"{text}. *Floor* is what a constant predictor scores.".replace("*", ""), "note"))
    return Section("All numbers", tuple(blocks))
