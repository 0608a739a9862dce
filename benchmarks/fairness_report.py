"""From benchmarks/results/fairness_study.json to the page and its figures; `python benchmarks/fairness_study.py --tables` calls it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fairness_figures import curves, group_bars, stacked
from fairness_plane import plane
from fairness_rows import (
    BOOSTED,
    CALIBRATION,
    LONGEST,
    ODDS,
    OPPORTUNITY,
    OURS,
    PARITY,
    UTILITY_PROBE,
    Model,
    Numbers,
    Place,
    StudySet,
    above_front,
    baseline_places,
    decided_places,
    own_place,
    pareto_front,
    plane_point,
)
from fairness_targets import targets_table
from runs import ROOT, Record, cell, filled

from contextssl.files import write_text
from contextssl.reporting.names import environment_name, metric_name, probe_name, target_name
from contextssl.reporting.number_format import number, with_bounds
from contextssl.reporting.tables import Cell, Table, to_markdown

FIGURES = ROOT / "docs/figures"
PAGE = ROOT / "docs/results/fairness.md"
NOT_MEASURED = "Not measured yet."
STAND_IN = "generated data"
PAIRED = (
    ("sex", "linear-standardised", "auroc"),
    ("sex", "mlp-standardised", "auroc"),
    ("sex", BOOSTED, "auroc"),
    ("", UTILITY_PROBE, f"{ODDS}(sex)"),
    ("", UTILITY_PROBE, f"{CALIBRATION}(sex)"),
    ("", UTILITY_PROBE, "auroc"),
    ("", UTILITY_PROBE, "accuracy"),
)  # of the data set's target where none is named


def contexts(model: Model, empty: str = "no context") -> list[tuple[str, Place]]:
    """Label and place of a model's contexts in tables."""
    told = (model.hiding, model.telling)
    found = [(f"{environment_name(name)}, c = {LONGEST}", own_place(model.experiment, name)) for name in told]
    shuffled = (f"{environment_name(model.telling)}, shuffled", own_place(model.experiment, model.telling, LONGEST, "shuffled"))
    return [*found, shuffled, (empty, own_place(model.experiment, model.hiding, 0))]


def all_contexts(study: StudySet) -> list[tuple[str, Place]]:
    """Those of all models."""
    main, *others = study.models
    return contexts(main) + [entry for model in others for entry in contexts(model, "no context, of that model")]


def table(study: StudySet, numbers: Numbers) -> str:
    """Our contexts and every baseline: utility, leakage and differences between the sexes; mean ± standard deviation over seeds."""
    baselines = baseline_places(study, numbers)
    entries = [*all_contexts(study), *decided_places(study, numbers), *baselines]
    reached = [point for _, place in baselines if (point := plane_point(study, numbers, place)) is not None]
    front, labels, cells = pareto_front(reached), [], []
    for name, place in entries:
        utility = [numbers.utility(place, study.target, metric) for metric in ("accuracy", "auroc")]
        utility += [numbers.utility(place, study.target, f"{metric}(sex)") for metric in (ODDS, OPPORTUNITY, PARITY, CALIBRATION)]
        leakage = numbers.leakage(place, ("sex",))
        if not any(utility):
            continue
        point = plane_point(study, numbers, place) if place.method.startswith(OURS) else None
        labels.append((name,))
        above = Cell(above_front(point, front)) if point is not None else Cell()
        cells.append((*map(cell, utility[:2]), cell(leakage), above, *map(cell, utility[2:])))
    heads = [f"{target_name(study.target)} accuracy", "AUROC", "sex: strongest AUROC", "accuracy above the front"]
    heads += [metric_name(metric) for metric in (ODDS, OPPORTUNITY, PARITY, CALIBRATION)]
    return to_markdown(Table(("",), tuple((head,) for head in heads), tuple(labels), tuple(cells)))


def paired_table(study: StudySet, record: Record) -> str:
    """Told nothing minus told sex, and minus no context: mean difference, interval, p of the paired t test, seeds."""
    lines = ["| told nothing, c = 126, minus | what | difference | p | pairs |", "| --- | --- | ---: | ---: | ---: |"]
    for row in record["paired"]:
        wanted = (row["target"] if row["target"] != study.target else "", row["probe"], row["metric"])
        if row["experiment"] == study.experiment and wanted in PAIRED:
            other = (
                environment_name("empty")
                if row["from"] == "-/empty/0"
                else f"{environment_name(row['from'].split('/')[0])}, c = {LONGEST}"
            )
            what = f"{target_name(row['target'])}, {metric_name(row['metric'])}, {probe_name(row['probe'])}"
            p = "–" if row["p"] is None else "< .001" if row["p"] < 0.001 else number(row["p"])
            lines.append(f"| {other} | {what} | {with_bounds(row['mean'], row['low'], row['high'])} | {p} | {row['num_pairs']} |")
    return "\n".join(dict.fromkeys(lines)) + "\n"  # accuracy and AUROC are rows of two protocols


def known_table(study: StudySet, numbers: Numbers, known: Record) -> str:
    """What perfect predictors would score on the same generated patients, beside what our contexts do."""
    labels: list[tuple[str, ...]] = [(f"perfect: {name}",) for name in ("whole record", "all but sex", "fair")]
    cells = [(Cell(known[name]["auroc"]), Cell(known[name]["odds"]), Cell()) for name in ("whole record", "all but sex", "fair")]
    labels.append(("perfect reader of sex without its column",))
    cells.append((Cell(), Cell(), Cell(known["sex without its column"])))
    for name, place in all_contexts(study):
        rows = [numbers.utility(place, study.target, "auroc"), numbers.utility(place, study.target, f"{ODDS}(sex)")]
        if all(rows):
            labels.append((name,))
            cells.append((cell(rows[0]), cell(rows[1]), cell(numbers.leakage(place, ("sex",)))))
    heads = (f"{target_name(study.target)} AUROC", metric_name(ODDS), "sex: strongest AUROC")
    return to_markdown(Table(("",), tuple((head,) for head in heads), tuple(labels), tuple(cells)))


