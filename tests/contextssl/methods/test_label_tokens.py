"""Labels read from labelled examples: the loss against a slow loop, the contracts, and rules that were never seen."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from contextssl.actions import Environment
from contextssl.adapter import Split
from contextssl.batch import Transitions
from contextssl.methods.label_tokens import LabelTokenClassifier, noisy
from contextssl.models.transformer import ContextTransformer
from contextssl.testing import METHOD_CHECKS, MethodCase, ToyAdapter
from contextssl.training import Plan, TrainingState, fit
from domains.supervised.label_shift import LabelShift
from domains.supervised.rules import Identity, Offset, permutations

SETTINGS = {
    "transformer": partial(ContextTransformer, width=32, num_layers=2, fan_in_init=True),
    "embedding_dim": 16,
    "standardise": True,
}


@pytest.fixture(scope="module")
def toy() -> LabelShift:
    return LabelShift(ToyAdapter(), "class", {"turn": Offset(10), "shift": Identity()})


def built(adapter, **settings):
    torch.manual_seed(0)
    return LabelTokenClassifier(adapter.build_encoder(), adapter.actions, **(SETTINGS | settings))


def one_rule(rule="shift"):
    return LabelShift(ToyAdapter(), "class", {rule: Offset(3) if rule == "turn" else Identity()})


def test_it_conforms_but_that_its_environments_are_rules(toy) -> None:
    torch.manual_seed(0)
    case = MethodCase(partial(LabelTokenClassifier, **SETTINGS), toy, num_steps=40, learning_rate=2e-3)
    for check in METHOD_CHECKS:
        if check.__name__ != "context_is_read":
            check(case)
    with torch.no_grad():
        given = {
            name: case.trained.condition(case.context, toy.actions.environment(name)).embed(case.items)
            for name in ("turn", "shift", "none")
        }
        elsewhere = case.trained.condition(toy.held_out(6, 1, seed=2), toy.actions.environment("turn")).embed(case.items)
    assert not torch.allclose(given["turn"], given["shift"], atol=1e-4)
    assert not torch.allclose(given["turn"], given["none"], atol=1e-4)
    assert not torch.allclose(given["turn"], elsewhere, atol=1e-4)


def test_actions_are_never_read(toy) -> None:
    method, batch = built(toy), toy.held_out(5, 2, seed=1)
    terms = [
        method.loss_terms(b, torch.Generator().manual_seed(0))["label"] for b in (batch, batch.with_action(batch.action * 7 - 1))
    ]
    assert torch.equal(*terms)


def test_the_label_loss_is_that_of_x_after_the_examples_before_it() -> None:
    """Slowly: each x alone after a context of the pairs before it, by the same path as a query."""
    adapter = one_rule("turn")
    method = built(adapter).eval()
    batch = adapter.held_out(5, 3, seed=2)
    features, losses = method.encode(batch), []
    for b in range(3):
        one = Transitions(*(part[b : b + 1] for part in (features.state, batch.action, features.next_state, batch.latent)))
        for t in range(5):
            shown = torch.tensor([int(batch.latent[b, s, 1, -1]) + 3 for s in range(t)], dtype=torch.long)
            past = method.condition_labels(one.first(t), shown)
            logits = method.feature_logits(one.state[0, t][None], past)[0]
            losses.append(-logits.log_softmax(-1)[int(batch.latent[b, t, 0, -1]) + 3])
    term = method.loss_terms(batch, torch.Generator().manual_seed(0))["label"]
    assert term.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-4)


def test_a_label_that_is_not_its_item_s_changes_what_is_read(toy) -> None:
    method = built(toy).eval()
    context, items = method.encode(toy.held_out(4, 1, seed=3)), toy.labelled(Split.TEST).inputs[:6]
    right = toy.actions.labels(context.latent[0, :, 1], torch.tensor(toy.actions.rule("turn")))
    by_rule = method.condition_rules(context, torch.full((4,), toy.actions.rule("turn")))
    assert torch.allclose(method.logits(items, method.condition_labels(context, right)), method.logits(items, by_rule))
    assert torch.allclose(
        method.logits(items, method.condition_features(context, Environment(("turn",)))), method.logits(items, by_rule)
    )
    wrong = method.condition_labels(context, right.roll(1))
    assert not torch.allclose(method.logits(items, wrong), method.logits(items, by_rule), atol=1e-4)


def test_noise_replaces_the_share_that_is_asked_for() -> None:
    labels = torch.arange(10).repeat(200, 100)
    assert torch.equal(noisy(labels, 0.0, torch.Generator()), labels)
    changed = (noisy(labels, 0.5, torch.Generator().manual_seed(0)) != labels).float().mean().item()
    assert changed == pytest.approx(0.5 * 0.9, abs=0.01)  # one in ten is replaced by its like
    with pytest.raises(ValueError, match="label_noise: expected a probability"):
        built(one_rule(), label_noise=1.5)


def test_rules_that_are_not_trained_on_have_no_prior() -> None:
    adapter = LabelShift(ToyAdapter(), "class", permutations(4, 3), unseen=permutations(4, 2, first=3))
    assert built(adapter).rule_prior.tolist() == pytest.approx([1 / 3] * 3 + [0.0] * 2)


def accuracies(num_classes, num_seen, num_unseen, num_steps, length) -> tuple[list[float], list[float]]:
    """Of a trained model after a context that shows every class, for rules that it was and was not trained on."""
    items = ToyAdapter(num_items=200, num_classes=num_classes)
    unseen = permutations(num_classes, num_unseen, first=num_seen)
    adapter = LabelShift(items, "class", permutations(num_classes, num_seen), unseen=unseen)
    method = built(adapter)
    plan = Plan(
        optimizer=partial(torch.optim.AdamW, lr=5e-3), num_steps=num_steps, batch_size=8, num_transitions=length, warmup_steps=10
    )
    state = TrainingState(method, plan.optimizer(method.parameters()), torch.Generator().manual_seed(0))
    fit(state, adapter.train_sequences(length, 0), plan, lambda step, terms: None)
    method.eval()
    data, context = adapter.labelled(Split.TEST), method.encode(adapter.held_out(length, 1, seed=3))
    assert len(context.latent[0, :, 1, -1].unique()) == num_classes
    found: dict[bool, list[float]] = {False: [], True: []}
    with torch.no_grad():
        for number, rule in enumerate(adapter.actions.rules):
            conditioned = method.condition_rules(context, torch.full((length,), number))
            truth = data.target(f"label_{rule.name}").values
            found[rule.unseen].append((method.logits(data.inputs, conditioned).argmax(1) == truth).float().mean().item())
    return found[False], found[True]


def test_it_learns_to_read_its_rules_from_examples() -> None:
    seen, _ = accuracies(3, 5, 1, num_steps=300, length=12)
    assert min(seen) > 0.9


@pytest.mark.slow
def test_with_many_rules_it_reads_rules_that_it_never_saw() -> None:
    seen, unseen = accuracies(4, 20, 4, num_steps=700, length=16)
    assert min(seen) > 0.9 and min(unseen) > 0.75
