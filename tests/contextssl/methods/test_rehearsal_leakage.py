"""Leakage in a rehearsal: the penalty waits for told contexts to work, and falls on untold ones alone."""

from functools import partial

import pytest
import torch
from rehearsing_context_ssl import FEATURES_DIM, SPACE, batch, build, rehearse
from seeded_noise import noise
from torch import nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.losses.leakage import Leakage
from contextssl.methods.rehearsal import Rehearsal
from contextssl.models.transformer import ContextTransformer


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
