"""The profile charges every part with its own time, and leaves the run as it was."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_domain import ToyDomain, ToyMethod

from contextssl import profiling
from contextssl.batch import Transitions
from contextssl.losses.contrastive import all_negatives
from contextssl.losses.leakage import Leakage
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.methods.rehearsal import Rehearsal
from contextssl.models.transformer import ContextTransformer
from contextssl.profiling import PARTS, profile_step
from contextssl.testing import ToyAdapter
from contextssl.training import Plan, TrainingState, fit

PLAN = Plan(optimizer=partial(torch.optim.SGD, lr=0.01), num_steps=20, batch_size=4, num_transitions=6)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only moves when it is told to."""
    time = [0.0]
    monkeypatch.setattr(profiling, "time", SimpleNamespace(perf_counter=lambda: time[0]))
    return time


class Slow(nn.Module):
    """A module whose forward and backward passes take so many seconds on the clock."""

    def __init__(self, module: nn.Module, now: list[float], forward: float, backward: float) -> None:
        super().__init__()
        self.module, self.out_dim = module, getattr(module, "out_dim", None)
        self.now, self.seconds = now, (forward, backward)

    def forward(self, x: Tensor) -> Tensor:
        now, (forward, backward) = self.now, self.seconds

        class Delay(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, value: Tensor) -> Tensor:
                now[0] += forward
                return value.clone()

            @staticmethod
            def backward(ctx: Any, *gradients: Tensor) -> Tensor:
                now[0] += backward
                return gradients[0]

        delayed: Tensor = Delay.apply(self.module(x))
        return delayed


class SlowSequences:
    def __init__(self, now: list[float]) -> None:
        self.sequences, self.now = ToyAdapter().train_sequences(6, seed=0), now

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> Transitions:
        self.now[0] += 0.5
        return self.sequences[index]


def rehearsed(now: list[float], monkeypatch: pytest.MonkeyPatch) -> TrainingState:
    """Encoder 2 s forward and 4 s back, block 1 s and 10 s, auxiliary head 0.25 s, penalty 7 s, optimizer 3 s."""
    torch.manual_seed(0)
    adapter = ToyAdapter()
    method = ContextSSL(
        Slow(adapter.build_encoder(), now, 2.0, 4.0), adapter.actions, contrastive=all_negatives, auxiliary_dims=(8,),
        transformer=partial(ContextTransformer, width=16, num_layers=2, num_heads=2), environments=EnvironmentSampler(),
        rehearsal=partial(Rehearsal, context_pairs=(2, 4)),
    )  # fmt: skip
    for block in method.transformer.blocks:
        block.mlp_in = Slow(block.mlp_in, now, 1.0, 10.0)
    method.auxiliary = Slow(method.auxiliary, now, 0.25, 0.0)
    honest = Leakage._remember

    def slow(self: Leakage, *arguments: Tensor) -> None:
        now[0] += 7.0
        honest(self, *arguments)

    monkeypatch.setattr(Leakage, "_remember", slow)
    state = TrainingState(method, PLAN.optimizer(method.parameters()), torch.Generator().manual_seed(0))
    state.optimizer.register_step_post_hook(lambda *_: now.__setitem__(0, now[0] + 3.0))
    return state


def test_every_part_is_charged_with_its_own_time(now: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    profile = profile_step(rehearsed(now, monkeypatch), SlowSequences(now), PLAN, 2)
    assert profile.parts == {
        "data": 4 * 0.5,
        "transfer": 0,
        "encoder forward": 2,
        "transformer forward": 2 * 1,  # two blocks
        "losses": 0.25,
        "rehearsal": 2 * 2 * 1 + 2 * 0.25,  # contexts and queries; the auxiliary loss and the measurement of its R2
        "penalty": 2 * 7,  # two groups
        "backward to the features": (2 + 1 + 2) * 10,  # of the context's second block only keys and values are used
        "encoder backward": 4,
        "clipping": 0,
        "optimizer": 3,
    }
    assert list(profile.parts) == list(PARTS)
    assert profile.step == sum(profile.parts.values()) - profile.parts["data"]
    assert profile.bare_encoder == 6 and profile.overhead == pytest.approx(profile.step / 6 - 1)
    assert profile.peak_memory > 2**20


def test_profiled_steps_are_steps_of_the_run() -> None:
    def state() -> TrainingState:
        torch.manual_seed(0)
        domain = ToyDomain(dropout=0.0)
        method = ToyMethod(domain.build_encoder(), domain.actions)
        return TrainingState(method, PLAN.optimizer(method.parameters()), torch.Generator().manual_seed(0))

    profiled, plain, sequences = state(), state(), ToyDomain().train_sequences(6, 0)
    profile_step(profiled, sequences, PLAN, 2)
    assert profiled.step == 6
    fit(plain, sequences, PLAN, lambda *_: None)
    fit(profiled, sequences, PLAN, lambda *_: None)  # goes on from there, with no hook left
    for a, b in zip(profiled.method.parameters(), plain.method.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in profiled.method.modules())
    assert "loss_terms" not in vars(profiled.method)


@pytest.mark.parametrize(
    ("changes", "repetitions", "said"), [({"compile": "default"}, 1, "train.compile=false"), ({}, 0, "at least one repetition")]
)
def test_what_cannot_be_profiled_is_refused(changes: dict[str, object], repetitions: int, said: str) -> None:
    domain = ToyDomain()
    method = ToyMethod(domain.build_encoder(), domain.actions)
    state = TrainingState(method, PLAN.optimizer(method.parameters()), torch.Generator())
    with pytest.raises(ValueError, match=said):
        profile_step(state, domain.train_sequences(6, 0), replace(PLAN, **changes), repetitions)
