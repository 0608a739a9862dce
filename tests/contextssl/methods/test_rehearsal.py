"""Rehearsal: the step laid out as inference sees what inference sees, and what its terms ask for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rehearsing_context_ssl import FEATURES_DIM, SPACE, batch, build, rehearse
from seeded_noise import noise
from torch import nn

from contextssl.batch import Transitions
from contextssl.methods.rehearsal import disagreement


@pytest.mark.parametrize("told", ["turn", "shift", "all", "none"])
@pytest.mark.parametrize("pairs", [0, 1, 3])
def test_queries_see_exactly_what_a_conditioned_encoder_sees(told, pairs):
    method, data = build({told: 1.0}, context_pairs=(pairs,)), batch()
    tokens, _, outputs, _ = rehearse(method, data)
    for b in range(3):
        with torch.no_grad():
            conditioned = method.condition(Transitions(*(part[[b]] for part in (data.state, data.action, data.next_state, data.latent))).first(pairs),
                                           SPACE.environment(told))  # fmt: skip
            features, action = tokens[b, :, :FEATURES_DIM], tokens[b, :, FEATURES_DIM:]
            expected = conditioned.embed_features(features, action)
        torch.testing.assert_close(nn.functional.normalize(outputs[b], dim=-1), expected, atol=1e-5, rtol=1e-4)


def test_queries_are_pairs_of_the_next_sequence_and_the_plain_states_of_all():
    method, data = build({"shift": 1.0}), batch()
    tokens, _, _, _ = rehearse(method, data)
    hidden, nothing = data.action * torch.tensor([0.0, 0, 1]), torch.zeros(3, 5, 3)
    told, target = torch.cat([data.state, hidden], dim=2), torch.cat([data.next_state, nothing], dim=2)
    plain = torch.cat([data.state, nothing], dim=2).flatten(0, 1)
    for b in range(3):
        assert torch.equal(tokens[b], torch.cat([told[(b + 1) % 3], target[(b + 1) % 3], plain]))


def test_a_context_is_not_longer_than_its_sequence():
    _, prefix, _, _ = rehearse(build(context_pairs=(60,)), batch(length=5))
    assert prefix[0][0].shape[2] == 10
    drawn = build(context_pairs=(0, 2, 60)).rehearsal._draw_lengths(batch(num_sequences=50), torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == {0, 2, 5}


def test_every_sequence_has_a_context_of_its_own_length():
    """Queries of a sequence do not see what lies beyond its own length, and see all of what lies within."""
    method, data = build({"all": 1.0}, context_pairs=(0, 1, 2, 3, 4)), batch(num_sequences=4)
    lengths = method.rehearsal._draw_lengths(data, torch.Generator().manual_seed(0))
    assert len(set(lengths.tolist())) > 1
    method.rehearsal._draw_lengths = lambda *_: lengths
    outputs = rehearse(method, data)[2]
    for b, length in enumerate(lengths.tolist()):
        for pair in range(5):
            state = data.state.clone()
            state[b, pair] += noise(FEATURES_DIM, seed=3)
            changed = rehearse(method, data.with_items(state, data.next_state))[2][b]
            fresh = (b + 1) % 4 * 5  # plain queries of another sequence, which did not change
            fresh = slice(10 + fresh, 15 + fresh)
            assert torch.allclose(changed[fresh], outputs[b, fresh], atol=1e-6) == (pair >= length)


def test_disagreement_compares_contexts_that_tell_the_same_groups():
    unit = nn.functional.normalize(noise(4, 6, 8), dim=-1)
    told = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 0]])
    every = torch.ones(4, dtype=torch.bool)
    assert disagreement(unit[[0, 0, 1, 2]], told, every).item() == pytest.approx(0, abs=1e-6)
    opposite = torch.stack([unit[0], -unit[0], unit[1], unit[2]])
    assert disagreement(opposite, told, every).item() == pytest.approx(1)
    assert disagreement(unit, told[[0, 2, 3, 3]], every) > 0.5  # unrelated embeddings of the two that tell nothing
    assert disagreement(unit[:3], told[[0, 2, 3]], every[:3]) == 0
    assert disagreement(opposite, told, torch.tensor([True, False, True, True])) == 0  # the contrary one does not count


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=9))
def test_every_kind_of_context_counts_once_in_the_disagreement(contexts):
    kind, counted = torch.tensor([k for k, _ in contexts]), torch.tensor([c for _, c in contexts])
    embedding = nn.functional.normalize(noise(len(contexts), 3, 4), dim=-1)
    by_kind = []
    for value in (0, 1, 2):
        alike = embedding[(kind == value) & counted]
        if len(alike) > 1:
            by_kind.append(1 - alike.mean(0).square().sum(-1).mean().item())
    expected = sum(by_kind) / len(by_kind) if by_kind else 0
    assert disagreement(embedding, kind[:, None].float(), counted).item() == pytest.approx(expected, abs=1e-5)


def test_one_sequence_alone_cannot_rehearse():
    with pytest.raises(ValueError, match="at least 2 sequences a step"):
        rehearse(build(), batch(num_sequences=1))


def test_hidden_actions_do_not_matter_in_a_rehearsal():
    method, data = build({"turn": 1.0}), batch()
    noisy = data.with_action(data.action + noise(3, 5, 3, seed=9) * torch.tensor([0.0, 0, 1]))
    first, second = rehearse(method, data)[-1], rehearse(method, noisy)[-1]
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_told_groups_of_plain_items_are_their_own_and_of_pairs_the_second_view_s():
    """A right answer costs nothing: every latent of the batch is the same, and the auxiliary predictor says it."""
    data, method = batch(), build({"all": 1.0})
    data = Transitions(data.state, data.action, data.next_state, torch.tensor([0.5, -1.0, 2.0]).expand(3, 5, 2, 3).contiguous())
    nn.init.zeros_(method.auxiliary[-1].weight)
    method.auxiliary[-1].bias.data = torch.tensor([0.5, -1.0, 2.0])
    assert rehearse(method, data)[-1]["rehearsed auxiliary"].item() == 0
    own = data.latent.clone()
    own[:, :, 0] += 1
    changed = rehearse(method, Transitions(data.state, data.action, data.next_state, own))[-1]
    assert changed["rehearsed auxiliary"].item() > 0  # t^x is the target of plain items...
    assert changed["auxiliary"].item() == 0  # ...and of no token of a training pair


def test_content_target_gives_no_gradient_to_the_features():
    method, data = build({"all": 1.0}, content_weight=1.0), batch()
    data.state.requires_grad_()
    nn.init.zeros_(method.rehearsal.content.weight)  # blind to embeddings: only the target could pass gradient on
    rehearse(method, data)[-1]["content"].backward()
    assert data.state.grad is None or not data.state.grad.any()


def test_fit_term_is_about_the_shown_actions_being_the_pairs_own():
    """A head that calls every pair a misfit pays for those that fit, and the reverse."""
    method, data = build({"all": 1.0}, decoy_share=0.5, fit_weight=1.0, method_settings={"read_evidence": True}), batch()
    told = method.environments.draw(data, SPACE, torch.Generator().manual_seed(0))
    fitting = (told.action == data.action).all(-1)[:, :3].float().mean().item()
    assert 0.2 < fitting < 1
    nn.init.zeros_(method.rehearsal.fit.weight)
    for bias, expected in ((-50.0, 50 * fitting), (50.0, 50 * (1 - fitting))):
        nn.init.constant_(method.rehearsal.fit.bias, bias)
        assert rehearse(method, data)[-1]["fit"].item() == pytest.approx(expected, abs=1e-4)


def test_nothing_told_leaves_nothing_to_fit():
    method = build({"none": 1.0}, fit_weight=1.0, method_settings={"read_evidence": True})
    fit = rehearse(method, batch())[-1]["fit"]
    fit.backward()
    assert fit == 0 and not any(p.grad.any() for p in method.parameters() if p.grad is not None)


def test_evidence_term_reads_the_true_actions_also_of_decoys_and_hidden_groups():
    method = build({"turn": 1.0}, decoy_share=0.5, evidence_weight=2.0, method_settings={"read_evidence": True})
    data = batch()
    pair = torch.cat([data.state, data.next_state], dim=-1).flatten(0, 1)
    code = data.action.flatten(0, 1) @ method.evidence.from_action.weight.T
    errors, sizes = [], []
    for row, own in zip(pair, code, strict=True):
        read = method.evidence.from_pair.weight @ row + method.evidence.from_pair.bias
        errors.append(sum((a - b) ** 2 for a, b in zip(read.tolist(), own.tolist(), strict=True)))
        sizes.append(sum(b**2 for b in own.tolist()))
    assert rehearse(method, data)[-1]["evidence"].item() == pytest.approx(2 * sum(errors) / sum(sizes), rel=1e-5)


def test_evidence_term_needs_something_that_reads_evidence():
    with pytest.raises(ValueError, match="set read_evidence, or the weight to 0"):
        rehearse(build(evidence_weight=1.0), batch())
