"""torch.compile: whole modules, shapes that stay, the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, fx, nn

from contextssl.losses.contrastive import all_negatives
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.methods.rehearsal import Rehearsal
from contextssl.models.transformer import ContextTransformer
from contextssl.testing import ToyAdapter
from contextssl.training import Plan, TrainingState, fit

ADAPTER = ToyAdapter()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The modes that modules are compiled with, and `graph` for every graph; they run as they are, nothing is generated."""
    seen: list[str] = []
    honest = nn.Module.compile

    def backend(graph: fx.GraphModule, _inputs: list[Tensor]) -> Callable[..., object]:
        seen.append("graph")
        return graph.forward

    def capturing(module: nn.Module, *, mode: str) -> None:
        seen.append(mode)
        honest(module, backend=backend, fullgraph=True)

    monkeypatch.setattr(nn.Module, "compile", capturing)
    torch.compiler.reset()
    yield seen
    torch.compiler.reset()


def losses(compile_mode: str | bool, note: Callable[[], None] = lambda: None) -> list[Tensor]:
    torch.manual_seed(0)
    method = ContextSSL(
        ADAPTER.build_encoder(), ADAPTER.actions, contrastive=all_negatives, standardise=True, read_evidence=True, auxiliary_dims=(8,),
        transformer=partial(ContextTransformer, width=16, num_layers=2, num_heads=2, fan_in_init=True), mask_per_sequence=True,
        environments=EnvironmentSampler({"turn": 0.5, "shift": 0.5}, decoy_share=0.3),
        rehearsal=partial(Rehearsal, context_pairs=(0, 1, 2, 4, 7), fit_weight=1.0, agreement_weight=1.0),
    )  # fmt: skip
    plan = Plan(optimizer=partial(torch.optim.SGD, lr=0.01), num_steps=8, batch_size=2, num_transitions=8, compile=compile_mode)
    state = TrainingState(method, plan.optimizer(method.parameters()), torch.Generator().manual_seed(0))
    found: list[Tensor] = []

    def after(_step: int, terms: dict[str, Tensor]) -> None:
        found.append(torch.stack(list(terms.values())).sum())
        note()

    fit(state, ADAPTER.train_sequences(8, seed=0), plan, after)
    return found


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of torch's own tracing
def test_compiled_parts_are_whole_keep_their_shapes_and_compute_the_same(graphs: list[str]) -> None:
    counts: list[int] = []
    plain = losses(False)
    assert not graphs
    compiled = losses("reduce-overhead", lambda: counts.append(graphs.count("graph")))
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=0)
    assert counts[0] > 5, "too little is compiled"
    assert counts[-1] == counts[0], "a later step compiled anew: some shape is not the same in every step"
    assert {mode for mode in graphs if mode != "graph"} == {"reduce-overhead"}
