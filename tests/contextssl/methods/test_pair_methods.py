"""The pairwise methods: which head sees what, what the predictor is told, and that predictions are learnt."""

from functools import partial

import pytest
import torch
from torch import nn

from contextssl.actions import ActionSpace
from contextssl.methods.aug_self import AugSelf
from contextssl.methods.equimod import EquiMOD
from contextssl.methods.sen import SEN
from contextssl.methods.sen_hinge import SENHinge
from contextssl.methods.sie import SIE, SIEObjective
from contextssl.methods.vicreg import VICReg
from contextssl.testing import ToyAdapter

ADAPTER = ToyAdapter()
DIMS = (32, 16)
EQUIVARIANT = {
    "equimod": partial(EquiMOD, projector_dims=DIMS),
    "sen": partial(SEN, projector_dims=DIMS),
    "sen_hinge": partial(SENHinge, projector_dims=DIMS, transition_dims=(16,)),
    "sie": partial(SIE, projector_dims=DIMS),
}
TELLING = EQUIVARIANT | {"aug_self": partial(AugSelf, projector_dims=DIMS)}


def build(make, actions=ADAPTER.actions, **settings):
    torch.manual_seed(0)
    return make(ADAPTER.build_encoder(), actions, **settings).eval()


def pairs(count=4, length=3, seed=0):
    batch = ADAPTER.held_out(length, count, seed=seed)
    return batch, *(part.flatten(0, 1) for part in (batch.state, batch.action, batch.next_state))


def terms(method, batch):
    return method.loss_terms(batch, torch.Generator())