def variant_table(study: StudySet, numbers: Numbers) -> str:
    """Every other contextual experiment at the longest contexts, and after none."""
    names = dict.fromkeys(place.experiment for place in numbers.places if place.method == OURS)
    shown = [model.experiment for model in study.models]
    own = [name for name in names if name not in shown and name.startswith(study.experiment)]
    labels, cells = [], []
    for experiment in own:
        told = [
            place.environment for place in numbers.places if place[:2] == (experiment, OURS) and place[3:] == ("true", LONGEST)
        ]
        for environment in [*dict.fromkeys(told), ""]:
            place = own_place(experiment, environment, LONGEST if environment else 0)
            name = f"{environment_name(environment)}, c = {LONGEST}" if environment else environment_name("empty")
            attributes = [a for a in ("sex", study.second) if numbers.leakage(place, (a,)) is not None]
            groups = sorted(m for m in numbers.metrics(study.target) if m.startswith(f"{ODDS}("))
            odds = [row for m in groups if (row := numbers.utility(place, study.target, m)) is not None]
            worst = max(odds, key=lambda row: row["mean"], default=None)
            labels.append((f"`{experiment}`", name))
            cells.append(
                (
                    cell(numbers.utility(place, study.target)),
                    cell(numbers.leakage(place, ("sex",))),
                    cell(numbers.leakage(place, (study.second,))) if study.second in attributes else Cell(),
                    cell(numbers.utility(place, study.target, f"{ODDS}(sex)")),
                    cell(numbers.utility(place, study.target, f"{PARITY}(sex)")),
                    Cell() if worst is None or "+" not in worst["metric"] else cell(worst),
                )
            )
    if not labels:
        return NOT_MEASURED + "\n"
    heads = (
        f"{target_name(study.target)} accuracy", "sex: strongest AUROC", f"{study.second}: strongest AUROC",
        f"{metric_name(ODDS)} (sex)", f"{metric_name(PARITY)} (sex)", f"{metric_name(ODDS)}, intersections",
    )  # fmt: skip
    return to_markdown(Table(("", ""), tuple((head,) for head in heads), tuple(labels), tuple(cells)))


def caption(part: Record, study: StudySet, numbers: Numbers) -> str:
    """What the numbers are, and what they cost."""
    first, second = (numbers.num_seeds(model.experiment) for model in study.models)
    seeds = f"{first} training seeds" + (f" ({second} of the second model)" if second not in (0, first) else "")
    spent = part["seconds"].get(study.experiment, {})
    cost = "; ".join(f"{min(clock):.0f} to {max(clock):.0f} s to {verb}" for verb, clock in spent.items() if clock)
    kind = "Generated data, nobody in them is real. " if part["data"].get("stand_in") else ""
    return (
        f"{kind}Test rows; mean ± standard deviation over {seeds}. The target is read by logistic "
        "regression on standardised embeddings, or decided by the method itself. Leakage is the AUROC of the strongest of linear, MLP "
        "and boosted probes; from a classifier's decisions, of a linear one. The front is that of all methods below `no context`, each "
        f"of which was trained or fitted for its one point. One seed took {cost or 'a time that was not recorded'}."
    )


def sections(record: Record, sets: Mapping[str, StudySet], folder: str) -> dict[str, str]:
    """Marker -> what stands there; the figures are linked in `folder`."""
    found = {}
    for name, part in record["sets"].items():
        study, numbers = sets[name], Numbers(record["results"])
        pictures = {
            "plane": f"Leakage of sex against accuracy on {study.title}",
            "curves": f"Leakage, utility, equalized odds and calibration against context length on {study.title}",
            "bars": f"Rates and calibration errors of both sexes on {study.title}",
        }
        for kind, text in pictures.items():
            found[f"fairness-{name}-{kind}"] = f"![{text}]({folder}/fairness_{name}_{kind}.svg)\n"
        found[f"fairness-{name}"] = table(study, numbers) + "\n" + caption(part, study, numbers) + "\n"
        found[f"fairness-{name}-targets"] = targets_table(study, numbers, record)
        found[f"fairness-{name}-paired"] = paired_table(study, record)
        found[f"fairness-{name}-variants"] = variant_table(study, numbers)
        if part["known"] is not None:
            found[f"fairness-{name}-known"] = known_table(study, numbers, part["known"])
    return found


def show(record: Record, sets: Mapping[str, StudySet], page: Path = PAGE, figures: Path = FIGURES) -> None:
    """Write the figures and what stands between the page's markers."""
    numbers = Numbers(record["results"])
    for name, part in record["sets"].items():
        note = STAND_IN if part["data"].get("stand_in") else None
        drawn = {
            "plane": [plane(sets[name], numbers, note)],
            "curves": curves(sets[name], numbers, note),
            "bars": group_bars(sets[name], numbers, note),
        }
        for kind, rows in drawn.items():
            write_text(figures / f"fairness_{name}_{kind}.svg", stacked(rows))
    link = Path(os.path.relpath(figures, page.parent)).as_posix()
    write_text(page, filled(page.read_text(), sections(record, sets, link)))
