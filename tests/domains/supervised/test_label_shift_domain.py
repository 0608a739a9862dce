"""The wrapped domain: conformance, labels that agree with the rows they are of, and every refusal."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import ProbeTarget, Split
from contextssl.adapters import ViewsAdapter
from contextssl.batch import stack
from contextssl.testing import ToyAdapter, check_adapter
from domains.supervised.label_shift import LabelShift
from domains.supervised.rules import Coarse, Flip, Identity, Offset, Permutation, permutations
from domains.tabular.adult import Adult


def census(**rules):
    return LabelShift(Adult(source="generated", num_generated=(1500, 600), sensitive=("sex", "race")), "income", rules)


def test_it_conforms(toy) -> None:
    check_adapter(toy)


def test_a_domain_with_one_row_an_item_conforms_too() -> None:
    check_adapter(census(sex=Identity(), race=Flip()))


def class_of_rows(adapter: LabelShift, split: Split, target: str) -> dict[bytes, int]:
    data = adapter.adapter.labelled(split)
    return {row.numpy().tobytes(): int(c) for row, c in zip(data.inputs, data.target(target).values, strict=True)}


@pytest.mark.parametrize("split", Split)
def test_both_items_of_a_pair_carry_their_own_class_and_label(toy, split) -> None:
    classes = class_of_rows(toy, split, "class")
    batch = toy.held_out(16, 4, seed=3, split=split)
    for side, items in enumerate((batch.state, batch.next_state)):
        expected = torch.tensor([[classes[row.numpy().tobytes()] for row in sequence] for sequence in items])
        assert torch.equal(toy.actions.classes(batch.latent)[:, :, side, 0], expected)
        assert torch.equal(toy.actions.labels(batch.latent[:, :, side], torch.tensor(toy.actions.rule("turn"))), expected + 10)
        assert torch.equal(toy.actions.labels(batch.latent[:, :, side], torch.tensor(toy.actions.rule("shift"))), expected)
    assert not torch.equal(batch.state, batch.next_state)


def test_partners_of_single_rows_have_classes_of_their_own() -> None:
    adapter = census(sex=Identity(), race=Flip())
    classes = class_of_rows(adapter, Split.TRAIN, "income")
    sequences = adapter.train_sequences(32, 0)
    batch = stack([sequences[index] for index in range(4)])
    own = torch.tensor([[classes[row.numpy().tobytes()] for row in sequence] for sequence in batch.next_state])
    flipped = adapter.actions.labels(batch.latent[:, :, 1], torch.tensor(adapter.actions.rule("race")))
    assert torch.equal(flipped, 1 - own)
    assert not torch.equal(adapter.actions.classes(batch.latent)[:, :, 0, 0], own)  # x and y are different rows


def test_a_sequence_shows_different_items_and_two_views_of_each(toy) -> None:
    data = toy.labelled(Split.TRAIN)
    item = {row.numpy().tobytes(): int(number) for row, number in zip(data.inputs, data.item, strict=True)}
    sequence = toy.train_sequences(100, 5)[7]
    x, y = ([item[row.numpy().tobytes()] for row in rows[0]] for rows in (sequence.state, sequence.next_state))
    assert x == y and len(set(x)) == 100
    assert (sequence.state != sequence.next_state).flatten(2).any(-1).all()


def test_labelled_rows_have_a_target_for_every_rule_and_keep_the_domain_s_own() -> None:
    adapter = LabelShift(
        ToyAdapter(), "class", {"turn": Offset(2, 4), "none": Coarse([0, 0, 1, 1])}, unseen={"x": Permutation([3, 2, 1, 0])}
    )
    data, plain = adapter.labelled(Split.TEST), ToyAdapter().labelled(Split.TEST)
    own = plain.target("class").values
    assert [t.name for t in data.targets] == ["class", "turn", "shift", "label_turn", "label_none", "label_x"]
    assert torch.equal(data.target("label_turn").values, (own + 2) % 4)
    assert torch.equal(data.target("label_none").values, own // 2)
    assert torch.equal(data.target("label_x").values, 3 - own)
    assert torch.equal(data.latent[:, :2], plain.latent) and torch.equal(data.inputs, plain.inputs)
    assert adapter.actions.num_labels == 4 and adapter.actions.num_seen_rules == 2


def test_two_attributes_may_be_rules_of_their_own() -> None:
    adapter = census(sex=Identity(), race=Identity(target="sex"))
    data = adapter.labelled(Split.TEST)
    assert torch.equal(data.target("label_race").values, data.target("sex").values)
    assert torch.equal(data.target("label_sex").values, data.target("income").values)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_labels_follow_a_slow_loop(toy, num_sequences: int, length: int, seed: int) -> None:
    adapter = LabelShift(ToyAdapter(num_items=60), "class", permutations(4, 5, seed=seed))
    batch = adapter.held_out(length, num_sequences, seed)
    rules = torch.randint(5, (num_sequences,), generator=torch.Generator().manual_seed(seed))
    found = adapter.actions.labels(batch.latent, rules[:, None, None])
    for b in range(num_sequences):
        order = list(permutations(4, 5, seed=seed).values())[int(rules[b])].labels(4)
        for t in range(length):
            for side in (0, 1):
                assert found[b, t, side] == order[int(batch.latent[b, t, side, -1])]


def test_classes_are_never_told(toy) -> None:
    everything = toy.actions.environment("all")
    assert toy.actions.latent_dim == 3 and toy.actions.action_dim == 2
    assert toy.actions.latent_mask(everything).tolist() == [1, 1, 0]
    assert [environment.name for environment in toy.actions.environments] == ["turn", "shift", "none"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_labels": 13}, "gives class 3 of 'class' the label 13, outside a head of 13 labels; set num_labels to at least 14"),
        ({"rules": {"turn": Offset(-1)}}, "the label -1, outside a head"),
        ({"rules": {"turn": Offset(2), "shift": Identity()}, "disjoint": True}, r"'turn' and 'shift' share the labels \[2, 3\]"),
        ({"rules": {}}, "at least one rule to train on"),
        ({"rules": {"turn": Identity()}, "unseen": {"turn": Identity()}}, "expected distinct names"),
        ({"rules": {"turn": Flip()}}, "rule 'turn': flip: a complement needs two classes, found 4"),
        ({"rules": {"turn": Identity(target="kind")}}, "unknown target 'kind'"),
        ({"rules": {"turn": Identity(target="shift")}}, "'shift' has values, not classes"),
        ({"target": "colour"}, "unknown target 'colour'"),
    ],
)
def test_bad_input_is_named(settings, message) -> None:
    given = {"target": "class", "rules": {"turn": Offset(10), "shift": Identity()}} | settings
    with pytest.raises(ValueError, match=message):
        LabelShift(ToyAdapter(), **given)


def test_a_missing_rule_is_named(toy) -> None:
    with pytest.raises(ValueError, match=r"environment 'none' has no rule: this domain has rules for \['turn', 'shift'\]"):
        toy.actions.rule("none")


def test_a_domain_with_actions_of_another_form_is_refused() -> None:
    space = ActionSpace([Group("shift", 1, 1, Kind.REAL, "lengths")])
    values = torch.rand(20, 3, 1, generator=torch.Generator().manual_seed(0))
    backwards = ViewsAdapter(values, values, space, [ProbeTarget("kind", torch.arange(20) % 2, 2)], encoder=torch.nn.Identity,
                             relative=lambda t_x, t_y: t_x - t_y)  # fmt: skip
    with pytest.raises(ValueError, match="actions do not follow from its latents"):
        LabelShift(backwards, "kind", {"shift": Identity()})


def test_no_split_lends_rows_to_another(toy) -> None:
    for split in Split:
        elsewhere = {row.numpy().tobytes() for other in Split if other is not split for row in toy.labelled(other).inputs}
        batch = toy.held_out(30, 5, seed=1, split=split)
        assert not elsewhere & {row.numpy().tobytes() for row in torch.cat(batch.pairs()[0:3:2])}


def test_the_manifest_tells_the_rules(toy) -> None:
    assert toy.manifest["labels"]["turn"] == {"target": "class", "labels": [10, 11, 12, 13], "unseen": False}
    assert replace(toy.actions.rules[0], unseen=True).unseen
