"""Where a training step's time goes, and what it costs beyond the bare encoder."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from contextssl.adapter import Sequences
from contextssl.batch import Transitions
from contextssl.losses.leakage import Leakage
from contextssl.method import Method
from contextssl.methods.rehearsal import Rehearsal
from contextssl.models.transformer import ContextTransformer
from contextssl.training import Plan, TrainingState, micro_batches, prepare, train_step

Handles = list[RemovableHandle]
PARTS = (
    "data", "transfer", "encoder forward", "transformer forward", "losses", "rehearsal", "penalty", "backward to the features",
    "encoder backward", "clipping", "optimizer",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepProfile:
    """Medians over the profiled steps, in seconds.

    Attributes:
        parts: seconds of each of `PARTS`, measured in steps of their own with the device waited for after every part.
            `losses` are the forward passes of everything that has no part of its own; `rehearsal` holds its queries of
            the transformer, and `penalty` the adversaries' training.
        step: a whole step that is left alone, without making and sending its data, which happens ahead.
        bare_encoder: forward and backward of the encoder on the items of a step.
        peak_memory: bytes; what the CUDA allocator gave out in a step, or what the process has resided in so far.
    """

    parts: dict[str, float]
    step: float
    bare_encoder: float
    peak_memory: int

    @property
    def overhead(self) -> float:
        """What a step costs beyond the bare encoder, as a share of it."""
        return self.step / self.bare_encoder - 1


def profile_step(state: TrainingState, sequences: Sequences, plan: Plan, num_repetitions: int) -> StepProfile:
    """Take steps of a run apart, in turns with whole steps and with the bare encoder, after a first turn to warm up.

    Raises:
        ValueError: for a compiled plan, whose modules cannot be looked into, or no repetitions.
    """
    if plan.compile:
        raise ValueError("a compiled step cannot be taken apart: profile with train.compile=false")
    if num_repetitions < 1:
        raise ValueError(f"expected at least one repetition, found {num_repetitions}")
    prepare(state.method, plan)
    state.method.train()
    steps, bare, parts = [], [], defaultdict(list)
    for repetition in range(num_repetitions + 1):
        batches = [batch.to(state.device) for batch in micro_batches(sequences, plan, state.step)]
        if state.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(state.device)
        whole = _seconds(lambda batches=batches: train_step(state, batches, plan), state.device)  # type: ignore[misc]
        memory = _peak_memory(state.device)
        clock = _Clock(state.device)
        seen = _taken_apart(state, sequences, plan, clock)
        alone = _seconds(lambda seen=seen: _bare_encoder(state, seen, plan), state.device)  # type: ignore[misc]
        if repetition:
            steps.append(whole)
            bare.append(alone)
            for part in PARTS:
                parts[part].append(clock.seconds[part])
    return StepProfile({part: median(values) for part, values in parts.items()}, median(steps), median(bare), memory)


class _Clock:
    """Charges the time since the last charge to a part, once the device has finished."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds, self.around = device, dict.fromkeys(PARTS, 0.0), "losses"
        self.last = time.perf_counter()

    def charge(self, part: str) -> None:
        _wait(self.device)
        now = time.perf_counter()
        self.seconds[part] += now - self.last
        self.last = now

    def watch(self, module: nn.Module, part: str) -> Handles:
        """Charge the module's forward passes to the part, and what came before to what is around them."""
        before = module.register_forward_pre_hook(lambda *_: self.charge(self.around))
        return [before, module.register_forward_hook(lambda *_: self.charge(part))]

    def watch_layer(self, layer: nn.Module) -> Handles:
        """The same for a layer of the transformer, whose part in the rehearsal is the rehearsal's."""

        def transformed(*_: object) -> None:
            self.charge("transformer forward" if self.around == "losses" else self.around)

        return [layer.register_forward_pre_hook(lambda *_: self.charge(self.around)), layer.register_forward_hook(transformed)]

    def watch_around(self, module: nn.Module, part: str) -> Handles:
        """The same, and within the module the part is what is around others."""

        def turn(ended: str, begun: str) -> None:
            self.charge(ended)
            self.around = begun

        before = module.register_forward_pre_hook(lambda *_: turn(self.around, part))
        return [before, module.register_forward_hook(lambda *_: turn(part, "losses"))]


def _taken_apart(state: TrainingState, sequences: Sequences, plan: Plan, clock: _Clock) -> list[Tensor]:
    """One step with its parts charged to the clock; returns what the encoder saw."""
    batches = micro_batches(sequences, plan, state.step)
    clock.charge("data")
    batches = [batch.to(state.device) for batch in batches]
    clock.charge("transfer")
    with _listening(state, clock) as seen:
        train_step(state, batches, plan)
    clock.charge("optimizer")
    return seen


@contextmanager
def _listening(state: TrainingState, clock: _Clock) -> Iterator[list[Tensor]]:
    """While open, the method's parts charge the clock; gives what the encoder sees."""
    seen: list[Tensor] = []

    def encoded(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(inputs[0].detach())
        if output.requires_grad:
            output.register_hook(lambda _gradient: clock.charge("backward to the features"))

    method = state.method
    handles = [*clock.watch(method.encoder, "encoder forward"), method.encoder.register_forward_hook(encoded)]
    for module in method.modules():
        handles += _watched(module, clock)
    for parameter in method.encoder.parameters():
        handles.append(parameter.register_post_accumulate_grad_hook(lambda _: clock.charge("encoder backward")))
    handles.append(state.optimizer.register_step_pre_hook(lambda *_: clock.charge("clipping")))
    with _charged_terms(method, clock):
        yield seen
    for handle in handles:
        handle.remove()


def _watched(module: nn.Module, clock: _Clock) -> Handles:
    """Hooks of the modules that have a part of their own."""
    if isinstance(module, Rehearsal):
        return clock.watch_around(module, "rehearsal")
    if isinstance(module, Leakage):
        return clock.watch(module, "penalty")
    if isinstance(module, ContextTransformer):
        layers = (module.read_in, *module.blocks, module.norm, module.read_out)
        return [handle for layer in layers for handle in clock.watch_layer(layer)]
    return []


@contextmanager
def _charged_terms(method: Method, clock: _Clock) -> Iterator[None]:
    """What is left of `loss_terms` when it returns belongs to the losses."""
    honest = method.loss_terms

    def charged(batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        terms = honest(batch, generator)
        clock.charge("losses")
        return terms

    method.loss_terms = charged  # type: ignore[method-assign]
    try:
        yield
    finally:
        del method.loss_terms


def _bare_encoder(state: TrainingState, inputs: Sequence[Tensor], plan: Plan) -> None:
    state.optimizer.zero_grad(set_to_none=True)
    for items in inputs:
        with torch.autocast(state.device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"):
            loss = state.method.encoder(items).square().mean()
        loss.backward()


def _seconds(function: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    function()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
