"""Sentences follow from the numbers, and change when the numbers do."""

from __future__ import annotations

import pytest
from synthetic_results import LENGTHS, adult_rows, row

from contextssl.evaluation.results import Result
from contextssl.reporting import headline
from contextssl.reporting.summary import Readout, Study


def study_of(rows: list[Result]) -> Study:
    study = Study.of(rows)
    assert study is not None
    return study


def course(told: tuple[float, ...], untold: tuple[float, ...], seeds: tuple[float, ...] = (0.0,), **other: object) -> Study:
    """A study of sex AUROC with the given curves, the first value shared; one seed per shift of the untold curve."""
    rows = []
    for seed, shift in enumerate(seeds):
        rows.append(row(told[0], target="sex", metric="auroc", environment="-", control="empty", floor=0.5, seed=seed))
        for environment, values, moved in (("sex", told, 0.0), ("none", untold, shift)):
            for length, value in zip(LENGTHS[1:], values[1:], strict=True):
                where = {"environment": environment, "context_length": length, "floor": 0.5, "seed": seed}
                rows.append(row(value + moved, target="sex", metric="auroc", **where))
    return study_of(rows)


KEPT, FALLS = (0.9, 0.9, 0.9, 0.9, 0.91), (0.9, 0.8, 0.7, 0.66, 0.65)


def test_the_question_names_what_was_told_how_long_and_how_often() -> None:
    text = headline.question(study_of(adult_rows()))
    assert "told sex or told nothing by contexts of 0 to 126 tokens (3 training seeds, 3 context draws each)" in text
    assert "read sex and income" in text


def test_the_answer_says_kept_falls_and_rises_as_the_numbers_do() -> None:
    (answer,) = headline.answers(course(KEPT, FALLS))
    assert "told sex, it is kept, .900 and .910; told nothing, it falls from .900 to .650" in answer
    (answer,) = headline.answers(course((0.7, 0.8, 0.9, 0.9, 0.9), (0.7,) * 5))
    assert "told sex, it rises from .700 to .900; told nothing, it is kept" in answer


def test_a_change_that_seeds_disagree_about_is_not_called_a_fall() -> None:
    (answer,) = headline.answers(course(KEPT, FALLS, seeds=(0.0, 0.3, -0.3)))
    assert "told nothing, it goes from .900" in answer and "within the noise" in answer


def test_the_change_is_paired_within_seeds() -> None:
    rows = []
    for seed, start in enumerate((0.5, 0.7, 0.9)):  # seeds differ widely, each falls by almost the same
        rows.append(row(start, target="sex", metric="auroc", environment="-", control="empty", seed=seed))
        rows.append(
            row(start - 0.2 + 0.001 * seed, target="sex", metric="auroc", environment="none", context_length=2, seed=seed)
        )
    change = study_of(rows).change(Readout("sex", "linear", "auroc"), "none")
    assert change is not None
    assert change.mean == pytest.approx(-0.199) and change.high < -0.19


@pytest.mark.parametrize(("lying", "warned"), [(1.0, True), (0.9, True), (0.5, False), (0.0, False)])
def test_controls_that_act_like_true_actions_are_called_out(lying: float, warned: bool) -> None:
    found = [line for line in headline.cautions(study_of(adult_rows(lying=lying))) if "act like true ones" in line]
    assert bool(found) == warned
    if warned:
        assert "reads the presence of actions, not their values" in found[0] and "shuffled" in found[0] and "noise" in found[0]


def test_each_caution_appears_exactly_when_its_cause_does() -> None:
    healthy = " ".join(headline.cautions(study_of(adult_rows(lying=0.0))))
    assert "training seed" not in healthy and "no effect" not in healthy and "comes back" not in healthy
    cautions = lambda study: " ".join(headline.cautions(study))  # noqa: E731
    assert "One training seed only" in cautions(course(KEPT, FALLS))
    assert "One training seed" not in cautions(course(KEPT, FALLS, seeds=(0.0, 0.01)))
    assert "no effect on sex" in cautions(course(KEPT, KEPT))
    assert "comes back at long contexts: .200 more at c = 126 than at c = 14" in cautions(course(KEPT, (0.9, 0.7, 0.6, 0.7, 0.8)))
    assert "hardly readable even without context" in cautions(course((0.55,) * 5, (0.52,) * 5))
    assert "yet others read more: boosting .817" in " ".join(headline.cautions(study_of(adult_rows())))


def vision(**ends: tuple[float, float]) -> Study:
    """A study of two groups; for each target, what is read when it is told and when the other group is."""
    rows = []
    for target, (told, untold) in ends.items():
        rows.append(row(0.8, target=target, metric="r2_dim_mean", environment="-", control="empty", floor=0.0))
        for environment in ("rotation", "color"):
            value = told if environment in target else untold
            where = {"environment": environment, "context_length": 126, "floor": 0.0}
            rows.append(row(value, target=target, metric="r2_dim_mean", **where))
    return study_of(rows)


