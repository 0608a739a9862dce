"""label-shift/1: its numbers against a slow count, its controls against what they say they are, and its refusals."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from contextssl.adapter import Split
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.label_probe import LabelProbe
from contextssl.evaluation.label_shift import LabelShiftProtocol, calibration_error
from contextssl.methods.context_classifier import ContextClassifier
from contextssl.methods.environments import EnvironmentSampler
from contextssl.methods.label_tokens import LabelTokenClassifier
from contextssl.methods.simclr import SimCLR
from contextssl.models.transformer import ContextTransformer
from contextssl.testing import ToyAdapter
from contextssl.training import Plan, TrainingState, fit
from domains.supervised.label_shift import LabelShift
from domains.supervised.rules import Identity, Offset, Permutation, permutations

SMALL = {
    "transformer": partial(ContextTransformer, width=32, num_layers=2, fan_in_init=True),
    "embedding_dim": 16,
    "standardise": True,
}
LENGTHS = (0, 2, 8)


@pytest.fixture(scope="module")
def toy() -> LabelShift:
    return LabelShift(ToyAdapter(), "class", {"turn": Offset(10), "shift": Identity()})


@pytest.fixture(scope="module")
def told(toy) -> EmbeddingBank:
    """A classifier that has learnt both rules."""
    torch.manual_seed(0)
    method = ContextClassifier(
        toy.build_encoder(),
        toy.actions,
        environments=EnvironmentSampler({"turn": 0.6, "shift": 0.4}),
        tell_presence=True,
        **SMALL,
    )
    plan = Plan(optimizer=partial(torch.optim.AdamW, lr=3e-3), num_steps=100, batch_size=8, num_transitions=12, warmup_steps=5)
    state = TrainingState(method, plan.optimizer(method.parameters()), torch.Generator().manual_seed(0))
    fit(state, toy.train_sequences(12, 0), plan, lambda step, terms: None)
    method.train()  # the bank must see to eval mode itself
    return EmbeddingBank(method, toy, context_lengths=LENGTHS, context_draws=2)


@pytest.fixture(scope="module")
def rows(told):
    return {
        (r.environment, str(r.control), r.context_length, r.context_draw, r.target, r.probe, r.metric): r
        for r in LabelShiftProtocol()(told)
    }


def log_probability(bank, conditioned) -> torch.Tensor:
    method = bank.method.eval()
    with torch.no_grad():
        logits = method.logits(bank.adapter.labelled(Split.TEST).inputs, conditioned)
    return logits.log_softmax(-1)


@pytest.mark.parametrize(("rule", "length"), [("turn", 2), ("shift", 8)])
def test_numbers_are_those_of_a_slow_count(told, rows, rule, length) -> None:
    method, data = told.method.eval(), told.adapter.labelled(Split.TEST)
    conditioned = method.condition_features(told.context(1).first(length // 2), told.adapter.actions.environment(rule))
    scores = log_probability(told, conditioned)
    for read in ("turn", "shift"):
        truth = data.target(f"label_{read}").values
        right = [int(row.argmax()) == int(label) for row, label in zip(scores, truth, strict=True)]
        place = (rule, "true", length, 1, f"label_{read}", "head")
        assert rows[*place, "accuracy"].value == pytest.approx(np.mean(right))
        assert rows[*place, "log_loss"].value == pytest.approx(
            np.mean([-float(row[label]) for row, label in zip(scores, truth, strict=True)]), rel=1e-4
        )
        assert rows[*place, "ece"].value == pytest.approx(calibration_error(scores, truth), abs=1e-5)
        assert rows[*place, "accuracy"].floor == pytest.approx(
            (truth == told.adapter.labelled(Split.TRAIN).target(f"label_{read}").values.mode().values).float().mean().item()
        )


def test_one_pair_is_enough_and_after_none_the_accuracies_are_complementary(rows) -> None:
    for rule in ("turn", "shift"):
        for length in (2, 8):
            assert rows[rule, "true", length, 0, f"label_{rule}", "head", "accuracy"].value > 0.95
            assert rows[rule, "true", length, 0, f"label_{rule}", "observer", "accuracy"].value == 1.0
    empty = {rule: rows["-", "empty", 0, 0, f"label_{rule}", "head", "accuracy"].value for rule in ("turn", "shift")}
    assert sum(empty.values()) == pytest.approx(rows["-", "empty", 0, 0, "label_any", "head", "accuracy"].value)
    observed = {rule: rows["-", "empty", 0, 0, f"label_{rule}", "observer", "accuracy"].value for rule in ("turn", "shift")}
    assert observed == {"turn": 1.0, "shift": 0.0}  # the commoner rule


def test_controls_are_what_they_say(told, rows) -> None:
    method, actions = told.method.eval(), told.adapter.actions
    other = told.adapter.held_out  # contexts of another split are those of validation items
    truth = told.adapter.labelled(Split.TEST).target("label_turn").values
    numbers = torch.tensor([actions.rule("turn"), actions.rule("shift")] * 2)
    mixed = log_probability(told, method.condition_rules(told.context(0), numbers)).argmax(1)
    assert rows["turn", "contradictory", 8, 0, "label_turn", "head", "accuracy"].value == pytest.approx(
        (mixed == truth).float().mean().item()
    )
    swapped = log_probability(told, method.condition_rules(told.context(0), numbers.flip(0))).argmax(1)
    shift = told.adapter.labelled(Split.TEST).target("label_shift").values
    assert rows["shift", "contradictory", 8, 0, "label_shift", "head", "accuracy"].value == pytest.approx(
        (swapped == shift).float().mean().item()
    )
    assert rows["turn", "other-split", 8, 0, "label_turn", "head", "accuracy"].value > 0.95
    assert other(2, 1, 0, Split.VALIDATION).num_sequences == 1
    assert not any(control in ("label-noise", "unseen-rule") for _, control, *_ in rows)


def test_contexts_of_another_split_show_its_items(told, monkeypatch) -> None:
    asked = []
    held_out = LabelShift.held_out
    monkeypatch.setattr(LabelShift, "held_out", lambda *given: (asked.append(given[-1]), held_out(*given))[1])
    list(LabelShiftProtocol()(told))
    assert set(asked) == {Split.VALIDATION}  # the bank's own contexts were drawn before


def test_label_tokens_are_asked_about_unseen_rules_and_noise() -> None:
    adapter = LabelShift(ToyAdapter(num_items=100), "class", permutations(4, 3), unseen={"new": Permutation([3, 0, 1, 2])})
    torch.manual_seed(0)
    method = LabelTokenClassifier(adapter.build_encoder(), adapter.actions, **SMALL)
    bank = EmbeddingBank(method, adapter, context_lengths=(0, 2, 8), context_draws=1, environments=[])
    found = list(LabelShiftProtocol(cross=False)(bank))
    by_control = {str(r.control): {q.environment for q in found if q.control == r.control} for r in found}
    seen = {f"permutation-{number}" for number in range(3)}
    assert by_control == {
        "empty": {"-"}, "true": seen, "unseen-rule": {"new"}, "contradictory": seen, "other-split": seen, "label-noise": seen,
    }  # fmt: skip
    assert {r.target for r in found if r.environment == "new"} == {"label_new", "label_any"}
    shown = bank.context(0).latent[0, :, 1, -1].long()
    for row in found:
        if row.probe == "observer" and row.context_length == 8:
            by_rule = adapter.actions.table[:, shown]
            own = by_rule[adapter.actions.rule(row.environment)]
            left = [adapter.actions.table[number] for number in range(4) if torch.equal(by_rule[number], own)]
            assert (row.value == 1.0) == (len(left) == 1)
    right = adapter.actions.labels(bank.context(0).latent[0, :, 1], torch.tensor(0))
    noisy = LabelShiftProtocol(noise=0.5)._noisy(right, 0)
    conditioned = method.eval().condition_labels(bank.context(0), noisy)
    truth = adapter.labelled(Split.TEST).target("label_permutation-0").values
    value = (log_probability(bank, conditioned).argmax(1) == truth).float().mean().item()
    strong = [r.value for r in LabelShiftProtocol(cross=False, noise=0.5)(bank) if (r.environment, r.control, r.metric, r.target) == (
        "permutation-0", "label-noise", "accuracy", "label_permutation-0")]  # fmt: skip
    assert strong == pytest.approx([value])


def test_a_method_without_a_head_is_refused(toy) -> None:
    bank = EmbeddingBank(SimCLR(toy.build_encoder(), toy.actions, projector_dims=(8,)), toy, context_lengths=(0,))
    with pytest.raises(ValueError, match="SimCLR gives no labels: evaluate it with"):
        list(LabelShiftProtocol()(bank))


def test_calibration_error_is_the_gap_of_each_bin() -> None:
    probability = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.62, 0.38], [0.3, 0.7]])
    truth = torch.tensor([0, 1, 0, 1])
    bins = [abs(0.5 - 0.9) * 2, abs(1 - 0.62), abs(1 - 0.7)]
    assert calibration_error(probability.log(), truth) == pytest.approx(sum(bins) / 4, abs=1e-6)
    assert calibration_error(torch.tensor([[0.0, -40.0]]), torch.tensor([0])) == pytest.approx(0.0, abs=1e-6)


def test_one_head_on_features_can_only_settle_on_one_label(toy) -> None:
    torch.manual_seed(0)
    bank = EmbeddingBank(
        SimCLR(toy.build_encoder(), toy.actions, projector_dims=(8,)), toy, context_lengths=(0, 2), context_draws=1
    )
    found = {r.target: r for r in LabelProbe()(bank)}
    assert set(found) == {"label_turn", "label_shift", "label_any"} and len(list(LabelProbe()(bank))) == 3
    assert found["label_turn"].value + found["label_shift"].value == pytest.approx(found["label_any"].value)
    assert found["label_any"].value > 0.9


def test_a_head_reads_the_rule_where_the_representation_holds_it(told) -> None:
    found = {(r.environment, r.context_length, r.target): r.value for r in LabelProbe()(told) if r.context_draw == 0}
    for rule in ("turn", "shift"):
        assert found[rule, 8, f"label_{rule}"] > 0.95
    assert found["-", 0, "label_turn"] + found["-", 0, "label_shift"] < 1.05


def test_a_domain_without_labels_or_rules_is_refused(toy) -> None:
    plain = ToyAdapter()
    method = SimCLR(plain.build_encoder(), plain.actions, projector_dims=(8,))
    with pytest.raises(ValueError, match="this domain has no labels by environment"):
        list(LabelProbe()(EmbeddingBank(method, plain)))
    with pytest.raises(ValueError, match=r"none of the environments \['none'\] has a rule"):
        list(LabelProbe()(EmbeddingBank(method, toy, environments=[toy.actions.environment("none")])))
