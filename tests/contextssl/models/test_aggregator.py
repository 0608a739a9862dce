"""The aggregator: any order, any number of tokens, any width, and whose randomness it uses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.models.action_embedding import ActionEmbedding
from contextssl.models.aggregator import Aggregator
from contextssl.testing import ToyAdapter

ACTIONS = ToyAdapter().actions


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def aggregator(in_dim: int, **given: object) -> Aggregator:
    torch.manual_seed(0)
    made = Aggregator(in_dim, num_layers=2, **given)  # type: ignore[arg-type]
    made.aggregate_token.data.normal_()
    return made


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(1, 5), st.sampled_from([1, 2, 4]), st.integers(0, 99))
def test_order_does_not_matter_and_rows_do_not_see_each_other(in_dim: int, num_tokens: int, num_heads: int, seed: int) -> None:
    model = aggregator(in_dim, num_heads=num_heads).eval()
    assert model.out_dim % num_heads == 0 and 0 <= model.out_dim - in_dim < num_heads
    tokens = noise(3, num_tokens, in_dim, seed=seed)
    order = torch.randperm(num_tokens, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        whole = model(tokens)
        assert whole.shape == (3, model.out_dim)
        torch.testing.assert_close(model(tokens[:, order]), whole, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(tokens[1:2]), whole[1:2], rtol=1e-4, atol=1e-5)


def test_the_aggregate_token_starts_at_zero_and_every_token_counts() -> None:
    assert not Aggregator(8).aggregate_token.any()
    model = aggregator(8).eval()
    tokens = noise(2, 3, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(model(tokens)[0, 0], tokens)
    assert (gradient[0].abs().sum(1) > 1e-6).all() and not gradient[1].any()


def test_dropout_draws_from_the_generator_and_leaves_the_global_stream_alone() -> None:
    model, tokens = aggregator(8, dropout=0.5), noise(4, 3, 8)
    stream = torch.get_rng_state()
    first, second = (model(tokens, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, second)
    draws = torch.Generator().manual_seed(0)
    assert torch.equal(model(tokens, draws), first) and not torch.equal(model(tokens, draws), first)
    assert torch.equal(torch.get_rng_state(), stream)
    model.eval()
    assert torch.equal(model(tokens), model(tokens, draws))


def test_the_global_stream_is_put_back_after_an_error() -> None:
    model, stream = aggregator(8), torch.get_rng_state()
    with pytest.raises((RuntimeError, AssertionError)):
        model(noise(2, 3, 7), torch.Generator())
    assert torch.equal(torch.get_rng_state(), stream)


def test_embedded_actions_have_unit_variance_whatever_the_units() -> None:
    embed = ActionEmbedding(ACTIONS, ["turn"], 6)
    action = noise(50, 2, 2) * torch.tensor([1e3, 1.0]) + 5
    embedded = embed(action)
    assert embedded.shape == (50, 2, 6)
    torch.testing.assert_close(embedded.flatten(0, 1).mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(embedded.flatten(0, 1).var(0, unbiased=False), torch.ones(6), atol=1e-4, rtol=0)
    other = action.clone()
    other[..., ACTIONS.action_slice("shift")] += 1
    assert torch.equal(embed(other), embedded)


@pytest.mark.parametrize(("groups", "width"), [(None, 6), ([], 0)])
def test_no_rows_and_no_groups_are_embedded_as_nothing(groups: list[str] | None, width: int) -> None:
    embed = ActionEmbedding(ACTIONS, groups, 6)
    assert embed(torch.zeros(4, 0, 2)).shape == (4, 0, width)
    assert embed(noise(4, 3, 2)).shape == (4, 3, width)
    assert embed.out_dim == width
