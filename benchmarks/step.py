"""How much a training step costs beyond its encoder, and what the prefix cache saves; benchmarks/results/step_cpu.json.

    python benchmarks/step.py                           both sizes on the CPU, one thread
    python benchmarks/step.py --sizes tabular --repetitions 30 --device cuda --out step_gpu.json

What is compared is run in turns, so that a busy machine slows all of it alike; medians and ratios of medians are
reported. Memory is the growth of a fresh process (CPU, Linux) or the allocator's peak (CUDA); for a step
it holds the optimizer's state.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.batch import Transitions
from contextssl.context import interleave
from contextssl.files import write_text
from contextssl.losses.contrastive import all_negatives
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.models.masks import pair_mask
from contextssl.models.transformer import ContextTransformer
from contextssl.run import describe_environment
from contextssl.training import Plan, TrainingState, train_step
from domains.tabular.encoders import TabularEncoder

CONTEXT_LENGTH = 126
ACTIONS = ActionSpace([Group("turn", 4, 4, Kind.QUATERNION, "scalar last"), Group("hue", 2, 2, Kind.CIRCULAR, "turns")])


@dataclass(frozen=True)
class Size:
    """One size of model and batch."""

    encoder: str
    input_shape: tuple[int, ...]
    width: int
    num_layers: int
    embedding_dim: int
    num_sequences: int
    num_transitions: int
    num_queries: int
    num_uncached: int


SIZES = {
    "tabular": Size("tabular", (106,), 96, 2, 32, num_sequences=4, num_transitions=64, num_queries=16384, num_uncached=256),
    "resnet18": Size(
        "resnet18", (3, 64, 64), 512, 3, 512, num_sequences=1, num_transitions=32, num_queries=2048, num_uncached=32
    ),
}


class Case:
    """A method, a batch and queries of one size, on a device."""

    def __init__(self, size: Size, device: str) -> None:
        torch.manual_seed(0)
        self.size, self.device = size, device
        shape = (size.num_sequences, size.num_transitions)
        self.batch = Transitions(
            torch.randn(*shape, *size.input_shape),
            torch.randn(*shape, 6),
            torch.randn(*shape, *size.input_shape),
            torch.randn(*shape, 2, 6),
        ).to(device)
        method = ContextSSL(
            build_encoder(size), ACTIONS, embedding_dim=size.embedding_dim, standardise=True, contrastive=all_negatives,
            transformer=partial(ContextTransformer, width=size.width, num_layers=size.num_layers, fan_in_init=True),
            environments=EnvironmentSampler({"turn": 0.5, "hue": 0.5}),
        ).to(device)  # fmt: skip
        self.plan = Plan(
            optimizer=partial(torch.optim.AdamW, lr=1e-3),
            num_steps=10**6,
            batch_size=size.num_sequences,
            num_transitions=size.num_transitions,
        )
        self.state = TrainingState(method, self.plan.optimizer(method.parameters()), torch.Generator().manual_seed(0))
        self.method = method
        width = int(method.encoder.out_dim)  # type: ignore[arg-type]
        pairs = CONTEXT_LENGTH // 2
        self.context = Transitions(
            torch.randn(1, pairs, width), torch.randn(1, pairs, 6), torch.randn(1, pairs, width), torch.randn(1, pairs, 2, 6)
        ).to(device)
        self.queries = torch.randn(size.num_queries, width, device=device)

    def encoder_only(self) -> None:
        """Forward and backward of the bare encoder over the items of one step."""
        self.method.train()
        self.method.zero_grad(set_to_none=True)
        state, _, next_state, _ = self.batch.pairs()
        self.method.encoder(torch.cat([state, next_state])).square().mean().backward()

    def whole_step(self) -> None:
        """One whole training step over the same items, optimizer included."""
        self.method.train()
        train_step(self.state, [self.batch], self.plan)

    @torch.inference_mode()
    def cached(self) -> None:
        """All queries against one context that is run once, within the measured time."""
        self.method.eval()
        conditioned = self.method.condition_features(self.context, ACTIONS.environment("turn"))
        for rows in self.queries.split(2048):
            conditioned.embed_features(rows)

    @torch.inference_mode()
    def uncached(self) -> Tensor:
        """A few queries, each with the whole context before it, eight at a time."""
        self.method.eval()
        mask = ACTIONS.action_mask(ACTIONS.environment("turn")).to(self.device)
        tokens = interleave(
            self.method.tokens(self.context.state, self.context.action * mask), self.method.tokens(self.context.next_state)
        )
        masks = [pair_mask(CONTEXT_LENGTH + 1, self.device)] * self.size.num_layers
        outputs = []
        for rows in self.queries[: self.size.num_uncached].split(8):
            sequences = torch.cat([tokens.expand(len(rows), -1, -1), self.method.tokens(rows).unsqueeze(1)], dim=1)
            outputs.append(nn.functional.normalize(self.method.transformer(sequences, masks)[:, -1], dim=-1))
        return torch.cat(outputs)

    def check(self) -> None:
        """What is timed computes the same: cached equals uncached."""
        expected = self.uncached()
        with torch.inference_mode():
            conditioned = self.method.condition_features(self.context, ACTIONS.environment("turn"))
            torch.testing.assert_close(conditioned.embed_features(self.queries[: len(expected)]), expected, atol=1e-4, rtol=1e-3)


def build_encoder(size: Size) -> nn.Module:
    """The encoder of that size."""
    if size.encoder == "tabular":
        return TabularEncoder(size.input_shape[0])
    from torchvision.models import resnet18

    encoder = resnet18(num_classes=512)
    encoder.fc = nn.Identity()
    encoder.out_dim = 512
    return encoder


def measure(name: str, size: Size, device: str, repetitions: int) -> dict[str, object]:
    """Times of one size, in turns."""
    case = Case(size, device)
    case.check()
    parts: dict[str, Callable[[], object]] = {
        "encoder_only": case.encoder_only, "whole_step": case.whole_step, "cached": case.cached, "uncached": case.uncached
    }  # fmt: skip
    seconds: dict[str, list[float]] = {part: [] for part in parts}
    for repetition in range(repetitions + 2):
        for part, function in parts.items():
            start = time.perf_counter()
            function()
            if device == "cuda":
                torch.cuda.synchronize()
            if repetition >= 2:  # the first two warm up
                seconds[part].append(time.perf_counter() - start)
    middle = {part: median(values) for part, values in seconds.items()}
    rate = {"cached": size.num_queries / middle["cached"], "uncached": size.num_uncached / middle["uncached"]}
    return {
        "size": name,
        **asdict(size),
        "encoder_parameters": sum(p.numel() for p in case.method.encoder.parameters()),
        "transformer_parameters": sum(p.numel() for p in case.method.transformer.parameters()),
        "encoder_ms": 1e3 * middle["encoder_only"],
        "step_ms": 1e3 * middle["whole_step"],
        "step_over_encoder": middle["whole_step"] / middle["encoder_only"],
        "context_length": CONTEXT_LENGTH,
        "cached_queries_per_second": rate["cached"],
        "uncached_queries_per_second": rate["uncached"],
        "cached_over_uncached": rate["cached"] / rate["uncached"],
        "peak_memory_mb": {part: peak_memory(size, device, part) for part in parts},
        "repetitions": repetitions,
    }


def peak_memory(size: Size, device: str, part: str) -> float:
    """Peak memory of one part in megabytes, in a process of its own: beyond what model and batch take."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (size, device, part))