def test_one_target_speaks_for_each_group_its_own_before_others() -> None:
    study = vision(relative_rotation=(0.7, 0.2), rotation=(0.8, 0.1), relative_color=(0.9, 0.3), color=(0.9, 0.4))
    assert study.headline_targets == ["rotation", "color"]
    first, second = headline.answers(study)
    assert "told rotation, it is kept, .800 and .800; told color, it falls from .800 to .100" in first
    assert second.startswith("**color**") and "told rotation, it falls from .800 to .400" in second
    assert vision(relative_rotation=(0.7, 0.2), color=(0.9, 0.4)).headline_targets == ["relative_rotation", "color"]
    assert "read relative rotation and color from" in headline.question(vision(relative_rotation=(0.7, 0.2), color=(0.9, 0.4)))


def test_what_is_read_from_predictions_is_another_target() -> None:
    common = {"metric": "r2_dim_mean", "environment": "rotation", "context_length": 126}
    rows = [row(0.3, target="rotation", protocol="predicted-probe/1", **common), row(0.9, target="rotation", **common)]
    study = study_of(rows)
    assert study.targets == ["predicted_rotation", "rotation"] and study.headline_targets == ["rotation"]
    for target, value in (("rotation", 0.9), ("predicted_rotation", 0.3)):
        cell = study.cell(study.readout(target), "rotation", 126)
        assert cell is not None and cell["mean"] == value and study.group_of(target) == "rotation"


def test_the_best_read_function_is_reported_where_the_group_is_not_told() -> None:
    rows = [row(0.8, target="rotation", metric="r2_dim_mean", environment="-", control="empty", floor=0.0)]
    for environment, value in (("rotation", 0.8), ("color", 0.1), ("none", 0.2)):
        where = {"environment": environment, "context_length": 126}
        rows.append(row(value, target="rotation", metric="r2_dim_mean", **where, floor=0.0))
        for probe, factor in (("kernel-ridge", 3), ("kernel-ridge-4bit", 2)):
            rows.append(row(factor * value, target="rotation_functions", metric="r2_max", probe=probe, **where))
            rows.append(row(0.01, target="rotation_functions", metric="r2_dim_mean", probe=probe, **where))
    (answer,) = headline.answers(study_of(rows))
    assert "when it is not told reaches an R² of .600 (kernel ridge) and .400 (kernel ridge, 4 bits)." in answer


def test_what_starts_differently_without_context_is_said_by_environment() -> None:
    rows = []
    for environment, start, end in (("rotation", 0.2, 0.5), ("color", 0.3, 0.6)):
        for length, value in ((0, start), (126, end)):
            rows.append(row(value, target="next_state", metric="mrr", probe="-", environment=environment, context_length=length))
    (answer,) = headline.answers(study_of(rows))
    assert answer == (
        "**next state** – MRR .200 told rotation and .300 told color without context, "
        ".500 told rotation and .600 told color at c = 126."
    )


def test_validation_numbers_are_named_as_such_and_test_numbers_preferred() -> None:
    validation = [row(0.9, target="sex", metric="auroc", environment="sex", context_length=2, split="validation")]
    assert "validation split" in " ".join(headline.cautions(study_of(validation)))
    test = [row(0.4, target="sex", metric="auroc", environment="sex", context_length=2)]
    both = study_of(validation + test)
    assert both.split == "test" and both.own["mean"].tolist() == [0.4]


def test_context_free_results_have_no_answers_and_no_cautions_about_contexts() -> None:
    study = study_of([row(0.9, target="income", metric="accuracy", environment="-", control="-", method="simclr")])
    assert "evaluated without contexts" in headline.question(study)
    assert headline.answers(study) == []
    assert not any("context draw" in line for line in headline.cautions(study))


def labels(with_groups: bool) -> list[Result]:
    """Rows of a classifier that asks the context for its rule: own head, ideal observer, and perhaps a probed group."""
    found = []
    for environment, length, right in (("-", 0, 0.5), ("shift", 126, 0.97), ("turn", 126, 0.0)):
        place = {"environment": environment, "context_length": length, "control": "true" if length else "empty"}
        for probe, value in (("head", right), ("observer", 1.0 if right > 0.6 else 0.5)):
            found.append(row(value, target="label_shift", metric="accuracy", probe=probe, floor=0.25, **place))
        if with_groups:
            found.append(row(0.02, target="relative_shift", metric="r2_dim_mean", floor=0.0, **place))
    return found


@pytest.mark.parametrize("with_groups", [True, False])
def test_labels_by_a_group_s_rule_do_not_measure_the_group(with_groups: bool) -> None:
    study = Study.of(labels(with_groups))
    assert study is not None and study.group_of("label_shift") is None and study.readout("label_shift").probe == "head"
    told = "**label by the rule of shift** – accuracy .500 without context, .970 told shift and .000 told turn at c = 126."
    assert headline.answers(study)[-1] == told
    asked = headline.question(study)
    probed = "; frozen probes read relative shift from its embeddings on the test split" if with_groups else " on the test split"
    assert f"Its own head gives the label by the rule of shift{probed}" in asked
    assert not any("label" in caution for caution in headline.cautions(study))
