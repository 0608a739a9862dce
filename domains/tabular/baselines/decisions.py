"""Classifiers that are trained to treat groups alike, by fairlearn: a reduction, and thresholds for each group.

Both decide at random for some rows, so a decision is a draw; draws follow from the seed and the row's place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from fairlearn.postprocessing import ThresholdOptimizer
from fairlearn.reductions import EqualizedOdds, ExponentiatedGradient
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from contextssl.adapter import Split
from domains.tabular.baselines.fixed import Representation, Rows
from domains.tabular.samplers import attribute_cell
from domains.tabular.sensitive_table import SensitiveTable

DECISION_PROBE = "decision"  # in results, in the place of the probe
BOUNDS = (0.02, 0.1)  # on differences of rates, of the reduction
MAX_ROWS = 20_000  # to fit on
MAX_ROUNDS = 20  # of the reduction, each one logistic regression

Integers = npt.NDArray[np.int64]
Decide = Callable[[Rows, Integers], Integers]
"""(rows [N, D], their groups [N]) -> decisions [N]."""


def decision_makers(adapter: SensitiveTable, target: str, seed: int = 0) -> dict[str, Representation]:
    """Name -> decisions [N, 1] on rows, fitted on training rows; equalized odds over all attributes together.

    `exponentiated-gradient-B` (Agarwal et al. 2018) sees all columns and keeps differences of rates below B;
    `threshold-optimizer` (Hardt et al. 2016) needs to know the group of everybody it decides about.
    """
    table, labels = adapter.table(Split.TRAIN), adapter.labelled(Split.TRAIN).target(target).values.numpy()
    told = [table.blocks[name].stop - 1 for name in adapter.sensitive]

    def on_columns(decide: Decide) -> Representation:
        return lambda of: decide(of, attribute_cell((of[:, told] > 0.5).astype(np.int64))).astype(np.float32).reshape(-1, 1)

    makers = fair_classifiers(table.values, labels, attribute_cell(table.sensitive), seed)
    return {name: on_columns(decide) for name, decide in makers.items()}


def fair_classifiers(rows: Rows, labels: Integers, group: Integers, seed: int = 0) -> dict[str, Decide]:
    """Name -> a fitted classifier, as `decision_makers` says, of any rows: columns or embeddings.

    Args:
        rows: [N, D] to fit on; of more than 20,000 so many are drawn.
        labels: [N] classes 0 and 1.
        group: [N] whose differences are bounded.
        seed: of the drawn rows and of decisions.
    """
    chosen = np.random.default_rng(seed).permutation(len(rows))[:MAX_ROWS]
    fit = (rows[chosen], labels[chosen], group[chosen])
    makers = {f"exponentiated-gradient-{bound:g}": _reduction(*fit, bound, seed) for bound in BOUNDS}
    return makers | {"threshold-optimizer": _thresholds(*fit, seed)}


def _reduction(rows: Rows, y: Integers, group: Integers, bound: float, seed: int) -> Decide:
    constraint = EqualizedOdds(difference_bound=bound)
    reduction = ExponentiatedGradient(LogisticRegression(max_iter=1000), constraint, eps=bound, max_iter=MAX_ROUNDS)
    with warnings.catch_warnings():
        # fairlearn fills pandas series in a way that pandas will refuse one day
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        reduction.fit(rows, y, sensitive_features=group)
    return lambda of, _: np.asarray(reduction.predict(of, random_state=seed), dtype=np.int64)


def _thresholds(rows: Rows, y: Integers, group: Integers, seed: int) -> Decide:
    classifier = LogisticRegression(max_iter=1000).fit(rows, y)

    def probability(of: Rows) -> npt.NDArray[np.float64]:
        return np.asarray(classifier.predict_proba(of)[:, 1:], dtype=np.float64)

    optimizer = ThresholdOptimizer(
        estimator=_Probability().fit(), constraints="equalized_odds", prefit=True, predict_method="predict_proba"
    )
    optimizer.fit(probability(rows), y, sensitive_features=group)

    def decide(of: Rows, groups: Integers) -> Integers:
        return np.asarray(optimizer.predict(probability(of), sensitive_features=groups, random_state=seed), dtype=np.int64)

    return decide


class _Probability(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose one input is the probability."""

    def fit(self, x: object = None, y: object = None) -> _Probability:
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack([1 - x[:, 0], x[:, 0]])
