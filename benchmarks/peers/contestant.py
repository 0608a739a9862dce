"""One contestant of `benchmarks/speed.py`: a process that makes one step whenever it reads a line, and says how long it took.

    < {"images": 512, "side": 64, ...}          settings, once
    > {"versions": {...}, "loss": 2.5, ...}     what it is, once
    < go                                        > seconds of one step
    < memory                                    > megabytes that one step takes beyond what was there
    < flops                                     > floating-point operations of one step

Peers run this file under their own environment: it knows torch and torchvision alone. What the contestants share, encoder,
images, optimizer and layout, is made here, so that it is the same.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

ALLOCATOR = Path(__file__).resolve().parents[2] / "contextssl/allocator.py"  # it needs the standard library alone


@dataclass(frozen=True)
class Settings:
    """What is asked of every contestant.

    Attributes:
        images: in a step, both views of all pairs together.
        side: of an image, pixels.
        projector_dims: widths of SimCLR's projector, the last one of the embedding.
        temperature: of SimCLR.
        device, threads: where.
        precision: `float32`, or `bfloat16` for autocast.
        channels_last: layout of the encoder.
        compile: whether modules go through torch.compile.
        keep_freed_memory: on a CPU, as `contextssl train` does.
        own: what a contestant alone knows of.
    """

    images: int
    side: int
    projector_dims: tuple[int, ...] = (2048, 128)
    temperature: float = 0.1
    device: str = "cpu"
    threads: int = 1
    precision: str = "float32"
    channels_last: bool = True
    compile: bool = False
    keep_freed_memory: bool = False
    own: dict[str, Any] | None = None

    def encoder(self) -> nn.Module:
        """Torchvision's ResNet-18 without its classifier."""
        encoder = resnet18()
        encoder.fc = nn.Identity()
        encoder.out_dim = 512
        return encoder

    def views(self) -> tuple[Tensor, Tensor]:
        """Two [images / 2, 3, side, side] of noise."""
        draws = torch.Generator().manual_seed(1)
        x, y = torch.rand(2, self.images // 2, 3, self.side, self.side, generator=draws).to(self.device)
        return x, y

    def prepared(self, module: nn.Module) -> nn.Module:
        """The module on the device, with the layout and the compilation that are asked for."""
        module.to(self.device).train()
        if self.channels_last:
            module.to(memory_format=torch.channels_last)  # changes images' layers only
        if self.compile:
            module.compile()
        return module

    def optimizer(self, modules: nn.Module) -> torch.optim.Optimizer:
        """The one that all contestants use."""
        return torch.optim.AdamW(modules.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)

    def autocast(self) -> torch.autocast:
        """Around the loss."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")


@dataclass(frozen=True)
class Contestant:
    """What a script builds from settings.

    Attributes:
        step: one step.
        packages: whose versions count.
        num_parameters: trained.
        loss: its loss on `planted_embeddings`, or None where it has none of its own.
    """

    step: Callable[[], object]
    packages: tuple[str, ...]
    num_parameters: int
    loss: float | None = None


def planted_embeddings() -> tuple[Tensor, Tensor]:
    """Two [12, 16] of numbers on which all losses that say they are the same must be the same."""
    number = torch.arange(12 * 16, dtype=torch.float32).view(12, 16)
    return (1.3 * number).sin(), (1.3 * number + 0.7 * (0.9 * number).cos()).sin()


def simclr(
    settings: Settings, head: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], packages: tuple[str, ...]
) -> Contestant:
    """A peer's SimCLR in the loop of its documentation: one view after the other through encoder and head."""
    encoder, (x, y) = settings.prepared(settings.encoder()), settings.views()
    head = settings.prepared(head)
    modules = nn.ModuleList([encoder, head])
    optimizer = settings.optimizer(modules)

    def step() -> None:
        with settings.autocast():
            loss = criterion(head(encoder(x)), head(encoder(y)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    loss = criterion(*(rows.to(settings.device) for rows in planted_embeddings())).item()
    return Contestant(step, packages, sum(parameter.numel() for parameter in modules.parameters()), loss)


def serve(build: Callable[[Settings], Contestant]) -> None:
    """Read settings and orders from stdin until it is closed; answer on stdout, where nothing else may write."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to stderr
    settings = Settings(**json.loads(sys.stdin.readline()))
    torch.set_num_threads(settings.threads)
    if settings.keep_freed_memory and settings.device == "cpu":
        runpy.run_path(str(ALLOCATOR))["keep_freed_memory"]()
    torch.manual_seed(0)
    contestant = build(settings)
    orders = {"go": _seconds, "memory": megabytes, "flops": _operations}
    answers.write(json.dumps({
        "versions": {name: importlib.metadata.version(name) for name in ("torch", *contestant.packages)},
        "num_parameters": contestant.num_parameters,
        "loss": contestant.loss,
    }) + "\n")  # fmt: skip
    for line in sys.stdin:
        answers.write(f"{orders[line.strip()](contestant.step, settings.device)}\n")


def _seconds(step: Callable[[], object], device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - start


def megabytes(step: Callable[[], object], device: str) -> float:
    """Growth of this process (CPU, Linux), or the allocator's peak (CUDA); honest for the first step alone."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of imports and construction
    step()
    return (_resident("VmHWM") - before) / 1024


def _operations(step: Callable[[], object], device: str) -> float:
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def _resident(field: str) -> int:
    """Resident memory in kB, now (VmRSS) or at its peak (VmHWM), as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
