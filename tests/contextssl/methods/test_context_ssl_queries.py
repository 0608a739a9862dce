"""Queries of ContextSSL: what a context does, its lengths, and that training and inference agree."""

from functools import partial

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from random_context_ssl import FEATURES_DIM, SPACE, Columns, build, outputs_of, transitions
from seeded_noise import noise
from torch import nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.batch import Transitions
from contextssl.losses.contrastive import all_negatives
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.models.transformer import ContextTransformer


def context_and_queries(seed=0, length=6):
    return transitions(1, length, seed), noise(4, FEATURES_DIM, seed=seed + 50), noise(4, 6, seed=seed + 60)


def test_the_context_matters_when_queried():
    method, (context, x, action) = build(), context_and_queries()
    other, _, _ = context_and_queries(seed=7)
    with torch.no_grad():
        pose = method.condition(context, SPACE.environment("pose"))
        for different in (
            method.condition(context, SPACE.environment("hue")),
            method.condition(other, SPACE.environment("pose")),
            method.condition(context.with_action(context.action.roll(1, 1)), SPACE.environment("pose")),
            pose.shortened(10),
        ):
            assert (pose.embed(x) - different.embed(x)).abs().max() > 1e-3
        assert (pose.embed(x) - pose.embed(x, action)).abs().max() > 1e-3
        assert (pose.embed(x, action) - pose.embed(x, action + noise(4, 6))).abs().max() > 1e-3
        swapped = action.clone()
        swapped[:, 4:] = noise(4, 2, seed=3)  # the hue of a query's action is hidden in this environment
        assert torch.equal(pose.embed(x, action), pose.embed(x, swapped))
        assert torch.allclose(pose.embed(x).norm(dim=1), torch.ones(4))


def test_no_context_is_the_empty_context():
    method, (context, x, action) = build(), context_and_queries()
    with torch.no_grad():
        for told in ("all", "pose", "none"):
            empty = method.condition(context.first(0), SPACE.environment(told))
            assert empty.length == 0
            torch.testing.assert_close(method.embed_target(x), empty.embed(x))
        everything = method.condition(context.first(0), SPACE.environment("all"))
        torch.testing.assert_close(method.predict(x, action), everything.embed(x, action))
        torch.testing.assert_close(
            method.condition(context, SPACE.environment("all")).shortened(0).embed(x), method.embed_target(x)
        )


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 7), st.sampled_from([1, 2, 4]), st.integers(1, 3), st.booleans(), st.booleans(),
    st.sampled_from(["pose", "hue", "all", "none"]), st.integers(0, 10**6),
)  # fmt: skip
def test_shortened_contexts_equal_shorter_ones_for_every_length(
    pairs, num_heads, num_layers, standardise, with_action, told, seed
):
    method = build(num_layers=num_layers, num_heads=num_heads, standardise=standardise, seed=seed)
    context, x, action = context_and_queries(seed, pairs)
    action = action if with_action else None
    with torch.no_grad():
        whole = method.condition(context, SPACE.environment(told))
        for length in range(pairs + 1):
            short = method.condition(context.first(length), SPACE.environment(told))
            assert short.length == 2 * length
            torch.testing.assert_close(whole.shortened(2 * length).embed(x, action), short.embed(x, action), atol=1e-5, rtol=1e-4)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 6), st.sampled_from(["pose", "hue", "all"]), st.integers(0, 10**6))
def test_a_step_without_masks_sees_what_a_query_sees(length, told, seed):
    """Token i of a training sequence equals a query after the pairs before it: same model, two code paths."""
    method = build({told: 1.0}, mask_probabilities=(0.0,), seed=seed)
    batch = transitions(1, length, seed)
    _, outputs = outputs_of(method, batch)
    outputs = nn.functional.normalize(outputs[0], dim=-1)
    with torch.no_grad():
        for pair in range(length):
            conditioned = method.condition(batch.first(pair), SPACE.environment(told))
            torch.testing.assert_close(
                outputs[2 * pair], conditioned.embed(batch.state[0, [pair]], batch.action[0, [pair]])[0], atol=1e-5, rtol=1e-4
            )
            torch.testing.assert_close(
                outputs[2 * pair + 1], conditioned.embed(batch.next_state[0, [pair]])[0], atol=1e-5, rtol=1e-4
            )


@pytest.mark.parametrize("length", [-2, 1, 3, 14])
def test_impossible_context_lengths_are_refused(length):
    method, (context, _, _) = build(), context_and_queries()
    with pytest.raises(ValueError, match=f"expected an even number from 0 to 12, found {length}"):
        method.condition(context, SPACE.environment("pose")).shortened(length)


def test_quantised_embeddings_take_few_values_and_approach_the_exact_ones():
    method, (context, x, _) = build(), context_and_queries()
    with torch.no_grad():
        exact = method.condition(context, SPACE.environment("pose"))
        calibration = exact.embed(noise(500, FEATURES_DIM, seed=4))
        values = exact.quantised(4, calibration).embed(noise(300, FEATURES_DIM, seed=5)).unique()
        levels = values / values[values > 0].min()  # of the 2**4 - 1 levels from -7 to 7
        torch.testing.assert_close(levels, levels.round())
        assert levels.abs().max().round() == 7
        assert 0 in levels
        errors = [(exact.quantised(bits, calibration).embed(x) - exact.embed(x)).abs().max().item() for bits in (4, 8, 12)]
    assert errors[0] > 8 * errors[1] > 64 * errors[2]
    with pytest.raises(ValueError, match="bits: expected 2 to 16, found 1"):
        exact.quantised(1, calibration)


def test_presence_tells_a_context_that_withholds_from_more_of_the_query():
    """The one number a group joins X tokens of contexts and told queries, and no plain query."""
    space = ActionSpace([Group("turn", 2, 1, Kind.REAL, ""), Group("shift", 1, 2, Kind.REAL, "")])
    method = ContextSSL(
        Columns(), space, transformer=partial(ContextTransformer, width=8, num_layers=1, num_heads=2),
        contrastive=all_negatives, environments=EnvironmentSampler({"turn": 1.0}), tell_presence=True,
    )  # fmt: skip
    features = torch.randn(1, 3, method.encoder.out_dim, generator=torch.Generator().manual_seed(0))
    presence = torch.tensor([[1.0, -1.0]])
    gain = (method.encoder.out_dim / 2) ** 0.5
    told, plain = method.tokens(features, torch.zeros(1, 3, 3), presence), method.tokens(features)
    torch.testing.assert_close(told[..., -2:], (gain * presence).expand(1, 3, 2))
    assert not plain[..., -5:].any() and torch.equal(plain[..., :-5], features)
    conditioned = [method.eval().condition_features(_features(method, space), space.environment(e)) for e in ("none", "turn")]
    seen = [encoder.token(features, torch.ones(1, 3, 3))[..., -2:] / gain for encoder in conditioned]
    torch.testing.assert_close(seen[0][0, 0], torch.tensor([-1.0, -1.0]))
    torch.testing.assert_close(seen[1][0, 0], torch.tensor([1.0, -1.0]))


def _features(method, space):
    draws = torch.Generator().manual_seed(1)
    width = method.encoder.out_dim
    items = torch.randn(2, 1, 2, width, generator=draws)
    return Transitions(items[0], torch.randn(1, 2, 3, generator=draws), items[1], torch.zeros(1, 2, 2, 3))
