"""The ideal observer against enumeration on small worlds."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.evaluation.observer import observer_accuracy, rule_posterior

TABLES = st.integers(2, 4).flatmap(
    lambda num_classes: st.lists(st.lists(st.integers(0, 3), min_size=num_classes, max_size=num_classes), min_size=2, max_size=4)
)


def enumerated(table, prior, examples, query, rule) -> float:
    """Chance of naming the query's label: every rule that gives all examples what they show counts by its prior."""
    votes: Counter[int] = Counter()
    for other, weight in zip(table, prior, strict=True):
        if all(other[c] == table[rule][c] for c in examples):
            votes[other[query]] += weight
    best = max(votes.values())
    tied = [label for label, weight in votes.items() if weight > best - 1e-9]
    return (table[rule][query] in tied) / len(tied)


@given(TABLES, st.integers(0, 3), st.data())
@settings(max_examples=60, deadline=None)
def test_observer_equals_enumeration_of_rules(table, num_examples, data) -> None:
    num_classes = len(table[0])
    weights = data.draw(st.lists(st.integers(1, 5), min_size=len(table), max_size=len(table)))
    prior = [weight / sum(weights) for weight in weights]
    rule = data.draw(st.integers(0, len(table) - 1))
    examples = data.draw(st.lists(st.integers(0, num_classes - 1), min_size=num_examples, max_size=num_examples))
    labels = torch.tensor(table).T  # [C, R]: a row for every class
    by_rule = labels[examples] if examples else labels[:0]
    posterior = rule_posterior(by_rule, by_rule[:, rule], torch.tensor(prior))
    found = observer_accuracy(labels, labels[:, rule], posterior)
    slow = sum(enumerated(table, prior, examples, query, rule) for query in range(num_classes)) / num_classes
    assert found == pytest.approx(slow, abs=1e-6)


def test_before_any_example_the_accuracies_of_disjoint_rules_sum_to_one() -> None:
    labels = torch.tensor([[0, 10], [1, 11], [2, 12]])
    for prior in ([0.5, 0.5], [0.8, 0.2]):
        found = [observer_accuracy(labels, labels[:, rule], torch.tensor(prior)) for rule in (0, 1)]
        assert sum(found) == pytest.approx(1.0) and found[0] == (0.5 if prior[0] == 0.5 else 1.0)


def test_one_example_settles_disjoint_rules_and_permutations_need_all_classes_but_one() -> None:
    disjoint = torch.tensor([[0, 10], [1, 11]])
    assert rule_posterior(disjoint[[1]], disjoint[[1], 1], torch.tensor([0.5, 0.5])).tolist() == [0, 1]
    orders = [order for order in product(range(3), repeat=3) if len(set(order)) == 3]
    labels, prior = torch.tensor(orders).T, torch.full((6,), 1 / 6)
    expected = {0: 1 / 3, 1: (1 + 1 / 2 + 1 / 2) / 3, 2: 1.0, 3: 1.0}  # shown classes are known; of two left, one in two
    for shown, value in expected.items():
        posterior = rule_posterior(labels[:shown], labels[:shown, 4], prior)
        assert observer_accuracy(labels, labels[:, 4], posterior) == pytest.approx(value)


def test_examples_that_contradict_every_rule_are_refused() -> None:
    with pytest.raises(ValueError, match="contradict every rule"):
        rule_posterior(torch.tensor([[0, 1]]), torch.tensor([2]), torch.tensor([0.5, 0.5]))
