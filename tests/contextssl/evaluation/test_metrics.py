"""Metrics against scikit-learn, and floors against what the protocol states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from sklearn import metrics as sk

from contextssl.evaluation.metrics import (
    accuracy,
    auroc,
    balanced_accuracy,
    constant_floor,
    r2_dim_mean,
    r2_max,
    r2_pooled,
    r2_varw,
    top_k_accuracy,
)


def test_the_three_r2_equal_scikit_learn_for_every_cell() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(50, 3, generator=generator) * torch.tensor([1.0, 4.0, 0.2]) + torch.tensor([0.0, 3.0, -1.0])
    prediction = truth + torch.randn(2, 4, 50, 3, generator=generator)
    pooled, dim_mean, varw = (metric(truth, prediction) for metric in (r2_pooled, r2_dim_mean, r2_varw))
    for cell in np.ndindex(2, 4):
        values = prediction[cell].double()
        assert float(pooled[cell]) == pytest.approx(sk.r2_score(truth.double().flatten(), values.flatten()))
        assert float(dim_mean[cell]) == pytest.approx(sk.r2_score(truth.double(), values))
        best = max(sk.r2_score(truth[:, column].double(), values[:, column]) for column in range(3))
        assert float(r2_max(truth, prediction)[cell]) == pytest.approx(best)
        assert float(varw[cell]) == pytest.approx(sk.r2_score(truth.double(), values, multioutput="variance_weighted"))


def test_a_constant_truth_follows_scikit_learn() -> None:
    truth = torch.tensor([[1.0, 2.0], [1.0, 3.0]])
    for prediction in (truth, truth + torch.tensor([0.5, 0.0])):
        assert float(r2_dim_mean(truth, prediction)) == pytest.approx(sk.r2_score(truth, prediction))


@pytest.mark.parametrize(("kind", "floor", "ratio"), [("relative", 0.229, 1.297), ("individual", 0.460, 1.854)])
def test_pooled_r2_of_quaternions_has_the_floor_of_the_protocol(kind: str, floor: float, ratio: float) -> None:
    """Euler angles uniform in +-pi/2, scalar last, signs left alone (protocol 1.2 and 6.1)."""
    angles = np.random.default_rng(0).uniform(-np.pi / 2, np.pi / 2, (2, 60_000, 3))
    x, y = (Rotation.from_euler("xyz", one) for one in angles)
    truth = torch.from_numpy(((x.inv() * y) if kind == "relative" else x).as_quat())
    assert constant_floor(truth, truth, r2_pooled) == pytest.approx(floor, abs=0.01)
    assert constant_floor(truth, truth, r2_varw) == pytest.approx(0, abs=1e-9)
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    assert float((1 - r2_varw(truth, noisy)) / (1 - r2_pooled(truth, noisy))) == pytest.approx(ratio, abs=0.03)


ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40)


@settings(max_examples=50, deadline=None)
@given(ROWS.filter(lambda rows: len({label for label, _ in rows}) == 2))
def test_auroc_counts_ties_as_scikit_learn_does(pairs: list[tuple[bool, int]]) -> None:
    truth, score = torch.tensor([int(a) for a, _ in pairs]), torch.tensor([float(b) for _, b in pairs])
    both = auroc(truth, torch.stack([score, -score]))
    expected = sk.roc_auc_score(truth, score)
    torch.testing.assert_close(both, torch.tensor([expected, 1 - expected], dtype=torch.float64))


def test_auroc_without_both_classes_is_no_number() -> None:
    assert auroc(torch.zeros(3, dtype=torch.long), torch.rand(2, 3)).isnan().all()


def test_accuracies_equal_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, prediction = torch.randint(3, (40,), generator=generator), torch.randint(4, (5, 40), generator=generator)
    for row, plain, balanced in zip(prediction, accuracy(truth, prediction), balanced_accuracy(truth, prediction), strict=True):
        assert float(plain) == pytest.approx(sk.accuracy_score(truth, row))
        assert float(balanced) == pytest.approx(sk.recall_score(truth, row, labels=[0, 1, 2], average="macro"))


def test_top_k_equals_scikit_learn_and_ties_count_against() -> None:
    score = torch.rand(2, 30, 5, generator=torch.Generator().manual_seed(0))
    truth = torch.arange(30) % 5
    for k in (1, 2, 4):
        expected = [sk.top_k_accuracy_score(truth, one, k=k) for one in score]
        torch.testing.assert_close(top_k_accuracy(truth, score, k), torch.tensor(expected, dtype=torch.float64))
    assert float(top_k_accuracy(truth, torch.zeros(30, 5), 4)) == 0


def test_floors_are_learnt_on_training_rows() -> None:
    train, test = torch.tensor([1, 1, 0]), torch.tensor([0, 0, 0, 1])
    assert constant_floor(train, test, accuracy) == 0.25
    assert constant_floor(train, test, balanced_accuracy) == 0.5
    assert constant_floor(train, test, auroc) == 0.5
    values = torch.tensor([[0.0], [2.0]])
    assert constant_floor(values, values + 1, r2_varw) == pytest.approx(-1)  # off by one standard deviation
