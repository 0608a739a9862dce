"""No step waits for the device: everything in it runs where values cannot be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from contextssl.adapter import DomainAdapter
from contextssl.batch import Transitions, stack
from contextssl.commands.configuration import build, compose_config, config_groups
from contextssl.methods.context_ssl import ContextSSL
from contextssl.testing import ToyAdapter
from contextssl.training import Plan, TrainingState, train_step
from domains.supervised.label_shift import LabelShift
from domains.supervised.rules import Identity, Offset

METHODS = list(config_groups()["method"])
PLAN = Plan(optimizer=partial(torch.optim.AdamW, lr=1e-3), num_steps=5, batch_size=4, num_transitions=8, max_gradient_norm=1.0)


def one_step_done(name: str) -> tuple[TrainingState, Transitions]:
    """A method after its first step, which may look at its batch, with narrow layers; and a batch."""
    adapter: DomainAdapter = ToyAdapter(trajectories="jepa" in name)
    if name.startswith("label"):
        adapter = LabelShift(adapter, "class", {"turn": Offset(10), "shift": Identity()})
    settings = compose_config([f"method={name}"]).method
    if "transformer" in settings:
        settings.transformer.width = 16
    torch.manual_seed(0)
    method = build(settings)(adapter.build_encoder(), adapter.actions)
    state = TrainingState(method, PLAN.optimizer(method.parameters()), torch.Generator().manual_seed(0))
    sequences = adapter.train_sequences(8, seed=0)
    batch = stack([sequences[index] for index in range(4)])
    train_step(state, [batch], PLAN)
    return state, batch


class OneDevice(TorchDispatchMode):
    """Refuses operations that mix the device with the host, but for copies that nobody waits for."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        tensors = [value for value in tree_leaves((args, named)) if isinstance(value, Tensor) and value.ndim]
        if func is torch.ops.aten._to_copy.default:
            there = named.get("device") is not None and torch.device(named["device"]).type == "meta"
            assert named.get("non_blocking") or not (there and tensors and not tensors[0].is_meta), (
                "a copy that the host waits for"
            )
        else:
            assert len({tensor.device.type for tensor in tensors}) < 2, f"{func} mixes the host and the device"
        return func(*args, **named)


def on_the_meta_device(state: TrainingState) -> TrainingState:
    """The same state on a device without values: asking for one there is an error."""
    method = state.method.to("meta")
    for parameter in method.parameters():
        parameter.grad = None
    return TrainingState(method, PLAN.optimizer(method.parameters()), state.generator)


@pytest.fixture
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta device does not know autocast, which asks for no values."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


@pytest.mark.usefixtures("no_autocast")
@pytest.mark.parametrize("name", METHODS)
def test_a_step_never_asks_the_device_for_a_value(name: str) -> None:
    state, batch = one_step_done(name)
    there = on_the_meta_device(state)
    with OneDevice():
        terms = train_step(there, [batch], PLAN)
    assert terms and all(term.is_meta for term in terms.values())
    # The draws are those of the same step on the CPU, so none was made on the device.
    again, _ = one_step_done(name)
    train_step(again, [batch], PLAN)
    assert torch.equal(there.generator.get_state(), again.generator.get_state())


@pytest.mark.usefixtures("no_autocast")
def test_asking_for_a_value_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    state, batch = one_step_done("context_ssl/default")
    there = on_the_meta_device(state)
    honest = ContextSSL.auxiliary_error

    def asking(*arguments: object) -> Tensor:
        error = honest(*arguments)  # type: ignore[arg-type]
        return error if error > 0 else -error

    monkeypatch.setattr(ContextSSL, "auxiliary_error", asking)
    with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):
        train_step(there, [batch], PLAN)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", METHODS)
def test_a_step_on_a_gpu_runs_without_synchronisation(name: str) -> None:
    state, batch = one_step_done(name)
    method = state.method.cuda()
    for parameter in method.parameters():
        parameter.grad = None
    there = TrainingState(method, PLAN.optimizer(method.parameters()), state.generator)
    train_step(there, [batch.to("cuda")], PLAN)  # kernels are loaded and memory is taken
    ready = batch.to("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        train_step(there, [ready], PLAN)
    finally:
        torch.cuda.set_sync_debug_mode("default")
