"""Linear read-outs of many cells at once, in closed form or by Newton's method.

C cells, N rows, E width, K outputs, P = E + 1 weights with the intercept last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def with_intercept(x: Tensor) -> Tensor:
    """[C, N, E] -> [C, N, E + 1] in float64, with a last column of ones."""
    return torch.cat([x, x.new_ones(*x.shape[:2], 1)], dim=-1).double()


def fit_ridge(x: Tensor, y: Tensor, ridges: tuple[float, ...]) -> Tensor:
    """[R, C, P, K] float64 weights of ridge regression from [C, N, E] to [N, K], for each ridge strength.

    Minimises mean squared error + ridge * |w|^2, the intercept free. One eigendecomposition of the covariance serves
    all strengths.
    """
    x, y = x.double(), y.double()
    mean_x, mean_y = x.mean(1, keepdim=True), y.mean(0)
    centred = x - mean_x
    eigenvalues, vectors = torch.linalg.eigh(centred.mT @ centred / x.shape[1])
    moments = vectors.mT @ (centred.mT @ (y - mean_y) / x.shape[1])
    strength = torch.tensor(ridges, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)
    weight = vectors @ (moments / (eigenvalues.unsqueeze(-1).clamp_min(0) + strength + 1e-12))
    return torch.cat([weight, mean_y - mean_x @ weight], dim=-2)


def fit_logistic(x: Tensor, labels: Tensor, num_classes: int, *, penalty: float = 1.0, max_steps: int = 100) -> Tensor:
    """[C, P, K] float64 weights of logistic regression; K is 1 for two classes, else the number of classes.

    Minimises penalty / 2 |w|^2 + the sum of log losses, the intercept free: scikit-learn's LogisticRegression with
    C = 1 / penalty (multinomial for more than two classes). Newton's method, each cell with its own step size.

    Args:
        x: [C, N, E] inputs.
        labels: [N] int64 classes.
        num_classes: two or more.
        penalty: of the squared weights.
        max_steps: Newton steps; a handful suffices unless classes are separable.
    """
    problem = _LogisticProblem.of(x, labels, num_classes, penalty)
    weight = problem.inputs.new_zeros(x.shape[0], x.shape[2] + 1, problem.target.shape[-1])
    loss, gradient, probability = problem.evaluate(weight)
    for _ in range(max_steps):
        if gradient.abs().amax() < 1e-7 * x.shape[1]:
            break
        narrow = probability.shape[-1] == 1 and weight.shape[1] <= 129
        step = problem.newton_step(gradient, probability) if narrow else problem.truncated_newton_step(gradient, probability)
        slope = (gradient * step).sum((1, 2))
        size = loss.new_ones(len(loss))
        for _ in range(30):  # Armijo: halve the step of those cells whose loss did not fall enough
            trial = weight - size.view(-1, 1, 1) * step
            trial_loss, trial_gradient, trial_probability = problem.evaluate(trial)
            too_long = trial_loss > loss - 1e-4 * size * slope + 1e-9 * loss
            if not too_long.any():
                break
            size = torch.where(too_long, size / 2, size)
        weight, loss, gradient, probability = trial, trial_loss, trial_gradient, trial_probability
    return weight


@dataclass(frozen=True)
class _LogisticProblem:
    """Loss, gradient and curvature of penalised logistic regression in C cells."""

    inputs: Tensor  # [C, N, P]
    target: Tensor  # [N, K]
    penalty: Tensor  # [P, 1], 0 for the intercept
    factor: Tensor  # [C, P, P] Cholesky factor of an upper bound of the curvature, as preconditioner

    @staticmethod
    def of(x: Tensor, labels: Tensor, num_classes: int, penalty: float) -> _LogisticProblem:
        inputs = with_intercept(x)
        target = F.one_hot(labels, num_classes).to(inputs)
        target = target[:, 1:] if num_classes == 2 else target
        penalties = torch.full((inputs.shape[2], 1), penalty, dtype=inputs.dtype, device=x.device)
        penalties[-1] = 0
        bound = 0.25 * inputs.mT @ inputs + torch.diag(penalties[:, 0] + 1e-9)
        return _LogisticProblem(inputs, target, penalties, torch.linalg.cholesky(bound))

    def evaluate(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss [C], gradient [C, P, K] and probabilities [C, N, K] at weights [C, P, K]."""
        logits = self.inputs @ weight
        if logits.shape[-1] == 1:
            probability = logits.sigmoid()
            log_loss = (F.softplus(logits) - self.target * logits).sum((1, 2))
        else:
            log_probability = logits.log_softmax(-1)
            probability = log_probability.exp()
            log_loss = -(self.target * log_probability).sum((1, 2))
        loss = log_loss + 0.5 * (self.penalty * weight.square()).sum((1, 2))
        return loss, self.inputs.mT @ (probability - self.target) + self.penalty * weight, probability

    def curvature(self, direction: Tensor, probability: Tensor) -> Tensor:
        """Hessian [C, P K, P K] times a direction [C, P, K]."""
        moved = probability * (self.inputs @ direction)
        others = probability * (moved if probability.shape[-1] == 1 else moved.sum(-1, keepdim=True))
        return self.inputs.mT @ (moved - others) + self.penalty * direction

    def newton_step(self, gradient: Tensor, probability: Tensor) -> Tensor:
        """Hessian^-1 gradient for two classes, directly: for narrow inputs one Hessian costs little more than one product."""
        hessian = self.inputs.mT @ (probability * (1 - probability) * self.inputs) + torch.diag(self.penalty[:, 0] + 1e-9)
        return torch.cholesky_solve(gradient, torch.linalg.cholesky(hessian))

    def truncated_newton_step(
        self, gradient: Tensor, probability: Tensor, tolerance: float = 1e-2, max_steps: int = 100
    ) -> Tensor:
        """Hessian^-1 gradient by preconditioned conjugate gradients, to a relative residual in every cell."""
        solution, residual = torch.zeros_like(gradient), gradient
        conditioned = torch.cholesky_solve(residual, self.factor)
        direction, size = conditioned, _inner(residual, conditioned)
        target = tolerance**2 * size
        for _ in range(max_steps):
            if (size <= target).all():
                break
            image = self.curvature(direction, probability)
            length = torch.where(size > target, size / _inner(direction, image).clamp_min(1e-300), 0.0)
            solution, residual = solution + length * direction, residual - length * image
            conditioned = torch.cholesky_solve(residual, self.factor)
            previous, size = size, _inner(residual, conditioned)
            direction = conditioned + size / previous.clamp_min(1e-300) * direction
        return solution


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """[C, 1, 1] inner products of [C, P, K]."""
    return (a * b).sum((1, 2), keepdim=True)
