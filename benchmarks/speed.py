"""Speed and memory in one run: our step, SimCLR of other libraries, queries, evaluation, transforms, growth.

    python benchmarks/speed.py                          all parts on the CPU, about ten minutes on two idle cores; `make bench`
    python benchmarks/speed.py --device cuda            128 pixels in bfloat16; benchmarks/results/speed_gpu.json
    python benchmarks/speed.py --parts queries --quick  a look at one part: tiny sizes, few rounds, printed only
    python benchmarks/speed.py --table                  the table of docs/speed.md from the stored record, nothing measured

What is compared takes turns, so that a busy machine slows all of it alike; medians, and ratios of medians. Memory is the
growth of a fresh process at its first step (CPU, Linux) or the allocator's peak (CUDA). Before anything is timed the two
sides are shown to compute the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peers.contestant import Settings
from runs import ROOT, filled
from speed_parts import evaluation, queries, steps, transforms
from speed_parts.environments import environments_folder
from speed_parts.table import table
from speed_parts.turns import Effort

from contextssl.files import write_text
from contextssl.run import describe_environment

PARTS = ("steps", "peers", "queries", "evaluation", "transforms", "scaling", "context_memory")
PAGE = ROOT / "docs/speed.md"
NOTE = "medians of rounds in turns; with a load average above the number of processors the machine was shared"


@dataclass(frozen=True)
class Scale:
    """How large everything is, and for how long each part is measured."""

    steps: steps.Sizes
    queries: queries.Sizes
    evaluation: evaluation.Sizes
    transforms: transforms.Sizes
    seconds: dict[str, float]
    least: int = 3
    most: int = 15

    def effort(self, part: str) -> Effort:
        """At least three rounds, however slow the machine is."""
        return Effort(self.least, self.most, self.seconds[part])


def full(device: str, threads: int, compile: bool) -> Scale:
    """What is committed: ResNet-18 on 512 images of 64 pixels; on a GPU 1024 of 128 pixels in bfloat16."""
    settings = Settings(images=512, side=64, device=device, threads=threads, compile=compile)
    if device == "cuda":
        settings = replace(settings, images=1024, side=128, precision="bfloat16")
    return Scale(
        steps.Sizes(settings),
        queries.Sizes(device=device, threads=threads),
        evaluation.Sizes(device=device),
        transforms.Sizes(device=device),
        {"steps": 60, "peers": 90, "queries": 40, "evaluation": 40, "transforms": 30, "scaling": 60},
    )


def quick(device: str, threads: int, compile: bool) -> Scale:
    """Seconds instead of minutes, to see that everything runs; the numbers mean nothing."""
    settings = Settings(images=32, side=16, projector_dims=(32, 16), device=device, threads=threads, compile=compile)
    small = {
        name: replace(queried, overrides=(*queried.overrides, "method.transformer.width=64"), num_cached=64, num_uncached=8)
        for name, queried in queries.METHODS.items()
    }
    return Scale(
        steps.Sizes(settings, 8, 32, (8,), (64,), (16,), batch_transitions=4, reference=small["reference"].overrides),
        queries.Sizes(small, (2, 14), small["reference"], (1, 16), device, threads),
        evaluation.Sizes(16, 4, 16, (16,), device),
        transforms.Sizes((16,), 16, 4, device),
        dict.fromkeys(PARTS, 0.0),
        least=1,
        most=1,
    )


def measurements(scale: Scale, folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """Every part, ready to run; peers get their environments under the folder."""
    return {
        "steps": partial(steps.steps, scale.steps, scale.effort("steps")),
        "peers": partial(steps.peers, scale.steps, scale.effort("peers"), folder),
        "queries": partial(queries.queries, scale.queries, scale.effort("queries")),
        "evaluation": partial(evaluation.evaluation, scale.evaluation, scale.effort("evaluation")),
        "transforms": partial(transforms.transforms, scale.transforms, scale.effort("transforms")),
        "scaling": partial(steps.scaling, scale.steps, scale.effort("scaling")),
        "context_memory": partial(queries.context_memory, scale.queries),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parsed(words)
    stored = ROOT / f"benchmarks/results/speed_{'gpu' if options.device == 'cuda' else 'cpu'}.json"
    if options.table:
        write_table(json.loads(stored.read_text()), options.device)
        return
    torch.set_num_threads(options.threads)
    scale = (quick if options.quick else full)(options.device, options.threads, options.compile)
    settings = {name: value for name, value in vars(scale.steps.settings).items() if name != "own"}
    record: dict[str, Any] = {
        "environment": describe_environment(["python", "benchmarks/speed.py", *words]),
        "load_average": os.getloadavg()[0], "note": NOTE, "quick": options.quick, "settings": settings, "seconds": {},
    }  # fmt: skip
    for part, measure in measurements(scale, options.environments).items():
        if part in options.parts:
            start = time.perf_counter()
            record[part] = measure()
            record["seconds"][part] = round(time.perf_counter() - start, 1)
            print(f"{part} ({record['seconds'][part]} s)", json.dumps(record[part], indent=1), flush=True)
    print(table(record))
    whole = not options.quick and tuple(options.parts) == PARTS
    if options.out or whole:
        write_text(options.out or stored, json.dumps(record, indent=1) + "\n")
    if whole and options.out is None:
        write_table(record, options.device)


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="tiny sizes and one round")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--compile", action="store_true", help="torch.compile for all contestants of a step")
    parser.add_argument("--environments", type=Path, default=environments_folder(), help="where those of the peers are kept")
    parser.add_argument("--table", action="store_true", help="only write the table of the stored record")
    parser.add_argument("--out", type=Path, help="instead of benchmarks/results, where only a whole run goes")
    return parser.parse_args(words)


def write_table(record: dict[str, Any], device: str) -> None:
    """Put the table between the markers `speed` (`speed-gpu`) of the page."""
    section = "speed" if device == "cpu" else "speed-gpu"
    write_text(PAGE, filled(PAGE.read_text(encoding="utf-8"), {section: table(record)}))


if __name__ == "__main__":
    main()
