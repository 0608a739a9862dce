"""What encoding every image once saves over encoding in every epoch of every probe; benchmarks/results/evaluation_speed.json.

    python benchmarks/evaluation_speed.py                          two encoders, untrained, on the easy set, one thread
    python benchmarks/evaluation_speed.py --run outputs/.../seed-0 a trained run's own configuration and weights

Ours: 3 environments, 5 context lengths and all protocols of an evaluation config, one context draw, no controls; a wrapper
counts what goes through the encoder. The other way is that of the released evaluation (protocol 6.2 to 6.4, 11.13): the
frozen encoder stands in the probes' training loops, so that for every epoch and mode both views of a pair of every training
object are encoded, and for every context length queried, before each of 15 probes makes its step. A slice of one epoch is
timed and multiplied by the counts below. Times depend little on the weights; the slower the encoder, the nearer the
ratio of times comes to that of encoded images.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from contextssl.adapter import DomainAdapter, Split
from contextssl.checkpoint import load_weights
from contextssl.commands.configuration import build, compose_config, saved_config
from contextssl.evaluation.controls import Control
from contextssl.evaluation.embeddings import Cell, EmbeddingBank
from contextssl.evaluation.results import Result
from contextssl.files import write_text
from contextssl.method import ContextualMethod
from contextssl.models.heads import mlp
from contextssl.run import Run, describe_environment
from contextssl.training import choose_device

RESULTS = Path(__file__).parent / "results/evaluation_speed.json"
EXPERIMENT = "experiment=iebench/rotcolor_procedural"
ENCODERS = ("small_image_resnet", "SmallConvNet")  # ResNet-18, the paper's encoder, with a stem for 32 pixels; and ours for CPUs
LENGTHS = (0, 2, 14, 30, 126)
HIDDEN = (1024, 1024)


@dataclass(frozen=True, slots=True)
class Probed:
    """One protocol of the released evaluation: epochs, views side by side in an input, what is reported on at the end."""

    name: str
    epochs: int
    views: int
    every_view_reported: bool


RELEASED = (
    Probed("classification (6.2)", 300, 1, True),
    Probed("individual latents (6.3)", 300, 1, True),
    Probed("relative latents (6.4)", 200, 2, False),
)


class CountedEncoder(nn.Module):
    """An encoder that counts the images and the calls that reach it."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.out_dim = encoder, encoder.out_dim
        self.images, self.calls = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        """What the encoder says."""
        self.images, self.calls = self.images + len(x), self.calls + 1
        features: Tensor = self.encoder(x)
        return features


def measure_ours(
    method: ContextualMethod, adapter: DomainAdapter, protocols: Iterable[Callable[[EmbeddingBank], Iterable[Result]]]
) -> dict[str, Any]:
    """Images and calls that reached the encoder, wall seconds and numbers of a whole evaluation."""
    counted = method.encoder = CountedEncoder(method.encoder)
    start = time.perf_counter()
    bank = EmbeddingBank(method, adapter, context_lengths=LENGTHS, context_draws=1, controls=())
    num_results = sum(len(list(protocol(bank))) for protocol in protocols)
    seconds = time.perf_counter() - start
    method.encoder = counted.encoder
    return {
        "images_encoded": counted.images,
        "encoder_calls": counted.calls,
        "cells": len(bank.cells),
        "results": num_results,
        "seconds": round(seconds, 3),
    }


class Slice:
    """The parts of one epoch of the released evaluation over a batch of pairs of views, one pair of each object."""

    def __init__(self, method: ContextualMethod, adapter: DomainAdapter, num_objects: int) -> None:
        self.method, self.num_objects = method.eval(), num_objects
        device = next(method.parameters()).device
        pairs = adapter.held_out(num_objects, 1, seed=0).to(device)
        self.views = (pairs.state[0], pairs.next_state[0])
        self.modes = adapter.actions.environments
        bank = EmbeddingBank(method, adapter, context_lengths=LENGTHS, context_draws=1, controls=())
        self.after = [[bank.conditioned(Cell(mode.name, Control.TRUE, length, 0)) for length in LENGTHS] for mode in self.modes]
        with torch.inference_mode():
            self.features = [method.represent(view) for view in self.views]
            self.width = self.after[0][0].embed_features(self.features[0][:1]).shape[-1]
        labelled = adapter.labelled(Split.TRAIN)
        self.latent_dims = [group.latent_dim for group in adapter.actions.groups]
        self.num_classes = next((target.num_classes for target in labelled.targets if target.num_classes), 2)
        self.heads = {probed.name: self._heads(probed).to(device) for probed in RELEASED}

    def _heads(self, probed: Probed) -> nn.ModuleList:
        """A class probe, or an MLP for the first group and linear layers for the others (protocol 6.2 to 6.4)."""
        if probed.name.startswith("classification"):
            return nn.ModuleList([nn.Linear(self.width, self.num_classes)])
        (first, *others), width = self.latent_dims, probed.views * self.width
        return nn.ModuleList([mlp(width, HIDDEN, first), *(nn.Linear(width, out_dim) for out_dim in others)])

    @torch.inference_mode()
    def encode(self) -> None:
        """Both views, once for every mode."""
        for _ in self.modes:
            for view in self.views:
                self.method.represent(view)

    @torch.inference_mode()
    def query(self) -> None:
        """Both views after every context of every mode."""
        for mode in self.after:
            for conditioned in mode:
                for features in self.features:
                    conditioned.embed_features(features)

    def step(self, probed: Probed) -> None:
        """One Adam step of the probes of every mode and length."""
        embeddings = torch.randn(self.num_objects, probed.views * self.width).to(self.features[0].device)  # values do not matter
        heads = self.heads[probed.name]
        optimizer = torch.optim.Adam(heads.parameters(), lr=1e-3)
        for _ in range(len(self.modes) * len(LENGTHS)):
            optimizer.zero_grad()
            sum(head(embeddings).square().mean() for head in heads).backward()
            optimizer.step()

    def seconds(self, repetitions: int) -> dict[str, float]:
        """Median wall seconds of each part."""
        parts: dict[str, Callable[[], None]] = {"encode": self.encode, "query": self.query}
        parts |= {f"step, {probed.name}": lambda probed=probed: self.step(probed) for probed in RELEASED}  # type: ignore[misc]
        return {name: _median_seconds(part, repetitions) for name, part in parts.items()}


