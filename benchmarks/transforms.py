"""Images a second of crop + blur + colour: a batch at once against torchvision v2, image by image.

    python benchmarks/transforms.py                                      32 and 96 pixels, two threads, on an idle machine
    python benchmarks/transforms.py --device cuda --batch 4096 --out benchmarks/results/transforms_gpu.json

Both draw their own parameters, from the same ranges (protocol 5.2). torchvision runs twice: on floats, and on bytes that
become floats at the end, which it recommends; ours runs in the fixed order of colours and in drawn ones, which is what
torchvision does. All take turns in one run, so that a busy machine slows all of them alike. That they compute the same is
tested (tests/domains/vision/test_transforms_oracle.py).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
import torchvision.transforms.v2 as torchvision_transforms
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode

from contextssl.files import write_text
from contextssl.run import describe_environment
from domains.vision.transforms import ColorJitter, Compose, GaussianBlur, RandomResizedCrop

RESULTS = Path(__file__).parent / "results/transforms_cpu.json"


def torchvision_views(side: int, as_bytes: bool) -> torchvision_transforms.Compose:
    """Torchvision's transforms with the ranges of ours."""
    kernel_size = max(3, int(0.1 * side) | 1)
    return torchvision_transforms.Compose([
        torchvision_transforms.RandomResizedCrop(side, scale=(0.2, 1.0), interpolation=InterpolationMode.BICUBIC, antialias=True),
        torchvision_transforms.GaussianBlur(kernel_size, (0.1, 2.0)),
        torchvision_transforms.RandomApply([torchvision_transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        *([torchvision_transforms.ToDtype(torch.float32, scale=True)] if as_bytes else []),
    ])  # fmt: skip


def contestants(side: int, batch: int, one_by_one: int, device: str) -> dict[str, tuple[int, Callable[[], Tensor]]]:
    """Name -> how many images it makes, and a function that makes them."""
    draws = torch.Generator().manual_seed(0)
    in_bytes = torch.randint(256, (batch, 3, side, side), dtype=torch.uint8, generator=draws).to(device)
    floats = in_bytes / 255
    parts = [RandomResizedCrop(side), GaussianBlur()]
    ours, any_order = Compose([*parts, ColorJitter()]), Compose([*parts, ColorJitter(order=None)])
    theirs, theirs_in_bytes = torchvision_views(side, as_bytes=False), torchvision_views(side, as_bytes=True)
    return {
        "batched": (batch, lambda: ours(floats, draws)[0]),
        "batched_drawn_order": (batch, lambda: any_order(floats, draws)[0]),
        "torchvision_floats": (one_by_one, lambda: torch.stack([theirs(image) for image in floats[:one_by_one]])),
        "torchvision_bytes": (one_by_one, lambda: torch.stack([theirs_in_bytes(image) for image in in_bytes[:one_by_one]])),
    }


def measure(side: int, batch: int, one_by_one: int, device: str, repetitions: int) -> dict[str, object]:
    """Images a second of each, medians of repetitions in turns, and how many times as fast as torchvision's faster way."""
    functions = contestants(side, batch, one_by_one, device)
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repetition in range(repetitions + 1):
        for name, (num_images, function) in functions.items():
            start = time.perf_counter()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            if repetition:  # the first one warms up
                seconds[name].append((time.perf_counter() - start) / num_images)
    rate = {name: 1 / median(times) for name, times in seconds.items()}
    theirs = max(rate["torchvision_floats"], rate["torchvision_bytes"])
    return {
        "side": side,
        "batch": batch,
        "one_by_one": one_by_one,
        "repetitions": repetitions,
        "images_per_second": {name: round(value, 1) for name, value in rate.items()},
        "times_torchvision": round(rate["batched"] / theirs, 2),
        "times_torchvision_drawn_order": round(rate["batched_drawn_order"] / theirs, 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--one-by-one", type=int, default=128, help="images that torchvision gets in a repetition")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)  # torchvision draws from the global stream
    load, rows = os.getloadavg()[0], []
    for side in options.sides:
        rows.append(row := measure(side, options.batch, options.one_by_one, options.device, options.repetitions))
        print(
            f"{side} pixels: {row['images_per_second']} images a second, {row['times_torchvision']} times torchvision", flush=True
        )
    record = {
        "environment": describe_environment(["python", "benchmarks/transforms.py", *words]),
        "device": options.device,
        "load_average": load,
        "note": "medians of interleaved repetitions; with a load average above the number of processors the machine was shared",
        "results": rows,
    }
    write_text(options.out, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