def same_terms(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_vicreg_compares_projections():
    method, (batch, x, _, y) = build(partial(VICReg, projector_dims=DIMS)), pairs()
    x, y = (method.projector(method.encoder(items)) for items in (x, y))
    same_terms(terms(method, batch), method.objective(x, y, x))


def test_equimod_predicts_in_its_second_head_only():
    method, (batch, x, action, y) = build(EQUIVARIANT["equimod"]), pairs()
    (x_inv, x_eq), (y_inv, y_eq) = (
        (method.invariance_projector(features), method.equivariance_projector(features))
        for features in (method.encoder(x), method.encoder(y))
    )
    predicted = torch.cat([x_eq, action / ADAPTER.actions.action_scale], 1) @ method.predictor.weight.T + method.predictor.bias
    nowhere = torch.full_like(predicted, torch.nan)  # an invariant part of the prediction is not to be looked at
    expected = method.objective(torch.cat([x_inv, x_eq], 1), torch.cat([y_inv, y_eq], 1), torch.cat([nowhere, predicted], 1))
    same_terms(terms(method, batch), expected)
    torch.testing.assert_close(method.predict(x, action), predicted)
    torch.testing.assert_close(method.embed_target(y), y_eq)


def test_sen_predicts_the_whole_embedding_linearly():
    method, (batch, x, action, y) = build(EQUIVARIANT["sen"]), pairs()
    x_embedded, y_embedded = (method.projector(method.encoder(items)) for items in (x, y))
    weight = method.predictor.weight
    told = action / ADAPTER.actions.action_scale
    predicted = x_embedded @ weight[:, :16].T + told @ weight[:, 16:].T + method.predictor.bias
    same_terms(terms(method, batch), method.objective(x_embedded, y_embedded, predicted))
    torch.testing.assert_close(method.predict(x, action), predicted)
    torch.testing.assert_close(method.embed_target(y), y_embedded)


def test_sen_with_its_own_loss_predicts_a_step():
    method, (batch, x, action, y) = build(EQUIVARIANT["sen_hinge"]), pairs()
    x_embedded, y_embedded = (method.projector(method.encoder(items)) for items in (x, y))
    step = method.transition(torch.cat([x_embedded, action / ADAPTER.actions.action_scale], 1))
    same_terms(terms(method, batch), method.objective(x_embedded, y_embedded, x_embedded + step))
    for parameter in method.transition.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(method.predict(x, action), x_embedded)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_sie_projects_its_parts_apart_and_transforms_one_linearly(share):
    method = build(EQUIVARIANT["sie"], objective=SIEObjective(invariant_share=share))
    batch, x, action, y = pairs()
    width, told = round(share * 32), action / ADAPTER.actions.action_scale
    x_features, y_features = method.encoder(x), method.encoder(y)
    x_eq, y_eq = (method.equivariant_projector(features[:, width:]) for features in (x_features, y_features))
    x_inv, y_inv = (method.invariant_projector(features[:, :width]) for features in (x_features, y_features))
    assert x_inv.shape[1] == round(share * 16) and x_eq.shape[1] == 16 - round(share * 16)
    matrices = [sum(a * method.predictor.weight[j].T for j, a in enumerate(row)) for row in told]
    predicted = torch.stack([matrix @ embedding for matrix, embedding in zip(matrices, x_eq, strict=True)])
    nowhere = torch.full_like(x_inv, torch.nan)
    expected = method.objective(torch.cat([x_inv, x_eq], 1), torch.cat([y_inv, y_eq], 1), torch.cat([nowhere, predicted], 1))
    same_terms(terms(method, batch), expected)
    torch.testing.assert_close(method.predict(x, action), predicted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(method.embed_target(y), y_eq)
    invariant, equivariant = method.parts(x)
    assert torch.equal(torch.cat([invariant, equivariant], 1), method.represent(x)) and invariant.shape[1] == width


def test_aug_self_reads_the_action_from_both_representations():
    method, (batch, x, action, y) = build(TELLING["aug_self"], action_weight=3.0), pairs()
    x, y = method.encoder(x), method.encoder(y)
    read = method.regressor(torch.cat([x, y], 1))
    found = terms(method, batch)
    expected = 3 * ((read - action / ADAPTER.actions.action_scale) ** 2).mean()
    torch.testing.assert_close(found["action"], expected)
    swapped = terms(method, batch.with_items(batch.next_state, batch.state))
    assert swapped["action"] != found["action"]
    torch.testing.assert_close(swapped["invariance"], found["invariance"])


@pytest.mark.parametrize("name", TELLING)
@pytest.mark.parametrize(("told", "hidden"), [("turn", 1), ("shift", 0)])
def test_a_predictor_that_is_told_some_groups_reads_those_only(name, told, hidden):
    method, (batch, *_) = build(TELLING[name], groups=[told]), pairs()
    before = terms(method, batch)
    for column in (0, 1):
        action = batch.action.clone()
        action[..., column] += torch.randn(action.shape[:-1], generator=torch.Generator().manual_seed(1))
        after = terms(method, batch.with_action(action))
        assert all(torch.equal(after[key], before[key]) for key in before) == (column == hidden)


@pytest.mark.parametrize("name", TELLING)
def test_units_of_the_action_do_not_matter(name):
    """Actions and their scale in other units: the same predictor says the same."""
    units = torch.tensor([57.3, 0.01])
    other = ActionSpace(ADAPTER.actions.groups, action_scale=ADAPTER.actions.action_scale * units)
    batch, *_ = pairs()
    same_terms(terms(build(TELLING[name], other), batch.with_action(batch.action * units)), terms(build(TELLING[name]), batch))


@pytest.mark.parametrize("name", TELLING)
def test_unknown_groups_and_none_are_refused(name):
    with pytest.raises(ValueError, match="unknown group 'colour': this action space has"):
        build(TELLING[name], groups=["colour"])
    with pytest.raises(ValueError, match=r"groups: expected at least one of \['turn', 'shift'\], found none"):
        build(TELLING[name], groups=[])


# SIE's map is linear in the action and without bias, so that it cannot keep an embedding under an action of zeros.
SHARES = {"equimod": 0.85, "sen": 0.85, "sen_hinge": 0.85, "sie": 0.7}


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_predictions_of_true_actions_come_nearer_to_the_target_with_training(name):
    """On pairs never trained on, the prediction for the true action is nearer to y than the one for another's."""
    method = build(EQUIVARIANT[name]).train()
    optimizer, sequences = torch.optim.Adam(method.parameters(), lr=3e-3), ADAPTER.train_sequences(64, seed=0)
    for step in range(120):
        optimizer.zero_grad()
        torch.stack(list(terms(method, sequences[step]).values())).sum().backward()
        optimizer.step()
    method.eval()
    _, x, action, y = pairs(1, 200, seed=9)
    with torch.no_grad():
        true, target = method.predict(x, action), method.embed_target(y)
        other = method.predict(x, action.roll(1, 0))
    nearer = (true - target).norm(dim=1) < (other - target).norm(dim=1)
    assert nearer.float().mean() > SHARES[name], nearer.float().mean()
