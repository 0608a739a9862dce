"""What ContextSSL means: what a token carries, what a context does, and that training and inference agree."""

import math
from functools import partial

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.batch import Transitions
from contextssl.losses.contrastive import all_negatives, sequence_cross_negatives
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.models.transformer import ContextTransformer

SPACE = ActionSpace(
    [Group("pose", 4, 4, Kind.QUATERNION, ""), Group("hue", 2, 2, Kind.CIRCULAR, "")],
    action_scale=torch.tensor([0.5, 0.5, 0.5, 0.5, 2.0, 4.0]),
    latent_mean=torch.tensor([0.0, 0, 0, 0.5, 1, 2]),
    latent_scale=torch.tensor([1.0, 1, 1, 2, 3, 4]),
)
FEATURES_DIM = 5


class Columns(nn.Module):
    """Features are the item's numbers, so that tests can say what a token must hold."""

    out_dim = FEATURES_DIM

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.scale


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def transitions(num_sequences=3, length=4, seed=0):
    return Transitions(*(
        noise(num_sequences, length, *rest, seed=seed + i) for i, rest in enumerate([(FEATURES_DIM,), (6,), (FEATURES_DIM,), (2, 6)])
    ))  # fmt: skip


def build(environments=None, num_layers=2, num_heads=2, seed=0, **settings):
    """A ContextSSL with random weights of order one, so that nothing is small by initialisation."""
    settings = {
        "contrastive": all_negatives,
        "auxiliary_dims": (8,),
        "auxiliary_weight": 1.0,
        "mask_probabilities": (0.5,),
    } | settings
    method = ContextSSL(
        Columns(), SPACE, transformer=partial(ContextTransformer, width=8, num_layers=num_layers, num_heads=num_heads),
        environments=EnvironmentSampler(environments or {"pose": 0.5, "hue": 0.5}), **settings,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    for parameter in method.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4
    method.encoder.scale.data.fill_(1.0)
    return method.eval()


def terms_of(method, batch, seed=0):
    return method.loss_terms(batch, torch.Generator().manual_seed(seed))


def outputs_of(method, batch, seed=0):
    """The transformer's outputs [B, S, E] inside one step."""
    seen = []
    handle = method.transformer.register_forward_hook(lambda module, arguments, output: seen.append((arguments[0], output)))
    with torch.no_grad():
        terms_of(method, batch, seed)
    handle.remove()
    return seen[0]


def test_tokens_of_a_step_are_items_with_told_actions_and_transformed_items_with_none():
    batch = transitions()
    tokens, _ = outputs_of(build({"hue": 1.0}), batch)
    hidden_pose = batch.action * torch.tensor([0.0, 0, 0, 0, 1, 1])
    for pair in range(4):
        assert torch.equal(tokens[:, 2 * pair], torch.cat([batch.state[:, pair], hidden_pose[:, pair]], dim=1))
        assert torch.equal(tokens[:, 2 * pair + 1], torch.cat([batch.next_state[:, pair], torch.zeros(3, 6)], dim=1))


def test_changing_next_states_changes_exactly_every_second_token_when_all_of_the_past_is_masked():
    batch, method = transitions(), build(mask_probabilities=(1.0,))
    changed = batch.with_items(batch.state, batch.next_state + noise(*batch.next_state.shape, seed=9))
    (_, before), (_, after) = outputs_of(method, batch), outputs_of(method, changed)
    torch.testing.assert_close(before[:, 0::2], after[:, 0::2])
    assert ((before - after)[:, 1::2].abs().amax(-1) > 1e-3).all()


def test_a_pair_is_seen_by_later_pairs_only():
    batch, method = transitions(length=5), build(mask_probabilities=(0.0,))
    state = batch.state.clone()
    state[:, 2] += noise(3, FEATURES_DIM, seed=9)
    (_, before), (_, after) = outputs_of(method, batch), outputs_of(method, batch.with_items(state, batch.next_state))
    difference = (before - after).abs().amax(-1)
    assert (difference[:, [0, 1, 2, 3]] == 0).all()
    assert (difference[:, [4, 6, 7, 8, 9]] > 1e-4).all()
    assert (difference[:, 5] == 0).all()  # Y_2 does not see its own X_2


@pytest.mark.parametrize(("environment", "hidden"), [("pose", slice(4, 6)), ("hue", slice(0, 4)), ("none", slice(0, 6))])
def test_hidden_coordinates_do_not_matter_and_told_ones_do(environment, hidden):
    method, batch = build({environment: 1.0}), transitions()
    action = batch.action.clone()
    action[..., hidden] = noise(*action[..., hidden].shape, seed=5)
    first, second = terms_of(method, batch), terms_of(method, batch.with_action(action))
    assert all(torch.equal(first[name], second[name]) for name in first)
    told = batch.action + noise(*batch.action.shape, seed=6) * (action == batch.action)
    if environment != "none":
        assert not torch.equal(terms_of(method, batch.with_action(told))["contrastive"], first["contrastive"])


def test_auxiliary_loss_is_zero_when_the_answer_is_right():
    """With an auxiliary predictor that outputs t^y of the (constant) batch exactly, nothing is left to learn."""
    batch = transitions()
    batch = Transitions(batch.state, batch.action, batch.next_state, torch.randn(6).expand(3, 4, 2, 6).contiguous())
    for standardise in (False, True):
        method = build(standardise=standardise)
        method.auxiliary = AnswersWith((batch.latent[0, 0, 1] - method.latent_mean) / method.latent_scale)
        assert terms_of(method, batch)["auxiliary"].item() == pytest.approx(0, abs=1e-12)
        method.auxiliary = AnswersWith(method.auxiliary.answer + torch.tensor([0.0, 0, 0, 0, 0, 1]))
        # One of two hue coordinates is off by one in every token, and only hue sequences are asked: 1/2.
        assert terms_of(method, batch)["auxiliary"].item() == pytest.approx(0.5, rel=1e-5)


class AnswersWith(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, embedding):
        return self.answer.expand(*embedding.shape[:-1], -1)


def test_auxiliary_target_is_the_second_view_for_both_tokens():
    batch, method = transitions(), build({"hue": 1.0})
    latent = batch.latent.clone()
    latent[:, :, 0] = noise(3, 4, 6, seed=8)  # parameters of the first view: never asked for
    same = Transitions(batch.state, batch.action, batch.next_state, latent)
    assert torch.equal(terms_of(method, batch)["auxiliary"], terms_of(method, same)["auxiliary"])
    _, outputs = outputs_of(method, batch)
    answers = method.auxiliary(nn.functional.normalize(outputs, dim=-1))
    slow = [((answers[b, token] - batch.latent[b, token // 2, 1])[4:] ** 2).mean() for b in range(3) for token in range(8)]
    assert terms_of(method, batch)["auxiliary"].item() == pytest.approx(torch.stack(slow).mean().item(), rel=1e-5)


def test_weights_scale_their_terms():
    batch = transitions()
    one, five = terms_of(build(auxiliary_weight=1.0), batch), terms_of(build(auxiliary_weight=5.0), batch)
    assert five["auxiliary"].item() == pytest.approx(5 * one["auxiliary"].item(), rel=1e-5)
    assert torch.equal(one["contrastive"], five["contrastive"])


def test_a_single_pair_has_no_context():
    """With T = 1 every token sees itself only, so a step is pairwise InfoNCE of context-free embeddings (protocol 3)."""
    batch, method = transitions(num_sequences=4, length=1), build({"all": 1.0}, mask_probabilities=(0.0,))
    with torch.no_grad():
        x = method.predict(batch.state[:, 0], batch.action[:, 0])
        y = method.embed_target(batch.next_state[:, 0])
        terms = terms_of(method, batch)
    tokens = torch.cat([x, y])
    logits = (tokens @ tokens.T).clamp_min(1e-7) / 0.1
    total = 0.0
    for anchor in range(8):
        others = [logits[anchor, other].item() for other in range(8) if other != anchor]
        total += math.log(sum(map(math.exp, others))) - logits[anchor, (anchor + 4) % 8].item()
    assert terms["contrastive"].item() == pytest.approx(total / 8, rel=1e-4)


def test_reference_arguments_give_the_loss_of_protocol_3():
    """Constant outputs: ln(2N - 1) for the reference's negatives, ln T for the paper's, whatever the masks."""
    batch = transitions(num_sequences=2, length=6)
    for contrastive, expected in ((all_negatives, math.log(23)), (sequence_cross_negatives, math.log(6))):
        method = build(contrastive=contrastive, mask_probabilities=(0.9,))
        nn.init.zeros_(method.transformer.read_out.weight)
        assert terms_of(method, batch)["contrastive"].item() == pytest.approx(expected, rel=1e-5)


def test_standardised_actions_and_targets_have_unit_scale_by_their_statistics():
    method = build(standardise=True)
    action = torch.tensor([[0.5, 0.5, 0.5, 0.5, 2.0, 4.0]])
    token = method.tokens(torch.zeros(1, FEATURES_DIM), action)[0, FEATURES_DIM:]
    torch.testing.assert_close(token, torch.full((6,), (FEATURES_DIM / 6) ** 0.5))
    # So told actions carry as much energy as normalised features: 5 coordinates of variance 1.
    assert token.square().sum().item() == pytest.approx(FEATURES_DIM, rel=1e-5)


def test_standardised_features_have_mean_zero_and_variance_one_in_training():
    method = build(standardise=True).train()
    features = method.represent(7 + 3 * noise(200, FEATURES_DIM))
    torch.testing.assert_close(features.mean(0), torch.zeros(FEATURES_DIM), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.std(0, unbiased=False), torch.ones(FEATURES_DIM), atol=1e-4, rtol=0)


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


@pytest.mark.parametrize(("per_sequence", "per_layer"), [(False, False), (True, False), (False, True), (True, True)])
def test_scope_of_random_masks(per_sequence, per_layer):
    """Equal sequences of a batch get equal outputs exactly when they share their masks."""
    method = build({"pose": 1.0}, mask_per_sequence=per_sequence, mask_per_layer=per_layer)
    one = transitions(1, 8)
    twice = Transitions(*(torch.cat([part, part]) for part in (one.state, one.action, one.next_state, one.latent)))
    masks = []
    handle = method.transformer.register_forward_pre_hook(lambda module, arguments: masks.append(arguments[1]))
    _, outputs = outputs_of(method, twice)
    handle.remove()
    assert torch.allclose(outputs[0], outputs[1]) == (not per_sequence)
    first, second = masks[0]
    assert torch.equal(first, second) == (not per_layer)


def test_wrong_widths_are_refused_before_anything_is_computed():
    batch = transitions()
    with pytest.raises(ValueError, match=r"action: .* need width 6, found 5"):
        terms_of(build(), batch.with_action(batch.action[..., :5]))


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
