"""The collapse monitor warns of what is wrong with a method, and of nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_domain import ToyDomain, ToyMethod

from contextssl.commands.configuration import build, compose_config
from contextssl.evaluation.monitor import watch
from contextssl.method import Method


@pytest.fixture
def method(request: pytest.FixtureRequest) -> Method:
    """A contextual method on the toy domain."""
    torch.manual_seed(0)
    own = request.path.parents[2] / "configs"
    domain = ToyDomain(dropout=0.0)
    made: Method = build(compose_config(["domain=toy", "method=tiny"], own).method)(domain.build_encoder(), domain.actions)
    return made.eval()


def sentences(method: Method) -> str:
    with torch.no_grad():
        return " ".join(watch(method, ToyDomain().held_out(16, 3, 0))[1])


def test_a_constant_encoder_is_named(method: Method) -> None:
    method.encoder.layer.weight.data.zero_()
    assert "encoder features are nearly constant" in sentences(method)


def test_a_context_that_is_not_read_is_named_and_one_that_is_read_is_not(method: Method) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in method.transformer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    assert "the context is not read yet" not in sentences(method)

    def without_actions(features: Tensor, *_: Tensor | None) -> Tensor:
        return torch.cat([features, features.new_zeros(*features.shape[:-1], 2)], dim=-1)

    method.tokens = without_actions
    assert "the context is not read yet" in sentences(method)
    for attribute in ("reads_actions", "reads_context"):  # nor is it expected of a method that says so
        setattr(method, attribute, False)
        assert "the context is not read yet" not in sentences(method)
        setattr(method, attribute, True)


def test_a_method_without_context_is_watched_by_its_features() -> None:
    torch.manual_seed(0)
    domain = ToyDomain(dropout=0.0)
    plain = ToyMethod(domain.build_encoder(), domain.actions)
    with torch.no_grad():
        numbers, warnings = watch(plain, domain.held_out(16, 3, 0))
    assert warnings == [] and "context_effect" not in numbers
    assert numbers["width"] == 4 and 1 < numbers["effective_rank"] <= 4
