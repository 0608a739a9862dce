"""The strongest probes we have: kernel ridge on whitened embeddings, and gradient boosting. One cell at a time, slow.

What they cannot read, no probe tried so far could (docs/notebook.md, finite precision).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from torch import Tensor
from torch.nn import functional as F

from contextssl.evaluation.probe import Labels, Parts


def whiten(parts: Parts) -> Parts:
    """Every direction of each cell with variance 1 on the rows to fit on, however small it was; float64.

    Directions below 1e-6 of the largest standard deviation are rounding of float32 and are dropped.
    """
    fit = parts.fit.double()
    mean = fit.mean(1, keepdim=True)
    eigenvalues, vectors = torch.linalg.eigh((fit - mean).mT @ (fit - mean) / fit.shape[1])
    usable = eigenvalues > 1e-12 * eigenvalues.amax(-1, keepdim=True)
    scale = torch.where(usable, eigenvalues.clamp_min(1e-30).rsqrt(), 0.0)
    turn = vectors * scale.unsqueeze(-2)
    return Parts((fit - mean) @ turn, (parts.choose - mean) @ turn, (parts.report - mean) @ turn)


@dataclass(frozen=True)
class KernelRidge:
    """Ridge regression with a Gaussian kernel on fully whitened embeddings; classes are regressed one against the rest.

    Bandwidth, in units of the square root of twice the width, and ridge are chosen on the rows to choose on: for each
    target, or for each coordinate of a target by itself.
    """

    bandwidths: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    ridges: tuple[float, ...] = (1e-6, 1e-4, 1e-2, 1.0)
    num_train: int = 2048
    by_coordinate: bool = False

    @property
    def name(self) -> str:
        """`kernel-ridge`."""
        return "kernel-ridge"

    def outputs(self, parts: Parts, targets: Sequence[Labels]) -> list[Tensor]:
        """See `contextssl.evaluation.probe.Probe`."""
        # Whitening may use all rows; only the kernel is limited.
        white = whiten(parts).first(self.num_train)
        by_cell = [self._cell(piece, targets) for piece in white.cells(1)]
        return [torch.stack(outputs) for outputs in zip(*by_cell, strict=True)]

    def _cell(self, parts: Parts, targets: Sequence[Labels]) -> list[Tensor]:
        """One factorisation for each bandwidth and ridge serves all coordinates of all targets."""
        fit, choose, report = parts.fit[0], parts.choose[0], parts.report[0]
        found = [_as_values(target, self.num_train) for target in targets]
        values, chosen = (torch.cat(part, dim=1) for part in zip(*found, strict=True))
        widths, offset = [part.shape[1] for part, _ in found], values.mean(0)
        best_error, best = values.new_full((values.shape[1],), torch.inf), values.new_zeros(len(report), values.shape[1])
        for bandwidth in self.bandwidths:
            gamma = 1 / (2 * fit.shape[1] * bandwidth**2)
            kernel, to_choose, to_report = (_kernel(rows, fit, gamma) for rows in (fit, choose, report))
            for ridge in self.ridges:
                ridged = kernel + torch.diag(kernel.new_full((len(fit),), ridge * len(fit)))
                dual = torch.cholesky_solve(values - offset, torch.linalg.cholesky(ridged))
                error = self._errors((to_choose @ dual + offset - chosen).square().mean(0), widths)
                better = error < best_error
                best_error = torch.where(better, error, best_error)
                best[:, better] = to_report @ dual[:, better] + offset[better]
        return [outputs.float() for outputs in best.split(widths, dim=1)]

    def _errors(self, error: Tensor, widths: list[int]) -> Tensor:
        """[K] what settings are chosen by: each coordinate's own error, or that of its target."""
        if self.by_coordinate:
            return error
        return torch.cat([own.mean().expand_as(own) for own in error.split(widths)])


def _kernel(a: Tensor, b: Tensor, gamma: float) -> Tensor:
    return torch.cdist(a, b).square().mul(-gamma).exp()


def _as_values(target: Labels, num_rows: int) -> tuple[Tensor, Tensor]:
    """Values to fit on and to choose on as [N, K] float64, classes as one-hot."""
    if target.num_classes is None:
        return target.fit[:num_rows].double(), target.choose.double()
    return F.one_hot(target.fit[:num_rows], target.num_classes).double(), F.one_hot(target.choose, target.num_classes).double()


@dataclass(frozen=True)
class GradientBoosting:
    """scikit-learn's histogram gradient boosting; it stops when a tenth of the rows to fit on no longer gains."""

    num_train: int = 16384
    max_iter: int = 200
    seed: int = 0

    @property
    def name(self) -> str:
        """`boosting`."""
        return "boosting"

    def outputs(self, parts: Parts, targets: Sequence[Labels]) -> list[Tensor]:
        """See `contextssl.evaluation.probe.Probe`."""
        parts = parts.first(self.num_train)
        return [torch.stack([self._cell(piece, target) for piece in parts.cells(1)]) for target in targets]

    def _cell(self, parts: Parts, target: Labels) -> Tensor:
        fit, report = parts.fit[0].cpu().numpy(), parts.report[0].cpu().numpy()
        values = target.fit[: self.num_train].cpu().numpy()
        settings = {"max_iter": self.max_iter, "early_stopping": True, "n_iter_no_change": 10, "random_state": self.seed}
        if target.num_classes is not None:
            classifier = HistGradientBoostingClassifier(**settings).fit(fit, values)
            scores = np.zeros((len(report), target.num_classes), dtype=np.float32)
            scores[:, classifier.classes_] = classifier.predict_proba(report)
        else:
            columns = [HistGradientBoostingRegressor(**settings).fit(fit, column).predict(report) for column in values.T]
            scores = np.stack(columns, axis=1).astype(np.float32)
        return torch.from_numpy(scores).to(parts.fit.device)
