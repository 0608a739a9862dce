"""Train and evaluate the experiments on context-dependent labels; write benchmarks/results/label_shift.json, its page and figure.

python benchmarks/label_shift.py --jobs 2    three seeds, two runs at a time
python benchmarks/label_shift.py --tables    the tables again from the stored numbers

contextssl data prepare iebench-easy and contextssl data prepare adult make the data. Runs stay in outputs/benchmarks: a second
call skips what is done and continues what was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from label_shift_report import accuracy_table, show, target_table
from label_shift_rows import Numbers
from runs import ROOT, Trial, as_json, measure, packed, unpacked

from contextssl.evaluation.results import Result
from contextssl.files import write_text

FILE = ROOT / "benchmarks/results/label_shift.json"
RUNS = Path("outputs/benchmarks")


def _only(rule: str, other: str) -> tuple[str, ...]:
    """Overrides of a reference with one fixed rule."""
    shares = "method.environments.probabilities"
    return (f"{shares}.{rule}=1.0", f"{shares}.{other}=0.0")


# Name in a record -> (experiment, variant, overrides).
TRIALS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    name: (name.rpartition("/")[0] if variant else name, variant, overrides)
    for name, variant, overrides in (
        ("supervised/label_shift", "", ()),
        ("supervised/label_shift/coarse", "coarse", ("domain=supervised_iebench_coarse",)),
        ("supervised/label_shift_single/rotation", "rotation", _only("rotation", "color")),
        ("supervised/label_shift_single/color", "color", _only("color", "rotation")),
        ("supervised/label_tokens", "", ()),
        ("supervised/label_permutations", "", ()),
        ("supervised/adult_income_flip", "", ()),
        ("supervised/adult_income_flip/targets", "targets", ("domain=supervised_adult_targets",)),
        ("supervised/adult_income_single/sex", "sex", _only("sex", "race")),
        ("supervised/adult_income_single/race", "race", _only("race", "sex")),
    )
}


def trials_of(seeds: Sequence[int], names: Sequence[str], runs: Path, overrides: Sequence[str] = ()) -> list[Trial]:
    """A run for each of the named experiments and seeds."""
    chosen = [found for name, found in TRIALS.items() if name in names]
    return [Trial(experiment, seed, (*own, *overrides), runs, variant) for experiment, variant, own in chosen for seed in seeds]


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
    numbers = Numbers(record["results"], record["seconds"])
    print(target_table(numbers), accuracy_table(numbers), sep="\n")


if __name__ == "__main__":
    main()
