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


def decision_makers(adapter: SensitiveTable, target: str, seed: int = 0) -> dict[str, Representation]:
    """Name -> decisions [N, 1] on rows, fitted on training rows; equalized odds over all attributes together.

    `exponentiated-gradient-B` (Agarwal et al. 2018) sees all columns and keeps differences of rates below B;
    `threshold-optimizer` (Hardt et al. 2016) needs to know the group of everybody it decides about.
    """
    table, labels = adapter.table(Split.TRAIN), adapter.labelled(Split.TRAIN).target(target).values.numpy()
    chosen = np.random.default_rng(seed).permutation(len(table))[:MAX_ROWS]
    rows, y, group = table.values[chosen], labels[chosen], attribute_cell(table.sensitive[chosen])
    told = [table.blocks[name].stop - 1 for name in adapter.sensitive]

    def groups(of: Rows) -> Integers:
        return attribute_cell((of[:, told] > 0.5).astype(np.int64))

    makers = {f"exponentiated-gradient-{bound:g}": _reduction(rows, y, group, bound, seed) for bound in BOUNDS}
    return makers | {"threshold-optimizer": _thresholds(rows, y, group, groups, seed)}


def _reduction(rows: Rows, y: Integers, group: Integers, bound: float, seed: int) -> Representation:
    constraint = EqualizedOdds(difference_bound=bound)
    reduction = ExponentiatedGradient(LogisticRegression(max_iter=1000), constraint, eps=bound, max_iter=MAX_ROUNDS)
    with warnings.catch_warnings():
        # fairlearn fills pandas series in a way that pandas will refuse one day
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        reduction.fit(rows, y, sensitive_features=group)
    return lambda of: _column(reduction.predict(of, random_state=seed))


def _thresholds(rows: Rows, y: Integers, group: Integers, groups: Callable[[Rows], Integers], seed: int) -> Representation:
    classifier = LogisticRegression(max_iter=1000).fit(rows, y)

    def probability(of: Rows) -> npt.NDArray[np.float64]:
        return np.asarray(classifier.predict_proba(of)[:, 1:], dtype=np.float64)

    optimizer = ThresholdOptimizer(
        estimator=_Probability().fit(), constraints="equalized_odds", prefit=True, predict_method="predict_proba"
    )
    optimizer.fit(probability(rows), y, sensitive_features=group)
    return lambda of: _column(optimizer.predict(probability(of), sensitive_features=groups(of), random_state=seed))


class _Probability(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose one input is the probability."""

    def fit(self, x: object = None, y: object = None) -> _Probability:
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack([1 - x[:, 0], x[:, 0]])


def _column(decisions: npt.ArrayLike) -> Rows:
    return np.asarray(decisions, dtype=np.float32).reshape(-1, 1)
