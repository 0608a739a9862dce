"""Activations computed twice: the same numbers, statistics and random draws, from less memory."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from contextssl.distributed import synchronise_batch_norms
from contextssl.models.recompute import blocks, recompute_activations
from contextssl.models.transformer import ContextTransformer
from domains.vision.encoders import Pixels, ResNetEncoder


class Residual(nn.Module):
    def __init__(self, momentum: float | None) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6, momentum=momentum), nn.ReLU(), nn.Dropout(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def network(momentum: float | None = 0.1) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), Residual(momentum), Residual(momentum))


def saved_numbers(module: nn.Module, x: Tensor) -> int:
    """How many numbers autograd keeps for the module's backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x)
    return sum(kept.values())


def trained(module: nn.Module, num_steps: int = 3) -> dict[str, Tensor]:
    """The state dict after some steps with dropout, and the last gradients."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for step in range(num_steps):
        optimizer.zero_grad()
        module(torch.randn(16, 4, generator=torch.Generator().manual_seed(step))).square().mean().backward()
        optimizer.step()
    return module.state_dict() | {f"gradient {name}": p.grad for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("synchronised", [False, True])
def test_weights_gradients_and_statistics_are_the_same_bits(momentum: float | None, synchronised: bool) -> None:
    plain, twice = network(momentum), network(momentum)
    if synchronised:
        synchronise_batch_norms(plain)
        synchronise_batch_norms(twice)
    found = list(blocks(twice))
    assert found == [twice[1], twice[2]]
    for block in found:
        recompute_activations(block)
    expected, got = trained(plain), trained(twice)
    assert list(expected) == list(got)
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert got["1.branch.1.num_batches_tracked"] == 3


def test_less_is_kept_in_training_and_nothing_is_computed_twice_without_gradients() -> None:
    plain, twice, calls = network(), network(), [0]
    for block in blocks(twice):
        recompute_activations(block)
        block.branch[0].register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    x = torch.randn(64, 4)
    assert saved_numbers(twice, x) < 0.4 * saved_numbers(plain, x)
    calls[0] = 0
    with torch.no_grad():
        twice(x)
    assert calls == [2]
    twice(x).sum().backward()
    assert calls == [6]
    twice.eval()
    twice(x).sum().backward()
    assert calls == [8]


def test_copies_recompute_themselves() -> None:
    twice = network()
    for block in blocks(twice):
        recompute_activations(block)
    copy = deepcopy(twice)
    nn.init.zeros_(copy[2].branch[0].weight)
    assert not torch.equal(copy(torch.ones(8, 4)), twice(torch.ones(8, 4)))
    assert list(copy.state_dict()) == list(network().state_dict())


def test_blocks_of_encoders_and_transformers() -> None:
    resnet = ResNetEncoder(Pixels((0.5,) * 3, (0.5,) * 3), 18)
    assert [type(block).__name__ for block in blocks(resnet)] == ["BasicBlock"] * 8
    transformer = ContextTransformer(4, 4, width=8, num_layers=3, num_heads=2)
    assert list(blocks(transformer)) == list(transformer.blocks)
    assert not list(blocks(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))))
