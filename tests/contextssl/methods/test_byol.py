"""BYOL against a slow formula, its limits, what gets a gradient and what follows."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from contextssl.batch import Transitions
from contextssl.commands.configuration import build, compose_config
from contextssl.methods.byol import BYOL, squared_distance
from contextssl.testing import TinyEncoder, ToyAdapter

ADAPTER = ToyAdapter(encoder=partial(TinyEncoder, out_dim=10))
DIMS = (14, 6)


def method(seed: int = 0, num_steps: int = 40, **arguments: float) -> BYOL:
    """A method whose target is not a copy of its encoder any more, which would hide which of them is asked."""
    torch.manual_seed(seed)
    made = BYOL(ADAPTER.build_encoder(), ADAPTER.actions, num_steps=num_steps, projector_dims=DIMS, **arguments)
    for parameter in made.target.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return made


def loss(model: BYOL, batch: Transitions) -> Tensor:
    (term,) = model.loss_terms(batch, torch.Generator()).values()
    return term


def batch(num_sequences: int = 5) -> Transitions:
    return ADAPTER.held_out(3, num_sequences, seed=0)


def normal(rows: list[Tensor], weight: Tensor, bias: Tensor) -> list[Tensor]:
    """Batch norm in training mode, by hand."""
    mean = sum(rows) / len(rows)
    variance = sum((row - mean) ** 2 for row in rows) / len(rows)
    return [(row - mean) / (variance + 1e-5).sqrt() * weight + bias for row in rows]


def head(rows: list[Tensor], layers: torch.nn.Sequential) -> list[Tensor]:
    """Linear, batch norm, ReLU, Linear, row by row."""
    hidden = normal([layers[0].weight @ row for row in rows], layers[1].weight, layers[1].bias)
    return [layers[3].weight @ row.clamp_min(0) for row in hidden]


def by_hand(model: BYOL, data: Transitions) -> Tensor:
    """Eq. 2 both ways, pair by pair, with targets that are constants."""
    x, y = list(data.state.flatten(0, 1)), list(data.next_state.flatten(0, 1))
    predicted = head(head([model.encoder(item[None])[0] for item in x + y], model.projector), model.predictor)
    target_encoder, target_projector = model.target.module
    with torch.no_grad():
        target = head([target_encoder(item[None])[0] for item in x + y], target_projector)
    partner = [*range(len(x), 2 * len(x)), *range(len(x))]
    distances = [
        ((predicted[i] / predicted[i].norm() - target[partner[i]] / target[partner[i]].norm()) ** 2).sum()
        for i in range(2 * len(x))
    ]
    return sum(distances) / len(x)


def test_the_loss_and_its_gradient_are_the_formula_with_constant_targets() -> None:
    model, data = method().train(), batch()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"encoder", "projector", "predictor"}
    found, expected = loss(model, data), by_hand(model, data)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(term, list(trained.values())) for term in (found, expected)]
    for name, gradient, other in zip(trained, *gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    moved = {name.split(".")[0] for name, gradient in zip(trained, gradients[0], strict=True) if gradient.abs().max() > 1e-3}
    assert moved == {"encoder", "projector", "predictor"}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(0.01, 100))
def test_distances_of_directions_alone_from_zero_to_four(seed: int, scale: float, other_scale: float) -> None:
    z, w = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(seed))
    distance = squared_distance(scale * z, other_scale * w)
    torch.testing.assert_close(distance, squared_distance(z, w), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(squared_distance(z, other_scale * z), torch.zeros(7), rtol=0, atol=1e-5)
    torch.testing.assert_close(squared_distance(z, -z), torch.full((7,), 4.0))
    assert ((distance >= -1e-5) & (distance <= 4 + 1e-5)).all()


def test_pairs_may_be_read_backwards_but_not_be_mixed_and_actions_do_not_matter() -> None:
    model, data = method().train(), batch()
    term = loss(model, data)
    torch.testing.assert_close(loss(model, data.with_items(data.next_state, data.state)), term)
    assert loss(model, data.with_action(data.action + 7)) == term
    assert (loss(model, data.with_items(data.state, data.next_state.roll(1, 1))) - term).abs() > 1e-3


def test_the_target_starts_as_the_online_network_and_follows_its_encoder_and_projector() -> None:
    torch.manual_seed(0)
    model = BYOL(ADAPTER.build_encoder(), ADAPTER.actions, num_steps=4, projector_dims=DIMS, momentum=0.9)
    online = [*model.encoder.parameters(), *model.projector.parameters()]
    expected = [parameter.detach().clone() for parameter in online]
    assert all(torch.equal(a, b) for a, b in zip(model.target.parameters(), expected, strict=True))
    for step in range(6):
        for parameter in online:
            parameter.data += torch.randn(parameter.shape)
        model.after_step()
        momentum = 1 - 0.1 * (math.cos(math.pi * min(step, 4) / 4) + 1) / 2
        expected = [momentum * old + (1 - momentum) * new.detach() for old, new in zip(expected, online, strict=True)]
        for average, value in zip(model.target.parameters(), expected, strict=True):
            torch.testing.assert_close(average, value)
            assert not average.requires_grad


def test_the_target_knows_no_predictor_and_nothing_is_stored_twice() -> None:
    model = method()
    stored = list(model.state_dict())
    assert {name.split(".")[0] for name in stored} == {"encoder", "projector", "predictor", "target"}
    count = {part: sum(name.startswith(part) for name in stored) for part in ("encoder.", "projector.", "target.module.")}
    assert count["target.module."] == count["encoder."] + count["projector."]


def spread(model: BYOL, items: Tensor) -> float:
    """How far the directions of projections are from one and the same: 0 when collapsed, about 1 when all over the place."""
    with torch.no_grad():
        return 1 - float(torch.nn.functional.normalize(model.projector(model.represent(items)), dim=1).mean(0).norm())


def test_it_learns_to_recognise_the_other_view_and_does_not_collapse() -> None:
    torch.manual_seed(0)
    model = BYOL(ADAPTER.build_encoder(), ADAPTER.actions, num_steps=150, projector_dims=(64, 16), momentum=0.9)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    data = ADAPTER.held_out(8, 32, seed=1)
    before = loss(model, data).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss(model, data).backward()
        optimizer.step()
        model.after_step()
    x, _, y, _ = ADAPTER.held_out(8, 8, seed=2).pairs()
    model.eval()
    with torch.no_grad():
        guesses = model.predictor(model.projector(model.represent(x)))
        distances = torch.stack([squared_distance(guess.expand(len(y), -1), model.target(y)) for guess in guesses])
    found = (distances.argsort(dim=1) == torch.arange(len(y))[:, None]).int().argmax(dim=1)
    assert loss(model.train(), data).item() < 0.5 * before
    assert found.float().mean() < 0.2 * len(y), "the partner's mean rank among 64; half of them is chance"
    assert spread(model.eval(), x) > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"projector_dims": ()}, "expected at least one width"),
        ({"momentum": 1.5}, "0 <= momentum <= 1"),
        ({"num_steps": 0}, "at least one update"),
    ],
)
def test_impossible_settings_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BYOL(ADAPTER.build_encoder(), ADAPTER.actions, **({"num_steps": 3, "projector_dims": DIMS} | arguments))


def test_the_config_counts_the_steps_of_the_training() -> None:
    config = compose_config(["method=byol", "train.num_steps=77"])
    model = build(config.method)(ADAPTER.build_encoder(), ADAPTER.actions)
    assert (model.target.num_updates, model.target.momentum) == (77, 0.99)
    assert [layer.out_features for layer in model.predictor if isinstance(layer, torch.nn.Linear)] == [256, 64]
