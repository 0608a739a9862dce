"""The "+" forms: which tokens become x, y and the prediction, what each may see, and what the method reads at all."""

from functools import partial

import pytest
import torch
from torch import nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.batch import Transitions
from contextssl.methods.equimod import EquiMODObjective
from contextssl.methods.objective import PairObjective
from contextssl.methods.plus import Plus
from contextssl.methods.sie import SIEObjective
from contextssl.methods.simclr import SimCLRObjective
from contextssl.methods.vicreg import VICRegObjective
from contextssl.models.transformer import ContextTransformer

SPACE = ActionSpace(
    [Group("pose", 2, 2, Kind.REAL, ""), Group("hue", 1, 1, Kind.CIRCULAR, "")], action_scale=torch.tensor([1.0, 2.0, 5.0])
)
WIDTH = 5


class Columns(nn.Module):
    """Features are the item's numbers."""

    out_dim = WIDTH

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.scale


class Seen(PairObjective):
    """Keeps what it is given."""

    predicts = True

    def __call__(self, x, y, predicted):
        self.x, self.y, self.predicted = x, y, predicted
        return {"sum": x.sum() + y.sum() + predicted.sum()}


class SeenWithoutPredictions(Seen):
    predicts = False


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def transitions(num_sequences=2, length=5, seed=0):
    shapes = [(WIDTH,), (3,), (WIDTH,), (2, 3)]
    return Transitions(*(noise(num_sequences, length, *rest, seed=seed + i) for i, rest in enumerate(shapes)))


def build(objective=Seen, mask_probability=0.0, **settings):
    """A Plus with random weights of order one, so that nothing is small by initialisation."""
    method = Plus(
        Columns(), SPACE, objective=objective(), transformer=partial(ContextTransformer, width=8, num_layers=2, num_heads=2),
        mask_probability=mask_probability, **settings,
    )  # fmt: skip
    draws = torch.Generator().manual_seed(0)
    for parameter in method.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draws) * 0.5
    method.encoder.scale.data.fill_(1.0)
    return method.eval()


@torch.no_grad()
def outputs(method, batch, seed=0):
    """What the objective is given: x, y and predictions, each [B, T, E]."""
    method.loss_terms(batch, torch.Generator().manual_seed(seed))
    seen = method.objective
    return tuple(part.unflatten(0, batch.action.shape[:2]) for part in (seen.x, seen.y, seen.predicted))


def unit(rows):
    return nn.functional.normalize(rows, dim=-1)


def first(batch, sequence):
    return Transitions(*(part[[sequence]] for part in (batch.state, batch.action, batch.next_state, batch.latent)))


@pytest.mark.parametrize("groups", [None, ["hue"]])
@pytest.mark.parametrize("objective", [Seen, SeenWithoutPredictions])
def test_a_step_without_masks_sees_what_queries_see(objective, groups):
    """Pair i of a sequence: three queries after the pairs before it, told everything that the method knows."""
    method, batch = build(objective, groups=groups), transitions()
    x, y, predicted = outputs(method, batch)
    for sequence in range(2):
        alone = first(batch, sequence)
        for pair in range(5):
            with torch.no_grad():
                query = method.condition(alone.first(pair), SPACE.environment("all"))
                expected = [
                    query.embed(alone.state[:, pair]),
                    query.embed(alone.next_state[:, pair]),
                    query.embed(alone.state[:, pair], alone.action[:, pair]),
                ]
            for found, embedding in zip((x, y, predicted), expected, strict=True):
                torch.testing.assert_close(unit(found[sequence, pair]), embedding[0], atol=1e-5, rtol=1e-4)


def test_an_action_moves_its_prediction_and_what_comes_later_but_not_its_own_items():
    method, batch = build(), transitions()
    action = batch.action.clone()
    action[:, 2] += 1
    before, after = outputs(method, batch), outputs(method, batch.with_action(action))
    x, y, predicted = ((b - a).abs().amax(-1) > 1e-5 for b, a in zip(before, after, strict=True))
    assert not x[:, :3].any() and not y[:, :3].any() and not predicted[:, :2].any()
    assert x[:, 3:].all() and y[:, 3:].all() and predicted[:, 2:].all()