def _peak_memory(size: Size, device: str, part: str) -> float:
    torch.set_num_threads(1)
    case = Case(size, device)
    function = getattr(case, part)
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of imports and construction
    function()
    return (_resident("VmHWM") - before) / 1024


def _resident(field: str) -> int:
    """Resident memory in kB, now (VmRSS) or at its peak (VmHWM), as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--sequences", type=int, help="sequences a step, instead of the size's own")
    parser.add_argument("--width", type=int, help="width of the transformer, instead of the size's own")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/step_cpu.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    record: dict[str, object] = {
        "environment": describe_environment(sys.argv), "device": arguments.device, "load_average": os.getloadavg()[0],
        "note": "medians of interleaved repetitions; with a load average above the number of processors the machine was shared",
    }  # fmt: skip
    rows = []
    for name in arguments.sizes:
        changes = {"num_sequences": arguments.sequences, "width": arguments.width}
        size = replace(SIZES[name], **{field: value for field, value in changes.items() if value is not None})
        rows.append(row := measure(name, size, arguments.device, arguments.repetitions))
        print(
            f"{name}: encoder {row['encoder_ms']:.1f} ms, step {row['step_ms']:.1f} ms ({row['step_over_encoder']:.2f} times the encoder)"
        )
        print(f"  queries at {CONTEXT_LENGTH} tokens: {row['cached_queries_per_second']:.0f}/s cached, "
              f"{row['uncached_queries_per_second']:.0f}/s uncached ({row['cached_over_uncached']:.0f} times)")  # fmt: skip
        print(f"  peak memory beyond model and batch, MB: {row['peak_memory_mb']}")
    write_text(arguments.out, json.dumps(record | {"results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
