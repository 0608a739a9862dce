"""Rehearsal: the step laid out as inference sees what inference sees; the penalty waits for the context to work."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.batch import Transitions
from contextssl.losses.contrastive import all_negatives
from contextssl.losses.leakage import Leakage
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.methods.rehearsal import Rehearsal, disagreement
from contextssl.models.transformer import ContextTransformer

TURN, SHIFT = Group("turn", 2, 1, Kind.REAL, ""), Group("shift", 1, 2, Kind.REAL, "")
SPACE = ActionSpace([TURN, SHIFT])
FEATURES_DIM = 4


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Columns(nn.Module):
    out_dim = FEATURES_DIM

    def forward(self, x):
        return x


def batch(num_sequences=3, length=5, seed=0):
    return Transitions(*(
        noise(num_sequences, length, *rest, seed=seed + i) for i, rest in enumerate([(FEATURES_DIM,), (3,), (FEATURES_DIM,), (2, 3)])
    ))  # fmt: skip


def build(environments=None, decoy_share=0.0, seed=0, method_settings=None, **settings):
    rehearsal = partial(Rehearsal, **({"context_pairs": (3,), "leakage_weight": 0.0} | settings))
    method = ContextSSL(
        Columns(), SPACE, transformer=partial(ContextTransformer, width=8, num_layers=2, num_heads=2), contrastive=all_negatives,
        environments=EnvironmentSampler(environments or {"turn": 0.5, "shift": 0.5}, decoy_share=decoy_share),
        auxiliary_dims=(8,), rehearsal=rehearsal, **(method_settings or {}),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    for parameter in method.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4
    return method


def rehearse(method, data, seed=0):
    """(tokens, prefix, outputs) of the queries of one step, and its terms."""
    seen, query = [], method.transformer.query

    def recording(tokens, prefix, mask=None):
        outputs = query(tokens, prefix, mask)
        seen.append((tokens.detach(), prefix, outputs.detach()))
        return outputs

    method.transformer.query = recording
    terms = method.loss_terms(data, torch.Generator().manual_seed(seed))
    method.transformer.query = query
    return (*seen[0], terms)


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


def leakage(**settings):
    torch.manual_seed(0)
    return Leakage(SHIFT.num_functions, 6, **({"adversary_updates": 0, "ramp": 10, "queue_length": 64} | settings))


def observe(penalty, told_r2):
    penalty.observe(torch.tensor(told_r2))
    penalty.move(penalty.is_shown)


def test_strength_grows_only_while_told_contexts_show_the_group():
    penalty = leakage(onset_r2=0.3)
    for _ in range(30):
        observe(penalty, 0.25)
    assert penalty.strength == 0
    strengths = []
    for _ in range(60):
        observe(penalty, 0.9)
        strengths.append(penalty.strength.item())
    assert strengths[0] == 0  # the running mean has to cross the onset first
    assert strengths == sorted(strengths)
    assert strengths[-1] == 1
    for _ in range(60):
        observe(penalty, 0.0)
    assert penalty.strength == 0
    assert penalty.told_r2 < 0.3


def test_one_lucky_step_is_no_onset():
    penalty = leakage(onset_r2=0.3)
    observe(penalty, 1.0)
    assert penalty.strength == 0


@pytest.mark.parametrize("shown", [("turn", "shift"), ("turn",), ()])
def test_no_group_is_held_down_before_every_group_is_shown(shown):
    """The strengths of all penalties grow together or not at all."""
    method, data = build({"turn": 0.5, "shift": 0.5}, leakage_weight=1.0), batch(4)
    for name, penalty in method.rehearsal.penalties.items():
        penalty.told_r2.fill_(20.0 if name in shown else -20.0)  # far enough that one step's measurement changes nothing
    rehearse(method, data)
    for penalty in method.rehearsal.penalties.values():
        assert (penalty.strength > 0) == (len(shown) == 2)


def test_what_told_contexts_show_is_measured_on_them_alone():
    """The running R2 of every group against the sequences picked out one by one; nothing moves where none is told."""
    method, data = build({"turn": 0.5, "none": 0.5}, leakage_weight=1.0), batch(4)
    told = method.environments.draw(data, SPACE, torch.Generator().manual_seed(0)).groups
    *_, outputs, _ = rehearse(method, data)
    plain, latent = nn.functional.normalize(outputs, dim=-1)[:, 10:], data.latent[:, :, 0].flatten(0, 1)
    read = method.auxiliary(plain[told[:, 0] > 0])[..., SPACE.latent_slice("turn")].detach()
    true = latent[:, SPACE.latent_slice("turn")].expand_as(read)
    expected = 1 - ((read - true) ** 2).mean() / true.var(dim=(0, 1)).mean()
    turn, shift = method.rehearsal.penalties.values()
    torch.testing.assert_close(turn.told_r2, 0.05 * expected, rtol=1e-4, atol=1e-6)
    assert shift.told_r2 == 0


def full_strength(**settings):
    penalty = leakage(**settings)
    penalty.strength.fill_(1.0)
    return penalty


def test_penalty_is_strength_times_what_is_readable():
    embedding, latent = noise(200, 6), noise(200, 2, seed=1)
    leaky = torch.cat([latent, embedding[:, 2:]], dim=1)
    assert full_strength()(leaky, latent) > 0.9
    assert full_strength()(embedding, latent) < 0.15  # chance: 6 features, 200 rows
    half = full_strength()
    half.strength.fill_(0.5)
    torch.testing.assert_close(half(leaky, latent), full_strength()(leaky, latent) / 2)
    assert leakage()(leaky, latent) == 0
    assert full_strength(linear_budget=1.0)(leaky, latent) == 0


def test_adversary_finds_what_regression_cannot():
    """A product of two coordinates: no linear function knows it, a small network learns it in a few steps."""
    torch.manual_seed(0)
    product = Leakage(1, 4, adversary_updates=20, queue_length=0, linear_budget=1.0)
    product.strength.fill_(1.0)
    for seed in range(30):
        embedding = noise(256, 4, seed=seed)
        found = product(embedding, (embedding[:, :1] * embedding[:, 1:2]).sign())
    blind = Leakage(1, 4, adversary_updates=0, queue_length=0)
    blind.strength.fill_(1.0)
    assert found > 0.3
    assert blind(embedding, (embedding[:, :1] * embedding[:, 1:2]).sign()) < 0.1


def test_queue_keeps_the_newest_rows_and_no_more():
    penalty = full_strength(queue_length=64)
    for step in range(5):
        penalty(torch.full((24, 6), float(step)) + 0.01 * noise(24, 6, seed=step), noise(24, 2, seed=step))
        assert penalty.filled == min(64, 24 * (step + 1))
    assert penalty.queue.shape == (64, 8)
    newest = penalty.queue[:, :6].mean(1).round()
    assert newest.tolist() == [4.0] * 24 + [3.0] * 24 + [2.0] * 16


def test_queue_makes_small_batches_honest():
    """In-sample R2 of 10 rows with 6 features is high by chance; with a long queue it is not."""
    alone, queued = full_strength(queue_length=0), full_strength(queue_length=2000)
    for seed in range(250):
        by_chance, honest = (penalty(noise(10, 6, seed=2 * seed), noise(10, 2, seed=2 * seed + 1)) for penalty in (alone, queued))
    assert by_chance > 0.3
    assert honest / 8 < 0.05  # the share of the batch among its gradient is capped at 8


def test_leakage_falls_on_untold_sequences_only():
    """What the penalty of a group gets are embeddings after contexts that do not tell it, with their own parameters."""
    method, data = build({"turn": 0.5, "shift": 0.5}, leakage_weight=1.0), batch(4)
    told = method.environments.draw(data, SPACE, torch.Generator().manual_seed(0)).groups
    assert told.sum(0).tolist() == [2, 2]
    given = {}
    for name, penalty in method.rehearsal.leakage.items():
        penalty.strength.fill_(1.0)
        penalty.register_forward_pre_hook(lambda module, arguments, name=name: given.update({name: arguments}))
    tokens, _, outputs, terms = rehearse(method, data)
    assert terms["leakage"] > 0
    outputs = nn.functional.normalize(outputs, dim=-1)
    latents = {tuple(data.state[b, t].tolist()): data.latent[b, t, 0] for b in range(4) for t in range(5)}
    for index, name in enumerate(("turn", "shift")):
        embedding, latent, weight = given[name]
        assert weight.sum() == 2 * 20  # sequences that are not told, and all plain items
        for row, parameters in zip(embedding[weight > 0], latent[weight > 0], strict=True):
            b, place = (outputs == row).all(-1).nonzero()[0].tolist()
            assert told[b, index] == 0
            assert torch.equal(parameters, latents[tuple(tokens[b, place, :FEATURES_DIM].tolist())][SPACE.latent_slice(name)])


@pytest.mark.parametrize(("pairs", "penalised"), [(0, False), (1, True)])
def test_no_context_is_not_penalised(pairs, penalised):
    """Without a context nothing is withheld either: what the model knows then is the starting point of every curve."""
    method = build({"none": 1.0}, leakage_weight=1.0, context_pairs=(pairs,))
    for penalty in method.rehearsal.leakage.values():
        penalty.strength.fill_(1.0)
    assert (rehearse(method, batch())[-1]["leakage"] > 0) == penalised


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


def test_what_told_groups_say_of_an_untold_one_can_be_let_pass():
    """An embedding that holds the told label alone: sex goes with it, and is read through it unless it is taken as given."""
    label = (noise(1, 400, seed=1) > 0).float()
    sex = ((noise(1, 400, seed=2) + 1.5 * label) > 0.7).float()
    latent = torch.stack([label, sex], dim=-1).expand(4, -1, -1)
    space = ActionSpace([Group("label", 2, 1, Kind.SWITCH, ""), Group("sex", 2, 1, Kind.SWITCH, "")])
    told = torch.tensor([[1.0, 0], [1, 0], [0, 0], [1, 1]])
    only_label = nn.functional.normalize(torch.cat([2 * latent[..., :1] - 1, 0.01 * noise(4, 400, 7)], dim=-1), dim=-1)
    both = nn.functional.normalize(only_label + (2 * latent[..., 1:] - 1) * noise(8, seed=3), dim=-1)

    def penalty(embedding, contexts, given_told):
        rehearsal = Rehearsal(
            space, 4, ContextTransformer(8, 8, width=8, num_layers=1, num_heads=2), context_pairs=(1,), leakage_given_told=given_told,
            penalty=partial(Leakage, adversary_updates=0, queue_length=1),
        )  # fmt: skip
        for each in rehearsal.penalties.values():
            each.strength.fill_(1.0)
        any_context = torch.ones(len(contexts), dtype=torch.bool)
        return rehearsal._leakage(embedding[contexts], latent[contexts], told[contexts], any_context).item()

    telling, silent, of_both = [0, 1], [2], [3]
    assert penalty(only_label, telling, False) > 0.1
    assert penalty(only_label, telling, True) < 0.03
    assert penalty(both, telling, True) > 0.3, "what is left of sex within a class still counts"
    assert penalty(only_label, silent, True) == pytest.approx(penalty(only_label, silent, False), rel=1e-3), "nothing was told"
    assert penalty(both, of_both, True) == 0
