"""The slowly moving copy against the closed form of its average."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contextssl.models.moving_average import MovingAverage


def layer(value: float) -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    made.weight.data.fill_(value)
    return made


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=12), st.floats(0, 1), st.integers(1, 12))
def test_the_average_is_the_closed_form(values: list[float], start: float, num_updates: int) -> None:
    module = layer(1.0)
    average = MovingAverage(module, momentum=start, num_updates=num_updates)
    for value in values:
        module.weight.data.fill_(value)
        average.follow(module)
    momenta = [1 - (1 - start) * (math.cos(math.pi * min(1, step / num_updates)) + 1) / 2 for step in range(len(values))]
    expected = math.prod(momenta) * 1.0 + sum(
        value * (1 - momenta[step]) * math.prod(momenta[step + 1 :]) for step, value in enumerate(values)
    )
    assert average.module.weight.item() == pytest.approx(expected, abs=1e-5)


def test_after_all_updates_nothing_moves_and_a_reload_goes_on_where_it_was() -> None:
    module, average = layer(1.0), MovingAverage(layer(0.0), momentum=0.5, num_updates=4)
    found = []
    for step in range(7):
        if step == 2:  # goes on in a new object
            other = MovingAverage(layer(9.0), momentum=0.5, num_updates=4)
            other.load_state_dict(average.state_dict())
            average = other
        average.follow(module)
        found.append(average.module.weight.item())
    whole = MovingAverage(layer(0.0), momentum=0.5, num_updates=4)
    expected = [(whole.follow(module), whole.module.weight.item())[1] for _ in range(7)]
    assert found == expected
    assert found[3] == found[4] == found[6] and found[0] < found[1] < found[2] < found[3] < 1


def test_it_starts_as_a_copy_of_its_own_without_gradients() -> None:
    module = layer(2.0)
    average = MovingAverage(module, momentum=0.9, num_updates=5)
    module.weight.data.fill_(7.0)
    x = torch.ones(1, 1, requires_grad=True)
    assert average(x).item() == 2.0 and not average(x).requires_grad
    assert module.weight.requires_grad and not any(p.requires_grad for p in average.parameters())


def test_batch_statistics_follow_its_own_forward_passes() -> None:
    module = nn.BatchNorm1d(1, affine=False, momentum=1.0)
    average = MovingAverage(module, momentum=0.0, num_updates=1)
    module(torch.tensor([[10.0], [12.0]]))
    average(torch.tensor([[1.0], [3.0]]))
    average.follow(module)
    assert (module.running_mean.item(), average.module.running_mean.item()) == (11.0, 2.0)


@pytest.mark.parametrize(("momentum", "num_updates"), [(1.1, 5), (-0.1, 5), (0.9, 0)])
def test_impossible_settings_are_refused(momentum: float, num_updates: int) -> None:
    with pytest.raises(ValueError, match="at least one update"):
        MovingAverage(layer(0.0), momentum=momentum, num_updates=num_updates)
