"""Pictures a second of the procedural 3DIEBench; writes benchmarks/results/rendering.json.

    python benchmarks/rendering.py        64 pixels, 3x3 samples, one process and two, on an idle machine

Sets are rendered into a temporary folder as `contextssl data prepare iebench-procedural` does it, JPEG and latents
included. With each number of processes a smaller and a larger set is rendered: the difference says how fast it is, and
what is left is the time to start.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from contextssl.files import write_text
from contextssl.run import describe_environment
from domains.vision.procedural.generate import generate
from domains.vision.procedural.plan import Views

RESULTS = Path(__file__).parent / "results/rendering.json"
CATEGORIES = 16


def render_seconds(objects: int, views: Views, processes: int, categories: int = CATEGORIES) -> float:
    """Wall seconds of rendering `objects` of each category anew."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        generate(Path(folder) / "set", objects=objects, categories=categories, views=views, processes=processes)
        return time.perf_counter() - start


def measure(objects: int, views: Views, processes: int, repetitions: int, categories: int = CATEGORIES) -> dict[str, float]:
    """Pictures a second once it runs, and seconds to start; the fastest of the repetitions, which others disturbed least."""
    per_object, counts = categories * views.views, (objects, 3 * objects)
    spent = [min(render_seconds(count, views, processes, categories) for _ in range(repetitions)) for count in counts]
    return {"processes": processes} | rates([count * per_object for count in counts], spent)


def rates(images: Sequence[int], seconds: Sequence[float]) -> dict[str, float]:
    """Pictures a second and seconds to start, from the straight line through two sets; ValueError when it does not rise."""
    (few, many), (short, long) = images, seconds
    if long <= short:
        raise ValueError(f"{many} pictures took no longer than {few}: give more --objects, or wait until the machine is idle")
    per_second = (many - few) / (long - short)
    return {
        "images_per_second": round(per_second, 1),
        "images_per_second_with_start": round(many / long, 1),
        "seconds_to_start": round(max(0.0, short - few / per_second), 2),
        "images": many,
        "seconds": round(long, 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--objects", type=int, default=4, help="per category in the smaller set; three times as many in the larger"
    )
    parser.add_argument("--categories", type=int, default=CATEGORIES)
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    views = Views(views=options.views, size=options.size, samples=options.samples)
    load, rows = os.getloadavg()[0], []
    for processes in options.processes:
        rows.append(row := measure(options.objects, views, processes, options.repetitions, options.categories))
        print(
            f"{processes} processes: {row['images_per_second']} images a second, {row['seconds_to_start']} s to start", flush=True
        )
    record = {
        "environment": describe_environment(["python", "benchmarks/rendering.py", *words]),
        "load_average": load,
        "size": options.size,
        "samples": options.samples,
        "categories": options.categories,
        "results": rows,
    }
    write_text(options.out, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
