"""Scores of learning rates by hand, and that the best is chosen and kept."""

from __future__ import annotations

import pytest
import yaml
from planted_table import pair, scored, table, validation

from contextssl.reproduction.learning_rates import Choice, as_yaml, choose, from_mapping, score


def test_a_row_is_scored_on_classes_and_on_what_it_is_told_or_on_all_groups() -> None:
    planted, found = table(), scored(0.2, 0.6, 0.9)
    assert score(planted, planted.row("told"), found) == pytest.approx((0.2 + 0.9) / 2)
    assert score(planted, planted.row("plain"), found) == pytest.approx((0.2 + 0.6 + 0.9) / 3)


def test_a_contextual_row_is_scored_after_contexts_of_its_length_that_tell_the_group() -> None:
    planted = table()
    shift, turn = (("shift", "true", 14), ("turn", "true", 14))
    found = [
        validation("shift", 0.5, shift), validation("shift", 0.7, shift, draw=1), validation("turn", 0.3, turn),
        validation("shift", -9, turn), validation("shift", -9, ("shift", "true", 2)), validation("shift", -9, ("shift", "noise", 14)),
        validation("class", 0.8), validation("class", -9, shift),
    ]  # fmt: skip
    assert score(planted, planted.row("context"), found) == pytest.approx((0.6 + 0.3 + 0.8) / 3)


def test_only_validation_rows_of_the_named_probe_and_metric_count() -> None:
    planted = table()
    decoys = [pair(9, target="shift", protocol="single/1", probe="linear", metric="r2_dim_mean", split="test")]
    decoys += [
        validation("shift", 9, probe="mlp"),
        validation("shift", 9, metric="r2_pooled"),
        validation("shift", 9, protocol="other/1"),
    ]
    assert score(planted, planted.row("told"), [*decoys, *scored(0.2, 0, 0.4)]) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="told: no score_shift was measured on validation items"):
        score(planted, planted.row("told"), decoys)


def test_the_best_rate_is_chosen_and_failed_candidates_are_on_record() -> None:
    planted = table()
    row = planted.row("told")
    found = choose(planted, row, {0.01: scored(0.2, 0, 0.5), 0.1: scored(0.4, 0, 0.5), 1.0: []})
    assert found == Choice(0.1, {0.01: pytest.approx(0.35), 0.1: pytest.approx(0.45), 1.0: None})
    assert choose(planted, row, {0.01: scored(0.2, 0, 0.5), 0.1: scored(0.2, 0, 0.5)}).rate == 0.01
    assert choose(planted, row, {0.01: [], 0.1: []}) is None


def test_choices_survive_their_file() -> None:
    choices = {"plain": Choice(5e-5, {5e-5: 0.25, 0.1: None}), "told": Choice(0.01, {0.01: -0.5})}
    text = as_yaml(choices, ["contextssl", "reproduce", "x"])
    assert text.startswith("# Chosen on validation items by: contextssl reproduce x\n")
    assert from_mapping(yaml.safe_load(text)) == choices
