"""Single groups, intersections and small cells; and what of a real copy may be reported."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from contextssl.adapter import LabelledData, ProbeTarget, Split
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.probe import LinearProbe
from contextssl.evaluation.protocols import ReadoutProtocol
from domains.tabular.adult import Adult
from domains.tabular.baselines import FixedRepresentation
from domains.tabular.fairness import GroupFairness, Predictions, compare_groups, group_labels
from domains.tabular.group_metrics import group_metrics, group_rates, wilson_interval
from domains.tabular.suppression import Suppressed

READOUT = ReadoutProtocol(probes=(LinearProbe(standardised=True),))


def predictions(num_rows: int = 800) -> tuple[Predictions, dict[str, np.ndarray]]:
    """Women of group x are served worse than everybody else, which neither attribute shows by half."""
    rng = np.random.default_rng(0)
    sex, place = rng.integers(2, size=num_rows), rng.integers(2, size=num_rows)
    truth = rng.integers(2, size=num_rows)
    worse = (sex == 0) & (place == 0)
    probability = np.clip(0.2 + 0.6 * truth - 0.45 * worse * truth + rng.normal(size=num_rows) * 0.05, 0, 1)
    values = {"sex": sex, "place": place}
    adapter = SimpleNamespace(attributes=[SimpleNamespace(name="sex", values=("Female", "Male"))])
    said = Predictions(truth, (probability > 0.5).astype(int), probability, probability)
    return said, group_labels(values, adapter, intersections=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 3), (7, 40), (250, 400)])
def test_intervals_of_rates_are_wilsons(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(successes, trials), (expected.low, expected.high), atol=1e-12)


def test_rates_are_those_whose_differences_are_compared() -> None:
    said, groups = predictions()
    rates = group_rates(said.truth, said.prediction, groups["sex"].astype(str))
    found = {
        row.metric: row.value for row in group_metrics(said.truth, said.prediction, groups["sex"].astype(str), num_resamples=5)
    }
    value = {(group, row.metric): row.value for group, rows in rates.items() for row in rows}
    for rate, difference in (("selection_rate", "demographic_parity"), ("true_positive_rate", "equal_opportunity")):
        assert abs(value["Female", rate] - value["Male", rate]) == pytest.approx(found[f"{difference}_difference"])
    women = groups["sex"] == "Female"
    assert value["Female", "false_positive_rate"] == said.prediction[women & (said.truth == 0)].mean()
    overall = next(row for row in rates["Male"] if row.metric == "true_positive_rate")
    assert overall.floor == said.prediction[said.truth == 1].mean()


def test_intersections_show_what_single_attributes_hide() -> None:
    said, groups = predictions()
    assert list(groups) == ["sex", "place", "sex+place"]
    assert set(groups["sex+place"]) == {"Female+0", "Female+1", "Male+0", "Male+1"}
    found = {row.metric: row for row in compare_groups(said, groups, num_resamples=100, by_group=True)}
    both, one = (found[f"equal_opportunity_difference({name})"].value for name in ("sex+place", "sex"))
    assert both > 0.9 and 0.3 < one < 0.7
    assert found["true_positive_rate(sex+place=Female+0)"].high < 0.15 < 0.9 < found["true_positive_rate(sex+place=Male+1)"].low
    assert found["calibration_error(sex+place=Female+0)"].value > found["calibration_error(sex+place=Male+1)"].value
    assert found["accuracy"].value == (said.prediction == said.truth).mean()
    assert [name for name in found if "(" not in name] == ["accuracy", "balanced_accuracy", "auroc", "calibration_error"]


def test_measures_of_all_rows_do_not_depend_on_the_attributes() -> None:
    said, groups = predictions()
    kinds = [dict(list(groups.items())[:count]) for count in (1, 3)]
    found = [[row for row in compare_groups(said, kind, num_resamples=50) if "(" not in row.metric] for kind in kinds]
    assert found[0] == found[1]


def test_small_cells_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    said, groups = predictions()
    few = np.flatnonzero((groups["sex+place"] == "Female+1") & (said.truth == 1))
    kept = np.setdiff1d(np.arange(len(said.truth)), few[4:])  # four people
    said = Predictions(said.truth[kept], said.prediction[kept], said.score[kept], said.probability[kept])  # type: ignore[index]
    groups = {name: labels[kept] for name, labels in groups.items()}
    with caplog.at_level(logging.WARNING, "contextssl"):
        found = [row.metric for row in compare_groups(said, groups, num_resamples=20, by_group=True, smallest_cell=10)]
    assert "Female+1" in caplog.text and not any("Female+1" in metric for metric in found)
    assert "equalized_odds_difference(sex+place)" in found and "equalized_odds_difference(sex)" in found
    tiny = Predictions(said.truth[:12], said.prediction[:12])
    assert not list(compare_groups(tiny, {"sex": groups["sex"][:12]}, num_resamples=20, smallest_cell=10))


def test_an_attribute_with_a_small_group_is_left_out_and_the_rest_stays(caplog: pytest.LogCaptureFixture) -> None:
    said, groups = predictions()
    rare = np.array(["no"] * len(said.truth), dtype=object)
    rare[[int(np.flatnonzero(said.truth == label)[0]) for label in (0, 1)]] = "yes"
    with caplog.at_level(logging.WARNING, "contextssl"):
        rows = compare_groups(said, {"rare": rare, "sex": groups["sex"]}, num_resamples=20, smallest_cell=10)
        found = [row.metric for row in rows]
    assert "groups of rare are not compared" in caplog.text
    assert "accuracy" in found and "equalized_odds_difference(sex)" in found and not any("rare" in metric for metric in found)


def test_a_rate_that_few_make_up_is_left_out() -> None:
    truth, group = np.tile([0, 1], 100), np.repeat(["a", "b"], 100)
    prediction = truth.copy()
    prediction[np.flatnonzero((group == "a") & (truth == 1))[:3]] = 0
    kept = {name: {row.metric for row in rows} for name, rows in group_rates(truth, prediction, group, smallest=10).items()}
    assert kept == {
        "a": {"false_positive_rate", "selection_rate"},
        "b": {"false_positive_rate", "true_positive_rate", "selection_rate"},
    }


@pytest.fixture(scope="module")
def bank() -> EmbeddingBank:
    adapter = Adult(source="generated", sensitive=("sex", "race"), num_generated=(2000, 900))
    return EmbeddingBank(FixedRepresentation(lambda rows: rows, adapter.actions), adapter, method_name="columns")


def test_the_protocol_names_groups_by_their_values(bank: EmbeddingBank) -> None:
    protocol = GroupFairness("income", ("sex", "race"), READOUT, num_resamples=20, by_group=True, intersections=True)
    rows = list(protocol(bank))
    metrics = [row.metric for row in rows]
    assert len(set(metrics)) == len(metrics)
    assert {
        "selection_rate(race=Non-White)",
        "calibration_error_difference(sex)",
        "calibration_error(sex+race=Male+White)",
    } <= set(metrics)
    assert all(row.low is not None and row.low <= row.high for row in rows)  # type: ignore[operator]


def test_rare_outcomes_of_real_people_are_not_reported(bank: EmbeddingBank, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = replace(READOUT, targets=("income", "sex"))
    count = int(bank.labelled(Split.TEST).target("income").values.sum())
    everything = list(protocol(bank))
    suppressed = Suppressed(protocol, smallest=count + 1)
    assert list(suppressed(bank)) == everything, "generated people may be counted"
    monkeypatch.setitem(bank.adapter.manifest, "stand_in", False)
    assert {row.target for row in suppressed(bank)} == {"sex"}
    assert list(Suppressed(protocol, smallest=count)(bank)) == everything


@pytest.mark.parametrize(
    ("counts", "shown"), [((10, 10), True), ((9, 40), False), ((10, 4, 6), True), ((9, 8, 8), False), ((30, 4, 5), False)]
)
def test_what_the_floor_of_a_target_counts_is_not_a_few_people(
    counts: tuple[int, ...], shown: bool, bank: EmbeddingBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its accuracy counts the most frequent class and the others, of however many classes."""
    target = ProbeTarget("ward", torch.repeat_interleave(torch.tensor(counts)), len(counts))
    rows = torch.zeros(sum(counts), 1)
    monkeypatch.setattr(bank, "labelled", lambda split: LabelledData(rows, torch.arange(len(rows)), rows, (target,)))
    monkeypatch.setitem(bank.adapter.manifest, "stand_in", False)
    monkeypatch.setattr(ReadoutProtocol, "__call__", lambda *_: iter([SimpleNamespace(target="ward")]))
    assert bool(list(Suppressed(READOUT)(bank))) == shown
