"""Numbers that say how well something was read out, batched over leading cell axes. N rows, K coordinates or classes.

The three R2 differ in their denominators (protocol 6.1) and must always be labelled; `constant_floor` says what each
gives a predictor that ignores its input.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Metric = Callable[[Tensor, Tensor], Tensor]
"""(truth [N] or [N, K], prediction [..., N] or [..., N, K]) -> one number for each leading index [...]."""


def r2_pooled(truth: Tensor, prediction: Tensor) -> Tensor:
    """[...] R2 with one mean over all entries of the truth [N, K], as every ContextSSL and SIE number (protocol 6.1).

    A constant predictor scores above 0 when the coordinates' means differ: .229 on relative quaternions.
    """
    truth, prediction = truth.double(), prediction.double()
    return _r2((truth - prediction).square().sum((-2, -1)), (truth - truth.mean()).square().sum())


def r2_dim_mean(truth: Tensor, prediction: Tensor) -> Tensor:
    """[...] R2 of each coordinate of [..., N, K], averaged: scikit-learn's default."""
    return _r2_by_coordinate(truth.double(), prediction.double()).mean(-1)


def r2_max(truth: Tensor, prediction: Tensor) -> Tensor:
    """[...] the largest R2 of a coordinate of [..., N, K]: whether anything at all was read."""
    return _r2_by_coordinate(truth.double(), prediction.double()).amax(-1)


def r2_varw(truth: Tensor, prediction: Tensor) -> Tensor:
    """[...] R2 with one mean per coordinate and one sum over all entries of [..., N, K]: weighted by variance."""
    truth, prediction = truth.double(), prediction.double()
    return _r2((truth - prediction).square().sum((-2, -1)), (truth - truth.mean(0)).square().sum())


def _r2_by_coordinate(truth: Tensor, prediction: Tensor) -> Tensor:
    return _r2((truth - prediction).square().sum(-2), (truth - truth.mean(0)).square().sum(0))


def _r2(residual: Tensor, total: Tensor) -> Tensor:
    """1 - residual / total; where the truth is constant, 1 for perfect predictions and else 0, as scikit-learn says."""
    exact = torch.where(residual == 0, 1.0, 0.0).to(residual)
    return torch.where(total > 0, 1 - residual / torch.where(total > 0, total, 1.0), exact)


def accuracy(truth: Tensor, prediction: Tensor) -> Tensor:
    """[...] share of labels [..., N] equal to the truth [N]."""
    return (prediction == truth).double().mean(-1)


def balanced_accuracy(truth: Tensor, prediction: Tensor) -> Tensor:
    """[...] recall of labels [..., N], averaged over the classes that occur in the truth [N]."""
    hit = (prediction == truth).double()
    return torch.stack([hit[..., truth == label].mean(-1) for label in truth.unique()]).mean(0)


def auroc(truth: Tensor, score: Tensor) -> Tensor:
    """[...] probability that a row of class 1 scores above one of class 0, ties counting half; nan without both classes.

    Args:
        truth: [N] labels 0 and 1.
        score: [..., N], higher for class 1.
    """
    positive, negative = score[..., truth == 1].contiguous(), score[..., truth == 0].sort(-1).values.contiguous()
    below = torch.searchsorted(negative, positive, right=False)
    not_above = torch.searchsorted(negative, positive, right=True)
    return (below + not_above).double().mean(-1) / 2 / negative.shape[-1]


def top_k_accuracy(truth: Tensor, score: Tensor, k: int = 1) -> Tensor:
    """[...] share of rows whose class [N] is among the k best of scores [..., N, K]; ties count against the model."""
    own = score.gather(-1, truth.expand(score.shape[:-1]).unsqueeze(-1))
    return ((score >= own).sum(-1) <= k).double().mean(-1)


def constant_floor(train_truth: Tensor, test_truth: Tensor, metric: Metric) -> float:
    """What the best constant learnt on the training rows scores: their mean, or their most frequent class."""
    constant = train_truth.mean(0) if train_truth.is_floating_point() else train_truth.mode().values
    return float(metric(test_truth, constant.expand_as(test_truth)))
