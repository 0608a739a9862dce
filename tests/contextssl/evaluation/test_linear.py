"""Batched solvers against scikit-learn, one cell at a time."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor
from torch.nn import functional as F

from contextssl.evaluation.linear import fit_logistic, fit_ridge, with_intercept


def cells(num_rows: int = 400, width: int = 6) -> Tensor:
    """Three very different cells: unit norm, badly scaled, and with a constant column."""
    x = torch.randn(3, num_rows, width, generator=torch.Generator().manual_seed(0))
    x[1] = x[1] @ torch.diag(torch.tensor([10.0, 1, 1, 0.1, 3, 1])) + 2
    x[2, :, 0] = 1
    return torch.cat([F.normalize(x[:1], dim=-1), x[1:]])


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("noise", [1.0, 0.01], ids=["overlapping", "nearly separable"])
def test_logistic_regression_equals_scikit_learn(num_classes: int, noise: float) -> None:
    x = cells()
    direction = torch.randn(6, num_classes, generator=torch.Generator().manual_seed(1))
    noisy = x[0] @ direction + noise * torch.randn(400, num_classes, generator=torch.Generator().manual_seed(2))
    labels = noisy.argmax(1)
    logits = with_intercept(x) @ fit_logistic(x, labels, num_classes)
    for inputs, found in zip(x, logits, strict=True):
        reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=20_000).fit(inputs.double(), labels)
        expected = torch.from_numpy(reference.decision_function(inputs.double())).view(len(inputs), -1)
        centre = (lambda z: z - z.mean(1, keepdim=True)) if num_classes > 2 else (lambda z: z)
        torch.testing.assert_close(centre(found), centre(expected), rtol=1e-3, atol=1e-3)


def test_perfectly_separable_classes_end_at_the_penalised_optimum() -> None:
    x = torch.cat([torch.randn(1, 200, 3), torch.randn(1, 200, 3) + 8], dim=1)
    labels = torch.arange(400) // 200
    weight = fit_logistic(x, labels, 2)
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=20_000).fit(x[0].double(), labels)
    torch.testing.assert_close(weight[0, :3, 0], torch.from_numpy(reference.coef_[0]), rtol=1e-3, atol=1e-3)


def test_wide_inputs_end_at_the_same_optimum() -> None:
    """Wide inputs take truncated steps; a repeated block of columns must share its weight equally."""
    x = cells()[1:2, :, :4]
    labels = (x[0, :, 0] > 2).long()
    labels[:40] = 1 - labels[:40]
    narrow, wide = fit_logistic(x, labels, 2, penalty=1.0), fit_logistic(x.repeat(1, 1, 50), labels, 2, penalty=50.0)
    torch.testing.assert_close(wide[0, :-1].view(50, 4), (narrow[0, :-1, 0] / 50).expand(50, 4), rtol=1e-3, atol=1e-5)


def test_a_class_that_never_occurs_is_never_preferred() -> None:
    x = cells()[:1]
    labels = (x[0, :, 1] > 0).long()
    logits = with_intercept(x) @ fit_logistic(x, labels, 3)
    assert (logits.argmax(-1) < 2).all()


def test_ridge_equals_scikit_learn_for_every_strength() -> None:
    x, y = cells(), torch.randn(400, 2, generator=torch.Generator().manual_seed(3)) + 5
    ridges = (1e-3, 0.1, 10.0)
    weights = fit_ridge(x, y, ridges)
    for ridge, per_ridge in zip(ridges, weights, strict=True):
        for inputs, weight in zip(x.double(), per_ridge, strict=True):
            expected = Ridge(alpha=ridge * 400).fit(inputs, y.double()).predict(inputs)
            found = inputs @ weight[:-1] + weight[-1]
            torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-6, atol=1e-6)


def test_cells_do_not_see_each_other() -> None:
    x = cells()
    labels, values = (x[0, :, 0] > 0).long(), x[0, :, :1]
    for index in range(3):
        alone = x[index : index + 1]
        torch.testing.assert_close(fit_logistic(x, labels, 2)[index], fit_logistic(alone, labels, 2)[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(fit_ridge(x, values, (0.1,))[:, index], fit_ridge(alone, values, (0.1,))[:, 0])
