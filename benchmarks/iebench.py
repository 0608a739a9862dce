"""Train and evaluate the procedural 3DIEBench experiments; write benchmarks/results/iebench_procedural.json, tables, figures.

python benchmarks/iebench.py --jobs 2             every preset on the easy set, three seeds, two runs at a time, one thread each
python benchmarks/iebench.py --jobs 2 --set hard  the same on the hard set: iebench_hard.json
python benchmarks/iebench.py --jobs 2 --ablations mask probability and auxiliary predictor: iebench_ablations.json
python benchmarks/iebench.py --tables             tables and figures again from the stored numbers

Make the set first: contextssl data prepare iebench-easy. Runs stay in outputs/benchmarks: a second call skips what is
done and continues what was interrupted, and the ablations use the presets' runs that they share.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from iebench_report import headline_table, show
from iebench_rows import AUXILIARY, CLASSES, GROUPS, MASKS, PRESETS, SINGLE
from runs import ROOT, Record, Trial, as_json, measure, packed, unpacked

from contextssl.evaluation.results import Result
from contextssl.files import write_text

RESULTS = ROOT / "benchmarks/results"
FILES = {"easy": RESULTS / "iebench_procedural.json", "hard": RESULTS / "iebench_hard.json"}
RUNS = {"easy": Path("outputs/benchmarks/iebench-easy"), "hard": Path("outputs/benchmarks/iebench-hard")}
DOMAINS = {"easy": "iebench_easy", "hard": "iebench_hard"}
ABLATIONS = RESULTS / "iebench_ablations.json"


def preset_jobs(names: Sequence[str], seeds: Sequence[int], data: str, runs: Path) -> list[Trial]:
    """A run for each preset and seed on that set."""
    return [Trial(PRESETS[name], seed, (f"domain={DOMAINS[data]}",), runs) for name in names for seed in seeds]


def ablation_jobs(seeds: Sequence[int], runs: Path) -> list[Trial]:
    """A run for each mask probability and each weight of the auxiliary predictor on the easy set."""
    jobs = []
    for name in dict.fromkeys([*MASKS.values(), *AUXILIARY.values()]):
        experiment, _, variant = (name, "", "") if name in PRESETS.values() else name.rpartition("/")
        own = (f"method.mask_probabilities=[{variant}]",) if variant else ()
        jobs += [Trial(experiment, seed, (f"domain={DOMAINS['easy']}", *own), runs, variant) for seed in seeds]
    return jobs


def needed_by_ablations(name: str, row: Result) -> bool:
    """The curves of both groups and the classes in the encoder's features."""
    shown = (row.target in GROUPS and row.metric == SINGLE.metric) or (row.target == CLASSES and row.metric == "accuracy")
    return shown and row.protocol.partition("/")[0] == SINGLE.protocol


def read(file: Path) -> Record | None:
    """A stored record, None when it has not been measured."""
    return unpacked(json.loads(file.read_text())) if file.is_file() else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure unless told otherwise, and write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--set", choices=FILES, default="easy", help="which data")
    parser.add_argument("--ablations", action="store_true", help="the ablations instead of the presets, on the easy set")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    options = parser.parse_args(words)
    if options.ablations and options.set != "easy":
        parser.error("--ablations are measured on the easy set: leave out --set")
    if not options.tables:
        command = ["python", "benchmarks/iebench.py", *words]
        if options.ablations:
            jobs, file, keep = ablation_jobs(options.seeds, RUNS["easy"]), ABLATIONS, needed_by_ablations
        else:
            jobs = preset_jobs(options.presets, options.seeds, options.set, RUNS[options.set])
            file, keep = FILES[options.set], lambda name, row: True
        write_text(file, as_json(packed(measure(jobs, options.jobs, command, keep))))
    records = {name: record for name, file in FILES.items() if (record := read(file)) is not None}
    show(records, read(ABLATIONS))
    for name, record in records.items():
        print(f"{name} set\n\n{headline_table(record['results'])}")


if __name__ == "__main__":
    main()
