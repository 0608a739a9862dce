"""Train and evaluate the experiments on context-dependent labels; write benchmarks/results/label_shift.json and its page.

python benchmarks/label_shift.py --jobs 2    three seeds, two runs at a time
python benchmarks/label_shift.py --tables    the tables again from the stored numbers

contextssl data prepare iebench-easy and contextssl data prepare adult make the data. Runs stay in outputs/benchmarks: a second
call skips what is done and continues what was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from runs import ROOT, Record, Trial, as_json, cell, filled, measure, packed, unpacked

from contextssl.evaluation.results import Result
from contextssl.files import write_text
from contextssl.reporting.tables import Cell, Table, to_markdown

FILE = ROOT / "benchmarks/results/label_shift.json"
PAGES = (ROOT / "README.md", ROOT / "docs/results/label_shift.md")
RUNS = Path("outputs/benchmarks")
LENGTHS = (0, 2, 4, 8, 14, 30, 62, 126)
R2_LENGTHS = (0, 2, 14, 126)
FIRST = 2  # tokens: the shortest context that holds a pair


def _only(rule: str, other: str) -> tuple[str, ...]:
    """Overrides of a reference with one fixed rule."""
    shares = "method.environments.probabilities"
    return (f"{shares}.{rule}=1.0", f"{shares}.{other}=0.0")


# Name in a record -> (experiment, variant, overrides).
TRIALS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    name: (name.rpartition("/")[0] if variant else name, variant, overrides)
    for name, variant, overrides in (
        ("supervised/label_shift", "", ()),
        ("supervised/label_shift_single/rotation", "rotation", _only("rotation", "color")),
        ("supervised/label_shift_single/color", "color", _only("color", "rotation")),
        ("supervised/label_shift_simclr", "", ()),
        ("supervised/label_tokens", "", ()),
        ("supervised/label_permutations", "", ()),
        ("supervised/adult_income_flip", "", ()),
        ("supervised/adult_income_single/sex", "sex", _only("sex", "race")),
        ("supervised/adult_income_single/race", "race", _only("race", "sex")),
    )
}
SHIFTED = {
    "supervised/label_shift": ("rotation", "color"),
    "supervised/label_tokens": ("rotation", "color"),
    "supervised/adult_income_flip": ("sex", "race"),
}
SINGLE = {
    "supervised/label_shift": "supervised/label_shift_single",
    "supervised/adult_income_flip": "supervised/adult_income_single",
}
CONTROLS = ("true", "contradictory", "other-split", "label-noise")


def trials_of(seeds: Sequence[int], names: Sequence[str], runs: Path, overrides: Sequence[str] = ()) -> list[Trial]:
    """A run for each of the named experiments and seeds."""
    chosen = [found for name, found in TRIALS.items() if name in names]
    return [Trial(experiment, seed, (*own, *overrides), runs, variant) for experiment, variant, own in chosen for seed in seeds]


class Numbers:
    """The rows of a record, found by what they are."""

    def __init__(self, rows: Sequence[Record]) -> None:
        place = ("experiment", "target", "probe", "metric", "environment", "control", "context_length")
        self._rows = {tuple(row[name] for name in place): row for row in rows}
        self.names = {row["experiment"] for row in rows}

    def label(
        self, experiment: str, rule: str, length: int, control: str = "true", *, probe: str = "head", metric: str = "accuracy",
        read: str | None = None,
    ) -> Record | None:  # fmt: skip
        """What was measured of a rule's labels in a context of that rule, or of another rule's (`read`)."""
        place = (rule, control, length) if length else ("-", "empty", 0)
        return self._rows.get((experiment, f"label_{read or rule}", probe, metric, *place))

    def r2(self, experiment: str, told: str, group: str, length: int) -> Record | None:
        """Pooled R2 of the change of a group: rotation by an MLP, colour linearly, as the paper."""
        place = (told, "true", length) if length else ("-", "empty", 0)
        probe = "mlp" if group == "rotation" else "linear"
        return self._rows.get((experiment, f"relative_{group}", probe, "r2_pooled", *place))

    def features(self, experiment: str, target: str, probe: str, metric: str) -> Record | None:
        """What was read from encoder features."""
        return self._rows.get((experiment, target, probe, metric, "-", "-", 0))

    def permutations(self, control: str, probe: str, length: int) -> Cell:
        """Mean over the permutations that are, or are not, trained on; without a context over those that are."""
        place = (probe, "accuracy", "empty" if length == 0 else control, length)
        found = [
            row["mean"]
            for (experiment, target, *_, environment, _, _), row in self._rows.items()
            if experiment == "supervised/label_permutations" and target.startswith("label_permutation")
            and (row["probe"], row["metric"], row["control"], row["context_length"]) == place
            and environment in ("-", target.removeprefix("label_"))
        ]  # fmt: skip
        return Cell(sum(found) / len(found)) if found else Cell()


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
    """Own and other rule's labels after contexts that lie, at the longest length."""
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
    return _table(("experiment", "context"), columns, lines)


