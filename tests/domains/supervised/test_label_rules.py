"""Rules are what they say, for any number of classes, and refuse classes that they do not fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.supervised.rules import Coarse, Flip, Identity, Offset, Permutation, permutations

CLASSES = st.integers(2, 60)


@given(CLASSES, st.integers(0, 20))
def test_an_offset_moves_every_class_by_the_same(num_classes: int, by: int) -> None:
    labels = Offset(by).labels(num_classes)
    assert [label - number for number, label in enumerate(labels)] == [by] * num_classes


@given(CLASSES, st.integers(0, 200), st.integers(0, 20))
def test_an_offset_with_modulo_wraps_around_and_loses_no_class(num_classes: int, by: int, room: int) -> None:
    modulo = num_classes + room
    labels = Offset(by, modulo).labels(num_classes)
    assert len(set(labels)) == num_classes and max(labels) < modulo
    assert all((label - number - by) % modulo == 0 for number, label in enumerate(labels))


@given(st.permutations(range(9)))
def test_a_permutation_is_undone_by_its_inverse(order: list[int]) -> None:
    labels = Permutation(order).labels(9)
    back = [labels.index(number) for number in range(9)]
    assert [Permutation(back).labels(9)[label] for label in labels] == list(range(9)) == list(Identity().labels(9))


def test_flip_is_its_own_inverse_and_coarse_labels_are_those_given() -> None:
    assert [Flip().labels(2)[label] for label in Flip().labels(2)] == [0, 1]
    assert Coarse([0, 0, 1]).labels(3) == (0, 0, 1)


@pytest.mark.parametrize(
    ("rule", "num_classes", "message"),
    [
        (Offset(1, modulo=3), 4, "modulo 3 gives some of 4 classes the same label"),
        (Permutation([0, 1, 1]), 3, r"expected 0..2 in some order, found \[0, 1, 1\]"),
        (Permutation([0, 1]), 3, "expected 0..2"),
        (Flip(), 3, "needs two classes, found 3"),
        (Coarse([0, 1]), 3, "one for each of 3 classes, found 2"),
    ],
)
def test_a_rule_refuses_classes_it_does_not_fit(rule, num_classes, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        rule.labels(num_classes)


@pytest.mark.parametrize("num_classes", [4, 12])
def test_ranges_of_permutations_are_distinct_and_go_on_from_each_other(num_classes: int) -> None:
    whole, rest = permutations(num_classes, 24, seed=3), permutations(num_classes, 4, first=20, seed=3)
    orders = [rule.labels(num_classes) for rule in whole.values()]
    assert len(set(orders)) == 24 and list(whole) == [f"permutation-{place}" for place in range(24)]
    assert {name: rule.labels(num_classes) for name, rule in rest.items()} == {
        name: whole[name].labels(num_classes) for name in list(whole)[20:]
    }
    assert [rule.labels(num_classes) for rule in permutations(num_classes, 24, seed=4).values()] != orders


def test_there_are_no_more_permutations_than_there_are() -> None:
    with pytest.raises(ValueError, match="3 classes have 6 permutations, fewer than 4 \\+ 3"):
        permutations(3, 3, first=4)