def _median_seconds(part: Callable[[], None], repetitions: int) -> float:
    measured = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        part()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        measured.append(time.perf_counter() - start)
    return median(measured[1:])  # the first one warms up


def extrapolate(seconds: dict[str, float], slice_objects: int, train_objects: int, test_objects: int, test_views: int,
                num_modes: int) -> dict[str, Any]:  # fmt: skip
    """What the released evaluation would encode, and how long it would take, from the seconds of one slice.

    The reported rows are encoded and queried once in every mode: every view of the test objects, or one pair of each.
    """
    pairs, reported = 0, 0
    steps = 0.0
    for probed in RELEASED:
        pairs += probed.epochs * train_objects
        reported += test_views if probed.every_view_reported else 2 * test_objects
        steps += seconds[f"step, {probed.name}"] * probed.epochs * train_objects / slice_objects
    views = 2 * pairs + reported
    forward = (seconds["encode"] + seconds["query"]) * views / (2 * slice_objects)
    return {
        "images_encoded": views * num_modes,
        "queries": views * num_modes * len(LENGTHS),
        "seconds_encoding_and_queries": round(forward, 1),
        "seconds": round(forward + steps, 1),
    }


def compare(method: ContextualMethod, adapter: DomainAdapter, protocols: Sequence[Any], slice_objects: int,
            repetitions: int) -> dict[str, Any]:  # fmt: skip
    """Counts, seconds and ratios of both ways."""
    ours = measure_ours(method, adapter, protocols)
    epoch_slice = Slice(method, adapter, slice_objects)
    seconds = epoch_slice.seconds(repetitions)
    train, test = adapter.labelled(Split.TRAIN), adapter.labelled(Split.TEST)
    released = extrapolate(
        seconds, slice_objects, len(train.item.unique()), len(test.item.unique()), len(test), len(epoch_slice.modes)
    )
    return {
        "ours": ours,
        "slice": {"objects": slice_objects, "seconds": {name: round(value, 5) for name, value in seconds.items()}},
        "released": {"protocols": [asdict(probed) for probed in RELEASED]} | released,
        "ratio": {
            "images_encoded": round(released["images_encoded"] / ours["images_encoded"], 1),
            "seconds": round(released["seconds"] / ours["seconds"], 1),
            "seconds_without_probes_of_released": round(released["seconds_encoding_and_queries"] / ours["seconds"], 1),
        },
    }


def measure(settings: DictConfig, weights: Path | None, options: argparse.Namespace) -> dict[str, Any]:
    """One configuration's counts, seconds and ratios, with what was measured."""
    torch.manual_seed(0)
    adapter = build(settings.domain)
    method = build(settings.method)(adapter.build_encoder(), adapter.actions)
    if weights is not None:
        load_weights(method, weights)
    method.to(choose_device(options.device)).eval()
    protocols = [build(protocol) for protocol in settings.evaluation.protocols.values()]
    return {
        "encoder": settings.domain.encoder._target_.rpartition(".")[2],
        "evaluation": list(settings.evaluation.protocols),
        "load_average": os.getloadavg()[0],
        "data": {key: value for key, value in adapter.manifest.items() if key != "source"},
    } | compare(method, adapter, protocols, options.objects, options.repetitions)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=f"of {EXPERIMENT}")
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), help="of domains.vision.encoders")
    parser.add_argument("--run", type=Path, help="a trained run instead")
    parser.add_argument("--evaluation", default="iebench", help="config of the protocols")
    parser.add_argument("--objects", type=int, default=128, help="in the slice")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    words = [f"evaluation={options.evaluation}"]
    if options.run:
        configs = [saved_config(Run.open(options.run).config, words)]
    else:
        targets = [f"domain.encoder._target_=domains.vision.encoders.{name}" for name in options.encoders]
        configs = [compose_config([EXPERIMENT, *options.overrides, target, *words]) for target in targets]
    rows = []
    for config in configs:
        rows.append(row := measure(config, options.run, options))
        print(row["encoder"], json.dumps({name: row[name] for name in ("ours", "released", "ratio")}, indent=1), flush=True)
    environment = describe_environment(["python", "benchmarks/evaluation_speed.py", *sys.argv[1:]])
    write_text(options.out, json.dumps({"environment": environment, "device": options.device, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