def group_table(numbers: Numbers) -> str:
    """What is kept of both groups after contexts of either rule."""
    columns = tuple((f"{group} R²", f"c = {length}") for group in ("rotation", "color") for length in R2_LENGTHS)
    experiment = "supervised/label_shift"
    lines = [
        ((told,), [cell(numbers.r2(experiment, told, group, length)) for group in ("rotation", "color") for length in R2_LENGTHS])
        for told in SHIFTED[experiment]
    ]
    return _table(("context",), columns, lines)


def baseline_table(numbers: Numbers) -> str:
    """SimCLR: one linear head on features, asked under both rules."""
    row = [
        cell(numbers.features("supervised/label_shift_simclr", target, "linear", "accuracy"))
        for target in ("label_rotation", "label_color", "label_any")
    ]
    return _table(("method",), (("rotation labels",), ("color labels",), ("either",)), [(("SimCLR",), row)])


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
    for experiment, single in SINGLE.items():
        for rule in SHIFTED[experiment]:
            gaps = list(_gaps(numbers, experiment, single, rule))
            lines.append(((experiment, rule), [Cell(max(gaps)) if gaps else Cell()]))
    return _table(("experiment", "context"), (("largest shortfall",),), lines)


def _gaps(numbers: Numbers, experiment: str, single: str, rule: str) -> Iterator[float]:
    for length in (length for length in LENGTHS if length >= FIRST):
        own, fixed = numbers.label(experiment, rule, length), numbers.label(f"{single}/{rule}", rule, length)
        if own is not None and fixed is not None:
            yield fixed["mean"] - own["mean"]


def _table(
    corner: tuple[str, ...], columns: tuple[tuple[str, ...], ...], lines: Sequence[tuple[tuple[str, ...], list[Cell]]]
) -> str:
    shown = [(labels, cells) for labels, cells in lines if any(one.mean is not None for one in cells)]
    return to_markdown(Table(corner, columns, tuple(labels for labels, _ in shown), tuple(tuple(cells) for _, cells in shown)))


TABLES: dict[str, Callable[[Numbers], str]] = {
    "label-shift": accuracy_table,
    "label-shift-distance": distance_table,
    "label-shift-calibration": lambda numbers: accuracy_table(numbers, "ece"),
    "label-shift-controls": control_table,
    "label-shift-groups": group_table,
    "label-shift-baselines": baseline_table,
    "label-shift-permutations": permutation_table,
}


def show(record: Record, pages: Sequence[Path] = PAGES) -> None:
    """Write the tables into the pages."""
    numbers = Numbers(record["results"])
    sections = {name: table(numbers) for name, table in TABLES.items()}
    for page in pages:
        write_text(page, filled(page.read_text(encoding="utf-8"), sections))


def everything(name: str, row: Result) -> bool:
    """Every row is stored."""
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure unless told otherwise, and write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--experiments", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="for all runs, such as train.num_steps=300")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    options = parser.parse_args(words)
    if not options.tables:
        trials = trials_of(options.seeds, options.experiments, RUNS, options.set)
        record = measure(trials, options.jobs, ["python", "benchmarks/label_shift.py", *words], everything)
        write_text(FILE, as_json(packed(record)))
    record = unpacked(json.loads(FILE.read_text()))
    show(record)
    print(accuracy_table(Numbers(record["results"])))


if __name__ == "__main__":
    main()
