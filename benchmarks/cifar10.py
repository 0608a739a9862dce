"""Train and evaluate the CIFAR-10 experiments; write benchmarks/results/cifar10_<study>.json, tables and figures.

python benchmarks/cifar10.py --jobs 2             crop+blur on a part of the images, three seeds, two runs at a time: cifar10_cpu.json
python benchmarks/cifar10.py --study crop_blur    all images and a ResNet-18, for a GPU; also color_blur and crop_color
python benchmarks/cifar10.py --tables             tables and figures again from the stored numbers

contextssl data prepare cifar10 first saves every run the unpacking. Runs stay in outputs/benchmarks: a second call skips
what is done and continues what was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cifar10_report import Numbers, Study, headline_table, show
from runs import ROOT, Record, Trial, as_json, measure, packed, unpacked

from contextssl.evaluation.results import Result
from contextssl.files import write_text

RESULTS = ROOT / "benchmarks/results"
RUNS = Path("outputs/benchmarks")


def _full(name: str, groups: tuple[str, str]) -> Study:
    """All images, a ResNet-18."""
    experiments = {"default": f"cifar10/{name}", "reference": f"cifar10/{name}_reference", "SimCLR": f"cifar10/{name}_simclr"}
    return Study(groups, experiments)


STUDIES = {
    "cpu": Study(
        ("crop", "blur"),
        {
            "default": "cifar10/crop_blur_cpu",
            "plain": "cifar10/crop_blur_cpu_plain",
            "reference": "cifar10/crop_blur_cpu_reference",
            "SimCLR": "cifar10/crop_blur_cpu_simclr",
        },
    ),
    "crop_blur": _full("crop_blur", ("crop", "blur")),
    "color_blur": _full("color_blur", ("color", "blur")),
    "crop_color": _full("crop_color", ("crop", "color")),
}


def file_of(study: str) -> Path:
    """Where a study's numbers are stored."""
    return RESULTS / f"cifar10_{study}.json"


def jobs_of(study: Study, seeds: Sequence[int], presets: Sequence[str], runs: Path, overrides: Sequence[str] = ()) -> list[Trial]:
    """A run for each preset and seed."""
    chosen = [experiment for preset, experiment in study.experiments.items() if preset in presets]
    return [Trial(experiment, seed, tuple(overrides), runs) for experiment in chosen for seed in seeds]


def read(file: Path) -> Record | None:
    """A stored record, None when it has not been measured."""
    return unpacked(json.loads(file.read_text())) if file.is_file() else None


def everything(name: str, row: Result) -> bool:
    """Every row is stored."""
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure unless told otherwise, and write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", choices=STUDIES, default="cpu", help="which runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--presets", nargs="+", choices=STUDIES["cpu"].experiments, default=list(STUDIES["cpu"].experiments))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="for all runs, such as train.num_steps=17600")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    options = parser.parse_args(words)
    if not options.tables:
        jobs = jobs_of(STUDIES[options.study], options.seeds, options.presets, RUNS, options.set)
        if not jobs:
            parser.error(f"{options.study} has none of these presets: there are {', '.join(STUDIES[options.study].experiments)}")
        record = measure(jobs, options.jobs, ["python", "benchmarks/cifar10.py", *words], everything)
        write_text(file_of(options.study), as_json(packed(record)))
    records = {name: record for name in STUDIES if (record := read(file_of(name))) is not None}
    show(STUDIES, records)
    for name, record in records.items():
        print(f"{name}\n\n{headline_table(Numbers(STUDIES[name], record['results']))}")


if __name__ == "__main__":
    main()
