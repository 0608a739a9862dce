"""A training step of ContextSSL: what a token carries, which tokens it sees, and what its losses ask for."""

import math

import pytest
import torch
from random_context_ssl import FEATURES_DIM, build, outputs_of, terms_of, transitions
from seeded_noise import noise
from torch import nn

from contextssl.batch import Transitions
from contextssl.losses.contrastive import all_negatives, sequence_cross_negatives


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
