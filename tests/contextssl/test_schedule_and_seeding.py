"""The learning rate and the momentum by step, and the streams of random numbers."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.schedule import cosine_momentum, warmup_cosine
from contextssl.seeding import derive_seed, generator, seed_globals


def test_the_rate_rises_in_a_line_then_falls_along_a_cosine() -> None:
    rates = [warmup_cosine(step, num_steps=110, warmup_steps=10, final_fraction=0.2) for step in range(110)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == 1
    assert math.isclose(rates[60], 0.6)  # half way between 1 and 0.2
    np.testing.assert_allclose(rates[35] + rates[85], 1.2)  # a cosine is symmetric about its middle
    assert 0.2 < rates[-1] < 0.201


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1))
def test_the_rate_stays_between_zero_and_one_and_has_one_peak(num_steps: int, share: float, final: float) -> None:
    warmup = int(share * num_steps)
    rates = np.array(
        [warmup_cosine(step, num_steps=num_steps, warmup_steps=warmup, final_fraction=final) for step in range(num_steps)]
    )
    assert (rates > 0).all() and (rates <= 1).all()
    peak = int(rates.argmax())
    assert (np.diff(rates[: peak + 1]) >= 0).all() and (np.diff(rates[peak:]) <= 1e-12).all()


def test_purposes_and_seeds_have_streams_of_their_own() -> None:
    draws = {(seed, purpose): torch.rand(4, generator=generator(seed, purpose)) for seed in (0, 1) for purpose in ("a", "b")}
    again = torch.rand(4, generator=generator(1, "a"))
    assert torch.equal(draws[1, "a"], again)
    assert len({tuple(draw.tolist()) for draw in draws.values()}) == 4
    assert derive_seed(1, "1") != derive_seed(11, "")


def test_the_global_streams_repeat() -> None:
    seed_globals(3)
    first = (torch.rand(2).tolist(), np.random.rand())
    seed_globals(3)
    assert (torch.rand(2).tolist(), np.random.rand()) == first


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500), st.floats(0, 1))
def test_momentum_rises_from_its_start_to_one_along_half_a_cosine(num_steps: int, start: float) -> None:
    momenta = cosine_momentum(torch.arange(num_steps + 3), num_steps=num_steps, start=start).numpy()
    assert math.isclose(momenta[0], start, abs_tol=1e-12) and (momenta[num_steps:] == 1).all()
    assert (np.diff(momenta) >= 0).all()
    np.testing.assert_allclose(momenta[: num_steps + 1] + momenta[num_steps::-1], 1 + start)  # symmetric about its middle
    curve = 1 - (1 - start) * np.cos(np.arange(num_steps + 1) * np.pi / num_steps / 2) ** 2  # the same by the half angle
    np.testing.assert_allclose(momenta[: num_steps + 1], curve, atol=1e-12)