def test_pairs_on_their_own_see_nothing_else():
    """`alone`, and a block all of whose past is masked: the same embeddings, those without a context."""
    batch = transitions()
    alone, masked = outputs(build(alone=True), batch), outputs(build(mask_probability=1.0), batch)
    method = build(alone=True)
    with torch.no_grad():
        expected = [
            method.embed_target(batch.state.flatten(0, 1)),
            method.embed_target(batch.next_state.flatten(0, 1)),
            method.predict(batch.state.flatten(0, 1), batch.action.flatten(0, 1)),
        ]
    for one, other, embedding in zip(alone, masked, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(unit(one.flatten(0, 1)), embedding, atol=1e-5, rtol=1e-4)
    block = outputs(build(), batch)
    assert all((one - other)[:, 1:].abs().amax(-1).min() > 1e-4 for one, other in zip(alone, block, strict=True))


@pytest.mark.parametrize("objective", [Seen, SeenWithoutPredictions])
def test_random_masks_hide_whole_pairs_of_the_past_anew_for_every_token_and_layer(objective):
    method, batch = build(objective, mask_probability=0.5), transitions(length=8)
    masks = []
    handle = method.transformer.register_forward_pre_hook(lambda module, arguments: masks.extend(arguments[1]))
    outputs(method, batch)
    handle.remove()
    size = 24 if objective.predicts else 16
    assert len(masks) == 2 and all(mask.shape == (size, size) for mask in masks)
    assert not torch.equal(*masks)
    for mask in masks:
        assert mask.diagonal().all()
        past = mask[:, :16] & ~torch.eye(size, dtype=torch.bool)[:, :16]
        assert torch.equal(past[:, 0::2], past[:, 1::2])
        for kind in (range(0, 16, 2), range(1, 16, 2), *([range(16, 24)] if objective.predicts else [])):
            for pair, row in enumerate(kind):
                assert not past[row, 2 * pair :].any()
        if objective.predicts:  # plain items are seen by themselves only
            assert torch.equal(mask[:, 16:], torch.eye(24, dtype=torch.bool)[:, 16:])
            assert not torch.equal(past[0:16:2], past[16:])
    assert not torch.equal(outputs(method, batch, seed=1)[0], outputs(method, batch, seed=2)[0])


@pytest.mark.parametrize("kind", [SimCLRObjective, VICRegObjective])
def test_an_objective_that_predicts_nothing_gets_no_actions(kind):
    method = Plus(
        Columns(),
        SPACE,
        objective=kind(),
        transformer=partial(ContextTransformer, width=8, num_layers=1, num_heads=2),
        groups=["hue"],
    )
    assert not method.reads_actions
    assert method.transformer.read_in.in_features == WIDTH
    batch = transitions()
    terms = method.loss_terms(batch, torch.Generator().manual_seed(0))
    again = method.loss_terms(batch.with_action(7 + batch.action), torch.Generator().manual_seed(0))
    assert all(torch.equal(terms[name], again[name]) for name in terms)


@pytest.mark.parametrize(("told", "hidden"), [("pose", slice(2, 3)), ("hue", slice(0, 2))])
def test_groups_that_are_not_told_are_told_by_no_environment(told, hidden):
    method, batch = build(groups=[told]), transitions(1)
    action = batch.action.clone()
    action[..., hidden] += 1
    lying = batch.with_action(action)
    assert all(torch.equal(a, b) for a, b in zip(outputs(method, batch), outputs(method, lying), strict=True))
    with torch.no_grad():
        for environment in ("all", "pose", "hue", "none"):
            true, false = (
                method.condition(context, SPACE.environment(environment)).embed(batch.state[0], context.action[0])
                for context in (batch, lying)
            )
            assert torch.equal(true, false)
        other = "hue" if told == "pose" else "pose"
        blind, none = (method.condition(batch, SPACE.environment(name)).embed(batch.state[0]) for name in (other, "none"))
        seeing = method.condition(batch, SPACE.environment(told)).embed(batch.state[0])
    assert torch.equal(blind, none) and (seeing - none).abs().max() > 1e-4


def test_told_actions_are_divided_by_their_scale_and_standardised_to_the_energy_of_features():
    features, action = noise(1, 2, WIDTH), torch.tensor([[[1.0, 2.0, 5.0], [-1.0, 2.0, -5.0]]])
    token = build().tokens(features, action)
    assert torch.equal(token[..., :WIDTH], features)
    torch.testing.assert_close(token[..., WIDTH:], torch.tensor([[[1.0, 1, 1], [-1, 1, -1]]]))
    standardised = build(standardise=True).tokens(features, action)[..., WIDTH:]
    torch.testing.assert_close(standardised.square().sum(-1), torch.full((1, 2), float(WIDTH)))
    assert not build().tokens(features)[..., WIDTH:].any()
    method = build(standardise=True).train()
    features = method.represent(7 + 3 * noise(200, WIDTH))
    torch.testing.assert_close(features.std(0, unbiased=False), torch.ones(WIDTH), atol=1e-4, rtol=0)


def test_terms_are_the_objectives_own():
    batch = transitions()
    x, y, predicted = (part.flatten(0, 1) for part in outputs(build(embedding_dim=6), batch))
    for objective in (EquiMODObjective(), SIEObjective(invariant_share=1 / 3)):
        method = build(lambda objective=objective: objective, embedding_dim=6)
        found = method.loss_terms(batch, torch.Generator())
        assert {name: term.item() for name, term in found.items()} == {
            name: pytest.approx(term.item(), rel=1e-5) for name, term in objective(x, y, predicted).items()
        }


def test_gradient_of_the_loss_reaches_both_items_of_a_pair_through_the_transformer():
    method, batch = build(lambda: SIEObjective(), mask_probability=0.9, embedding_dim=6), transitions()
    items = [part.clone().requires_grad_() for part in (batch.state, batch.next_state)]
    torch.stack(list(method.loss_terms(batch.with_items(*items), torch.Generator().manual_seed(0)).values())).sum().backward()
    assert all((item.grad.abs().sum(-1) > 0).all() for item in items)
