"""Labels read from told actions: the loss against a slow loop, the contracts, and the rule learnt from one pair."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from contextssl.actions import Environment
from contextssl.adapter import Split
from contextssl.batch import Transitions
from contextssl.methods.context_classifier import ContextClassifier
from contextssl.methods.environments import EnvironmentSampler
from contextssl.models.transformer import ContextTransformer
from contextssl.testing import ToyAdapter, check_method
from contextssl.training import Plan, TrainingState, fit
from domains.supervised.label_shift import LabelShift
from domains.supervised.rules import Identity, Offset

TRANSFORMER = partial(ContextTransformer, width=32, num_layers=2, fan_in_init=True)
OURS = {"transformer": TRANSFORMER, "embedding_dim": 16, "standardise": True, "tell_presence": True, "auxiliary_dims": (16,)}
PAPER = {"transformer": TRANSFORMER, "see_own_pair": True}


@pytest.fixture(scope="module")
def toy() -> LabelShift:
    return LabelShift(ToyAdapter(), "class", {"turn": Offset(10), "shift": Identity()})


def built(adapter, settings, sampler=None, seed=0):
    torch.manual_seed(seed)
    return ContextClassifier(adapter.build_encoder(), adapter.actions, environments=sampler or EnvironmentSampler(), **settings)


@pytest.mark.parametrize("settings", [OURS, PAPER], ids=["ours", "paper"])
def test_it_conforms(toy, settings) -> None:
    torch.manual_seed(0)
    sampler = EnvironmentSampler(per_sequence=settings is OURS)
    check_method(partial(ContextClassifier, environments=sampler, **settings), toy)


@pytest.mark.parametrize("settings", [OURS, PAPER | {"auxiliary_weight": 0.0}], ids=["ours", "paper"])
@pytest.mark.parametrize("told", ["turn", "shift"])
def test_the_label_loss_is_that_of_every_token_after_its_own_past(toy, settings, told) -> None:
    """Slowly: each token alone, after the pairs before it (and its own X, where it may see it), its label looked up."""
    method = built(toy, settings, EnvironmentSampler({told: 1.0})).eval()
    batch = toy.held_out(5, 3, seed=2)
    features, losses = method.encode(batch), []
    for b in range(3):
        one = Transitions(
            features.state[b : b + 1], batch.action[b : b + 1], features.next_state[b : b + 1], batch.latent[b : b + 1]
        )
        for t in range(5):
            past = method.condition_features(one.first(t), toy.actions.environment(told))
            x_token = past.token(one.state[:, t], one.action[:, t])
            y_token = past.token(one.next_state[:, t], None)
            outputs = [method.transformer.query(x_token[None], past.cache)[0, 0]]
            if settings.get("see_own_pair"):
                tokens = torch.cat([x_token, y_token])[None]
                before = torch.stack([torch.cat([past.token(one.state[:, s], one.action[:, s]), past.token(one.next_state[:, s], None)])
                                      for s in range(t)]).flatten(0, 1)[None] if t else tokens[:, :0]  # fmt: skip
                whole = torch.cat([before, tokens], dim=1)
                mask = torch.ones(whole.shape[1], whole.shape[1]).tril().bool()
                outputs.append(method.transformer(whole, [mask] * 2)[0, -1])
            else:
                outputs.append(method.transformer.query(y_token[None], past.cache)[0, 0])
            label = int(batch.latent[b, t, 0, -1]) + (10 if told == "turn" else 0)
            losses += [-method.head(output).log_softmax(-1)[label] for output in outputs]
    term = method.loss_terms(batch, torch.Generator().manual_seed(0))["label"]
    assert term.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-4)


def test_the_auxiliary_loss_reads_told_groups_of_y_and_no_class(toy) -> None:
    method = built(toy, OURS | {"auxiliary_weight": 2.0}, EnvironmentSampler({"shift": 1.0})).eval()
    batch = toy.held_out(4, 2, seed=3)
    term = method.loss_terms(batch, torch.Generator().manual_seed(0))["auxiliary"]
    context = method.encode(batch)
    errors = []
    for b in range(2):
        for t in range(4):
            past = method.condition_features(
                Transitions(*(part[b : b + 1, :t] for part in (context.state, batch.action, context.next_state, batch.latent))),
                toy.actions.environment("shift"),
            )
            shift = (batch.latent[b, t, 1, 1] - toy.actions.latent_mean[1]) / toy.actions.latent_scale[1]
            for features, action in ((context.state, batch.action[b, t][None]), (context.next_state, None)):
                embedding = past.embed_features(features[b, t][None], action)
                errors.append((method.auxiliary(embedding)[0, 1] - shift).square())
    assert term.item() == pytest.approx(2 * torch.stack(errors).mean().item(), rel=1e-4)
    assert method.auxiliary[-1].out_features == 2
    changed = batch.latent.clone()
    changed[..., 0] += 1  # of the group that is not told
    other = method.loss_terms(Transitions(batch.state, batch.action, batch.next_state, changed), torch.Generator().manual_seed(0))
    assert torch.equal(other["auxiliary"], term)


def test_contexts_may_mix_rules(toy) -> None:
    """Pairs of one rule only are that rule's context; mixed, they are neither's."""
    method = built(toy, OURS).eval()
    context = method.encode(toy.held_out(6, 1, seed=4))
    items = toy.labelled(Split.TEST).inputs[:8]
    turn, shift = toy.actions.rule("turn"), toy.actions.rule("shift")
    same = method.logits(items, method.condition_rules(context, torch.full((6,), turn)))
    assert torch.allclose(same, method.logits(items, method.condition_features(context, Environment(("turn",)))), atol=1e-5)
    mixed = method.condition_rules(context, torch.tensor([turn, shift] * 3))
    assert not torch.allclose(same, method.logits(items, mixed), atol=1e-3)
    by_hand = method.condition_features(context.first(1), Environment(("turn",)))
    assert torch.allclose(method.logits(items, mixed.shortened(2)), method.logits(items, by_hand), atol=1e-5)


def test_the_prior_is_that_of_the_environments(toy) -> None:
    sampler = EnvironmentSampler({"shift": 0.7, "turn": 0.3})
    assert built(toy, OURS, sampler).rule_prior.tolist() == pytest.approx([0.3, 0.7])
    assert built(toy, OURS).rule_prior.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("domain", "sampler", "message"),
    [
        (ToyAdapter, EnvironmentSampler(), "this method learns labels: wrap the domain"),
        (None, EnvironmentSampler({"turn": 0.5, "none": 0.5}), "environment 'none' has no rule"),
        (None, EnvironmentSampler(decoy_share=0.2), "decoys belong to no environment"),
    ],
)
def test_bad_input_is_named(toy, domain, sampler, message) -> None:
    with pytest.raises(ValueError, match=message):
        built(domain() if domain else toy, OURS, sampler)


def test_an_environment_that_is_never_drawn_needs_no_rule(toy) -> None:
    assert built(toy, OURS, EnvironmentSampler({"turn": 1.0, "none": 0.0})).rule_prior.tolist() == [1.0, 0.0]


def trained(method: nn.Module, adapter, num_steps, length=12) -> nn.Module:
    plan = Plan(
        optimizer=partial(torch.optim.AdamW, lr=3e-3), num_steps=num_steps, batch_size=8, num_transitions=length, warmup_steps=5
    )
    state = TrainingState(method, plan.optimizer(method.parameters()), torch.Generator().manual_seed(0))
    fit(state, adapter.train_sequences(length, 0), plan, lambda step, terms: None)
    return method.eval()


def test_one_pair_tells_the_rule_and_no_pair_leaves_one_half(toy) -> None:
    method = trained(built(toy, OURS), toy, 60)
    data, context = toy.labelled(Split.TEST), method.encode(toy.held_out(4, 1, seed=9))
    share = {}
    with torch.no_grad():
        for pairs in (0, 1, 4):
            for rule in ("turn", "shift"):
                conditioned = method.condition_features(context.first(pairs), toy.actions.environment(rule))
                given = method.logits(data.inputs, conditioned).argmax(1)
                share[pairs, rule] = (given == data.target(f"label_{rule}").values).float().mean().item()
    assert min(share[1, "turn"], share[1, "shift"], share[4, "turn"], share[4, "shift"]) > 0.95
    assert share[0, "turn"] + share[0, "shift"] == pytest.approx(1.0, abs=0.05)
