"""Baselines that are trained: adversarial encoders hide more the heavier the adversary, decisions keep to their bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contextssl.adapter import Split
from contextssl.commands.configuration import build, compose_config
from contextssl.evaluation.cells import CellFilter
from contextssl.evaluation.embeddings import Cell, EmbeddingBank
from contextssl.evaluation.probe import Parts
from contextssl.evaluation.results import Result
from domains.tabular.adult import Adult
from domains.tabular.baselines import PROBES, embedded_decision_results, trained_baseline_results
from domains.tabular.baselines.adversarial import AdversarialEncoder, Criterion, doubt
from domains.tabular.baselines.decisions import decision_makers, fair_classifiers
from domains.tabular.baselines.fixed import Representation
from domains.tabular.fairness import GROUP_FAIRNESS, GroupFairness

QUICK = [AdversarialEncoder(weight=weight, num_steps=500, learning_rate=4e-3, batch_size=128) for weight in (0.0, 4.0)]
Makers = dict[str, Representation]


@pytest.fixture(scope="module")
def makers(census: Adult) -> Makers:
    return decision_makers(census, "income", seed=3)


@pytest.fixture(scope="module")
def rows(census: Adult, makers: Makers) -> dict[tuple[str, ...], Result]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("domains.tabular.baselines.results.decision_makers", lambda *_: makers)  # fitted once for all tests
        return measured(census)


def measured(census: Adult) -> dict[tuple[str, ...], Result]:
    fairness = GroupFairness(sensitive=census.sensitive, num_resamples=20, by_group=True, intersections=True)
    found = trained_baseline_results(census, fairness, PROBES[:1], adversaries=QUICK, seed=3)
    return {(row.method, row.target, row.probe, row.metric): row for row in found}


def test_an_adversary_takes_the_attribute_away_and_little_of_the_target(rows: dict[tuple[str, ...], Result]) -> None:
    sex = {name: rows[name, "sex", "linear-standardised", "auroc"].value for name in ("adversarial-0", "adversarial-4")}
    assert sex["adversarial-0"] > 0.85 and sex["adversarial-4"] < sex["adversarial-0"] - 0.1
    income = rows["adversarial-4", "income", "linear-standardised", "auroc"]
    assert income.value > 0.7 and income.seed == 3


def test_decisions_are_scored_as_they_are(census: Adult, makers: Makers, rows: dict[tuple[str, ...], Result]) -> None:
    methods = {method for method, *_ in rows} - {"adversarial-0", "adversarial-4"}
    assert methods == {"exponentiated-gradient-0.02", "exponentiated-gradient-0.1", "threshold-optimizer"}
    decision = makers["threshold-optimizer"](census.table(Split.TEST).values)
    truth = census.labelled(Split.TEST).target("income").values.numpy()
    row = rows["threshold-optimizer", "income", "decision", "accuracy"]
    assert row.value == pytest.approx((decision[:, 0] == truth).mean()) and row.protocol == GROUP_FAIRNESS
    assert set(np.unique(decision)) == {0.0, 1.0}
    for method in methods:
        assert (method, "income", "linear-standardised", "accuracy") not in rows, "nobody reads the target from decisions"
        assert 0.45 < rows[method, "sex", "linear-standardised", "auroc"].value < 0.8


def test_decisions_keep_to_their_bounds_on_the_rows_they_were_fitted_on(census: Adult, makers: Makers) -> None:
    table, labels = census.table(Split.TRAIN), census.labelled(Split.TRAIN).target("income").values.numpy()
    gaps = {}
    for name, decide in makers.items():
        decision, sex = decide(table.values)[:, 0], table.sensitive[:, 0]
        rates = [[decision[(sex == s) & (labels == y)].mean() for s in (0, 1)] for y in (0, 1)]
        gaps[name] = max(abs(a - b) for a, b in rates)
        assert (decide(table.values)[:, 0] == decision).all(), "the same row is decided alike when asked again"
    assert max(gaps["exponentiated-gradient-0.02"], gaps["threshold-optimizer"]) < 0.08  # decisions are draws


def test_decisions_from_embeddings_are_made_in_each_context(census: Adult) -> None:
    torch.manual_seed(0)
    config = compose_config(["experiment=adult_sex", "domain.source=generated"])
    method = build(config.method)(census.build_encoder(), census.actions).eval()
    bank = EmbeddingBank(method, census, context_lengths=(0, 14), context_draws=1, training_seed=5)
    fairness = GroupFairness(num_resamples=20)
    cells = CellFilter(environments=("none", "sex"), controls=("true",), lengths=(14,))
    found = list(embedded_decision_results(bank, fairness, cells, seed=3))
    rows = {(row.environment, row.method, row.target, row.probe, row.metric): row for row in found}
    assert len(rows) == len(found) and {(row.context_length, row.control, row.seed) for row in found} == {(14, "true", 5)}
    truth, sex = (census.labelled(Split.TEST).target(name).values.numpy() for name in ("income", "sex"))
    told = Cell("sex", "true", 14, 0)
    parts = Parts(*(bank.embeddings(told, split)[None] for split in Split)).standardised
    train = {name: census.labelled(Split.TRAIN).target(name).values.numpy() for name in ("income", "sex")}
    makers = fair_classifiers(parts.fit[0].numpy(), train["income"], train["sex"], 3)
    for name, decide in makers.items():
        decision = decide(parts.report[0].numpy(), sex)
        score = rows["sex", f"context_ssl+{name}", "income", "decision", "accuracy"].value
        assert score == pytest.approx((decision == truth).mean())
        said = decide(parts.fit[0].numpy(), train["sex"])
        gap, fitted = (d[g == 1].mean() - d[g == 0].mean() for d, g in ((decision, sex), (said, train["sex"])))
        leak = rows["sex", f"context_ssl+{name}", "sex", "linear-standardised", "auroc"]
        assert leak.value == pytest.approx(0.5 + np.sign(fitted) * gap / 2) and leak.low is not None


def test_groups_and_classes_are_weighed_alike() -> None:
    group = torch.tensor([0] * 9 + [1])
    probability = torch.full((10, 2), 0.5)
    probability[9] = torch.tensor([0.9, 0.1])  # of the one row of its group the adversary is sure
    even, sure = np.log(2), -np.log(0.9 * 0.1) / 2
    assert float(doubt(probability.log(), group)) == pytest.approx((even + sure) / 2)
    strata = torch.tensor([0] * 6 + [1] * 3 + [2])
    assert float(doubt(probability.log(), strata)) == pytest.approx((2 * even + sure) / 3)


def test_encoders_repeat_with_their_seed_and_leave_the_global_stream_alone(census: Adult) -> None:
    few = AdversarialEncoder(num_steps=5, criterion=Criterion.DEMOGRAPHIC_PARITY)
    rows = census.table(Split.TEST).values[:20]
    state = torch.get_rng_state()
    first, again, other = (few.fit(census, "income", seed)(rows) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(first, again) and not np.array_equal(first, other) and first.shape == (20, few.code_dim)
