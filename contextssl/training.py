"""The training loop: a plan, a state, one step, and the loop around it.

Everything that changes while training is in `TrainingState`; everything that does not is in `Plan`. Batch s is made of
the sequences s*B .. s*B+B-1, so that the step is also the sampler's position and a run can go on from any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from contextssl.adapter import Sequences
from contextssl.batch import Transitions, stack
from contextssl.distributed import num_processes, own
from contextssl.loading import one_ahead
from contextssl.method import Method
from contextssl.models.recompute import blocks, recompute_activations
from contextssl.processes import average_gradients, average_terms
from contextssl.schedule import warmup_cosine

OnStep = Callable[[int, dict[str, Tensor]], None]
COMPILE_MODES = (False, "default", "reduce-overhead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to train: every choice of the loop that is not the method's.

    Attributes:
        optimizer: called with the parameters, for instance `partial(torch.optim.AdamW, lr=1e-3)`.
        num_steps: optimizer steps.
        batch_size: sequences in one optimizer step, of all processes together: each reads its own part of them.
        num_transitions: transitions T in one sequence (2T tokens).
        warmup_steps, final_fraction: the schedule, see `warmup_cosine`.
        max_gradient_norm: gradients are clipped to this norm; None leaves them alone.
        num_micro_batches: a step's sequences are split into this many parts whose gradients are averaged. Equal to
            one large batch as far as the loss treats sequences separately; a loss that compares sequences sees fewer.
            A part, too, is divided among the processes, so that their number changes nothing.
        precision: `float32`, or `bfloat16` for autocast around the loss.
        compile: False, or the mode in which torch.compile treats the method's modules: `default` or `reduce-overhead`.
        activation_checkpointing: whether blocks of encoder and transformer compute their activations again in backward
            instead of keeping them: less memory, about a third more time (`recompute_activations`).
        channels_last: whether the encoder's image tensors are laid out channels last.
        num_batches: reuse the first so many batches for ever; None for fresh data at every step.

    Raises:
        ValueError: for a value out of range, naming it.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    num_steps: int
    batch_size: int
    num_transitions: int
    warmup_steps: int = 0
    final_fraction: float = 0.0
    max_gradient_norm: float | None = None
    num_micro_batches: int = 1
    precision: str = "float32"
    compile: str | bool = False
    activation_checkpointing: bool = False
    channels_last: bool = False
    num_batches: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "num_transitions", "num_micro_batches", "num_batches"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1) and not (value is None and name == "num_batches"):
                raise ValueError(f"train.{name}: expected a whole number of at least 1, found {value!r}")
        if self.batch_size % self.num_micro_batches:
            raise ValueError(f"train.batch_size {self.batch_size} does not divide into {self.num_micro_batches} micro-batches")
        if not 0 <= self.warmup_steps <= self.num_steps:
            raise ValueError(f"train.warmup_steps: expected 0..{self.num_steps} (num_steps), found {self.warmup_steps}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"train.precision: expected float32 or bfloat16, found {self.precision!r}")
        if self.compile not in COMPILE_MODES:
            raise ValueError(f"train.compile: expected false, default or reduce-overhead, found {self.compile!r}")
        if self.compile and self.activation_checkpointing:
            raise ValueError(
                "train.compile and train.activation_checkpointing do not go together: compiled blocks choose what they keep; "
                "set one of them"
            )


class TrainingState:
    """Everything that changes while training; a checkpoint is this and nothing else.

    Attributes:
        method: what is trained, on its device.
        optimizer: over the method's parameters.
        generator: the method's random draws.
        step: optimizer steps done.
    """

    def __init__(self, method: Method, optimizer: Optimizer, generator: torch.Generator) -> None:
        self.method = method
        self.optimizer = optimizer
        self.generator = generator
        self.step = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    @property
    def device(self) -> torch.device:
        """Where the method's parameters are."""
        return next(self.method.parameters()).device


def train_step(state: TrainingState, micro_batches: Sequence[Transitions], plan: Plan) -> dict[str, Tensor]:
    """Make one optimizer step; return the detached loss terms, averaged over the micro-batches (and over processes)."""
    rate = warmup_cosine(state.step, num_steps=plan.num_steps, warmup_steps=plan.warmup_steps, final_fraction=plan.final_fraction)
    for group in state.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * rate
    state.optimizer.zero_grad(set_to_none=True)
    totals: dict[str, Tensor] = {}
    for batch in micro_batches:
        with torch.autocast(state.device.type, torch.bfloat16, enabled=plan.precision == "bfloat16"):
            terms = state.method.loss_terms(batch.to(state.device), state.generator)
        torch.stack([term.float() for term in terms.values()]).sum().div(len(micro_batches)).backward()
        for name, term in terms.items():
            share = term.detach().float() / len(micro_batches)
            totals[name] = totals[name] + share if name in totals else share
    average_gradients(state.method.parameters())
    if plan.max_gradient_norm is not None:
        nn.utils.clip_grad_norm_(state.method.parameters(), plan.max_gradient_norm)
    state.optimizer.step()
    state.method.after_step()
    state.step += 1
    return average_terms(totals)


def fit(state: TrainingState, sequences: Sequences, plan: Plan, on_step: OnStep) -> None:
    """Train from `state.step` to `plan.num_steps`, calling `on_step(steps done, detached terms)` after each step.

    Turning a term into a number waits for the device: `on_step` should do so only when it logs.

    Raises:
        ValueError: when a micro-batch does not divide among the processes.
    """
    if plan.batch_size % (plan.num_micro_batches * num_processes()):
        raise ValueError(
            f"train.batch_size {plan.batch_size}, of all processes together, does not divide among {num_processes()} of them in "
            f"{plan.num_micro_batches} micro-batches"
        )
    prepare(state.method, plan)
    state.method.train()
    for batches in _batches(sequences, plan, state.step, state.device):
        terms = train_step(state, batches, plan)
        on_step(state.step, terms)


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the first CUDA device where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); use auto, cpu or cuda") from error
    return device


def prepare(method: Method, plan: Plan) -> None:
    """Lay out, checkpoint and compile the method's modules as the plan says; once, before the first step."""
    if plan.channels_last:
        method.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if plan.activation_checkpointing:
        whole = [] if any(blocks(method.encoder)) else [method.encoder]
        for block in [*whole, *(block for part in method.children() for block in blocks(part))]:
            recompute_activations(block)
    if plan.compile:
        for module in method.children():
            module.compile(mode=str(plan.compile))  # in place: the names in the state dict stay as they are


def micro_batches(sequences: Sequences, plan: Plan, step: int) -> list[Transitions]:
    """The micro-batches of a step; of several processes, this one's part of each."""
    size = plan.batch_size // plan.num_micro_batches
    first = (step % plan.num_batches if plan.num_batches else step) * plan.batch_size
    starts = range(first, first + plan.batch_size, size)
    return [stack([sequences[index] for index in own(range(begin, begin + size))]) for begin in starts]


def _batches(sequences: Sequences, plan: Plan, start: int, device: torch.device) -> Iterator[list[Transitions]]:
    """The micro-batches of each step from `start` on; the next step's are made and sent while this one trains."""
    return one_ahead(lambda step: micro_batches(sequences, plan, step), range(start, plan.num_steps), device)
