"""Group metrics against slow code and against fairlearn; intervals against a bootstrap written out row by row."""

from __future__ import annotations

import fairlearn.metrics as fm
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from contextssl.evaluation.embeddings import FEATURES, EmbeddingBank
from contextssl.evaluation.probe import LinearProbe
from contextssl.evaluation.protocols import ReadoutProtocol
from domains.tabular.adult import Adult
from domains.tabular.baselines import PROBES, FixedRepresentation, baseline_results, baselines
from domains.tabular.fairness import GROUP_FAIRNESS, GroupFairness
from domains.tabular.group_metrics import GroupMetric, count_metrics, group_metrics


def data(num_rows: int, seed: int = 0, num_groups: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth, prediction, group and score of a classifier that treats groups differently."""
    rng = np.random.default_rng(seed)
    group = rng.choice(num_groups, num_rows, p=np.array([3.0, *[1.0] * (num_groups - 1)]) / (num_groups + 2))
    truth = (rng.random(num_rows) < np.where(group, 0.15, 0.35)).astype(int)
    score = np.round(rng.normal(size=num_rows) + 1.6 * truth - 0.4 * group, 2)
    return truth, (score > 1).astype(int), group, score


def by_name(rows: list[GroupMetric]) -> dict[str, GroupMetric]:
    return {row.metric: row for row in rows}


@pytest.mark.parametrize("num_groups", [2, 3])
def test_values_equal_fairlearns_and_scikit_learns(num_groups: int) -> None:
    truth, prediction, group, score = data(3000, num_groups=num_groups)
    found = by_name(group_metrics(truth, prediction, group, score))
    expected = {
        "accuracy": (truth == prediction).mean(),
        "balanced_accuracy": balanced_accuracy_score(truth, prediction),
        "auroc": roc_auc_score(truth, score),
        "demographic_parity_difference": fm.demographic_parity_difference(truth, prediction, sensitive_features=group),
        "equal_opportunity_difference": fm.equal_opportunity_difference(truth, prediction, sensitive_features=group),
        "equalized_odds_difference": fm.equalized_odds_difference(truth, prediction, sensitive_features=group),
        "equalized_odds_difference_mean": fm.equalized_odds_difference(truth, prediction, sensitive_features=group, agg="mean"),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
    # What is resampled is the same measure as what is reported.
    strata = [(group == g) & (truth == y) for g in range(num_groups) for y in (0, 1)]
    totals = np.array([stratum.sum() for stratum in strata]).reshape(-1, 2)
    positives = np.array([prediction[stratum].sum() for stratum in strata]).reshape(-1, 2)
    for name, value in count_metrics(np.stack([positives, positives]), totals).items():
        np.testing.assert_allclose(value, [expected[name]] * 2, atol=1e-12, err_msg=name)


def slow_bootstrap(
    truth: np.ndarray, prediction: np.ndarray, group: np.ndarray, score: np.ndarray, resamples: int
) -> dict[str, np.ndarray]:
    """Resample rows within each (group, class), one resample at a time."""
    rng = np.random.default_rng(11)
    strata = [np.flatnonzero((group == g) & (truth == y)) for g in np.unique(group) for y in (0, 1)]
    samples: dict[str, list[float]] = {}
    for _ in range(resamples):
        rows = np.concatenate([rng.choice(stratum, len(stratum)) for stratum in strata])
        y, p, g = truth[rows], prediction[rows], group[rows]
        false_positive, true_positive = (
            np.ptp([p[(g == k) & (y == label)].mean() for k in np.unique(group)]) for label in (0, 1)
        )
        values = {
            "accuracy": (y == p).mean(),
            "auroc": roc_auc_score(y, score[rows]),
            "demographic_parity_difference": np.ptp([p[g == k].mean() for k in np.unique(group)]),
            "equal_opportunity_difference": true_positive,
            "equalized_odds_difference": max(true_positive, false_positive),
            "equalized_odds_difference_mean": (true_positive + false_positive) / 2,
        }
        for name, value in values.items():
            samples.setdefault(name, []).append(float(value))
    return {name: np.array(values) for name, values in samples.items()}


def test_intervals_equal_those_of_a_bootstrap_over_rows() -> None:
    truth, prediction, group, score = data(1200, seed=3)
    found = by_name(group_metrics(truth, prediction, group, score, num_resamples=20_000))
    for name, samples in slow_bootstrap(truth, prediction, group, score, 800).items():
        low, high = np.quantile(samples, [0.025, 0.975])
        width = high - low
        assert found[name].low == pytest.approx(low, abs=0.13 * width), name
        assert found[name].high == pytest.approx(high, abs=0.13 * width), name


def test_a_rare_group_never_vanishes() -> None:
    truth, prediction, group, _ = data(400, seed=1)
    group[:] = 0
    group[[int(np.flatnonzero(truth == 0)[0]), int(np.flatnonzero(truth == 1)[0])]] = 1  # a group of two rows
    for row in group_metrics(truth, prediction, group):
        assert np.isfinite([row.value, row.low, row.high]).all()


def test_perfect_and_constant_predictions() -> None:
    truth, _, group, _ = data(500)
    perfect = by_name(group_metrics(truth, truth, group, truth))
    assert perfect["accuracy"].value == perfect["accuracy"].low == perfect["auroc"].low == 1
    assert perfect["equalized_odds_difference"].high == 0 < perfect["demographic_parity_difference"].value
    constant = by_name(group_metrics(truth, np.zeros_like(truth), group, np.zeros(500)))
    for row in constant.values():
        assert row.value == pytest.approx(row.floor, abs=1e-9), row.metric


def test_a_difference_is_the_planted_one() -> None:
    truth = np.tile([0, 1], 400)
    group = np.repeat([0, 1], 400)
    prediction = np.where(group == 1, truth, 0)  # group 1 is served perfectly, group 0 is always refused
    found = by_name(group_metrics(truth, prediction, group))
    assert found["equal_opportunity_difference"].value == found["equalized_odds_difference"].value == 1
    assert found["equalized_odds_difference_mean"].value == found["demographic_parity_difference"].value == 0.5


def test_group_metrics_do_not_depend_on_names_of_groups_and_repeat_with_the_seed() -> None:
    truth, prediction, group, score = data(600)
    numbers = group_metrics(truth, prediction, group, score, seed=5)
    assert numbers == group_metrics(truth, prediction, np.array(["a", "b"])[group], score, seed=5)
    assert numbers != group_metrics(truth, prediction, group, score, seed=6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y, p, g: (y, p + 1, g), "two classes, 0 and 1"),
        (lambda y, p, g: (y, p[1:], g), "one shape"),
        (lambda y, p, g: (np.where(g == 1, 0, y), p, g), "group 1 has no row of class 1"),
    ],
)
def test_bad_input(change: object, message: str) -> None:
    truth, prediction, group, _ = data(100)
    with pytest.raises(ValueError, match=message):
        group_metrics(*change(truth, prediction, group))  # type: ignore[operator]


@pytest.fixture(scope="module")
def two_attributes() -> Adult:
    return Adult(source="generated", sensitive=("sex", "race"), num_generated=(3000, 1500))


def test_protocol_reports_each_attribute_and_overall_metrics_once(two_attributes: Adult) -> None:
    bank = EmbeddingBank(FixedRepresentation(lambda rows: rows, two_attributes.actions), two_attributes, method_name="columns")
    protocol = GroupFairness("income", ("sex", "race"), ReadoutProtocol(probes=(LinearProbe(),)), num_resamples=50)
    rows = list(protocol(bank))
    metrics = [row.metric for row in rows]
    assert len(set(metrics)) == len(metrics) == 3 + 2 * 4
    assert {"accuracy", "auroc", "equalized_odds_difference(sex)", "equalized_odds_difference(race)"} <= set(metrics)
    assert {(row.protocol, row.target, row.method, row.environment) for row in rows} == {
        (GROUP_FAIRNESS, "income", "columns", FEATURES.environment)
    }
    with pytest.raises(ValueError, match="num_report"):
        GroupFairness(readout=ReadoutProtocol(num_report=100))


def test_correlation_remover_leaves_no_linear_trace_and_others_do(census: Adult) -> None:
    train = census.table("train")  # type: ignore[arg-type]
    traces = {}
    for baseline in baselines(census):
        rows = baseline.representation(train.values).astype(np.float64)
        s = train.sensitive[:, 0] - train.sensitive[:, 0].mean()
        spread = rows.std(0)
        varying = spread > 1e-6
        traces[baseline.name] = np.abs(s @ rows[:, varying] / spread[varying] / len(s) / s.std()).max() if varying.any() else 0.0
    assert traces["columns"] == pytest.approx(1, abs=1e-5)
    assert traces["columns-without-sensitive"] > 0.3
    assert traces["correlation-remover-1"] < 1e-4
    assert traces["correlation-remover-0.7"] == pytest.approx(0.3 * traces["columns-without-sensitive"], rel=0.2)


def test_baseline_table(census: Adult) -> None:
    rows = list(baseline_results(census, GroupFairness(num_resamples=50), PROBES[:1]))
    value = {(row.method, row.protocol, row.target, row.metric): row.value for row in rows if row.probe == "linear-standardised"}
    assert value["majority", "attribute-probe/1", "income", "accuracy"] == next(
        row.floor for row in rows if row.target == "income" and row.metric == "accuracy"
    )
    assert value["majority", GROUP_FAIRNESS, "income", "equalized_odds_difference(sex)"] == 0
    assert value["columns", "attribute-probe/1", "sex", "auroc"] == 1
    assert 0.75 < value["columns-without-sensitive", "attribute-probe/1", "sex", "auroc"] < 1
    assert abs(value["correlation-remover-1", "attribute-probe/1", "sex", "auroc"] - 0.5) < 0.1
    assert (
        value["columns", GROUP_FAIRNESS, "income", "accuracy"]
        == value["columns", "attribute-probe/1", "income", "accuracy"]
        > 0.78
    )
