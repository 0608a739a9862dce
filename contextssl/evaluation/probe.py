"""Probes: what can be read out of frozen embeddings. Every probe fits all cells together and none calls the encoder.

How one probes decides what one sees, so a protocol uses all three kinds (docs/notebook.md, probing):
raw inputs show what is there at usable amplitude; inputs standardised per dimension show traces of any size;
neighbours show what dominates distances, with nothing to tune.

C cells, N rows, E width, K outputs (class scores or coordinates).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from contextssl.evaluation.linear import fit_logistic, fit_ridge, with_intercept


@dataclass(frozen=True)
class Parts:
    """Embeddings [C, N, E] of the rows to fit on, to choose on and to report on, the same rows in every cell."""

    fit: Tensor
    choose: Tensor
    report: Tensor

    @cached_property
    def standardised(self) -> Parts:
        """Each dimension of each cell with mean 0 and standard deviation 1 on the rows to fit on.

        Dimensions that vary by less than 1e-6, rounding in a unit-norm embedding, are only centred.
        """
        mean, scale = self.fit.mean(1, keepdim=True), self.fit.std(1, unbiased=False, keepdim=True)
        scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))
        return Parts((self.fit - mean) / scale, (self.choose - mean) / scale, (self.report - mean) / scale)

    def first(self, num_rows: int) -> Parts:
        """The same with only the first rows to fit on; protocols hand them over in random order."""
        return Parts(self.fit[:, :num_rows], self.choose, self.report)

    def cells(self, size: int) -> Iterator[Parts]:
        """At most `size` cells at a time, for probes that need memory."""
        for parts in zip(self.fit.split(size), self.choose.split(size), self.report.split(size), strict=True):
            yield Parts(*parts)


@dataclass(frozen=True)
class Labels:
    """One target's values for the same three parts: classes [N] int64, or [N, K] float when num_classes is None."""

    fit: Tensor
    choose: Tensor
    num_classes: int | None

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean [K] and standard deviation [K] of a regression target on the rows to fit on."""
        scale = self.fit.std(0, unbiased=False)
        return self.fit.mean(0), torch.where(scale > 0, scale, torch.ones_like(scale))


class Probe(Protocol):
    """Anything that reads targets out of embeddings."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def outputs(self, parts: Parts, targets: Sequence[Labels]) -> list[Tensor]:
        """For each target [C, N, K] of the rows to report on: class scores, or predicted values."""
        ...


@dataclass(frozen=True)
class LinearProbe:
    """Logistic regression (L2, C = 1) for classes; ridge regression for values.

    Raw inputs: a fixed ridge of 1e-3 on the mean squared error, so that a direction whose standard deviation is far
    below .03 in a unit-norm embedding counts for little, as in a probe trained for a while by gradient descent
    (protocol 6.3). Standardised inputs: the ridge is chosen on the rows to choose on, and finds traces of any size.
    """

    standardised: bool = False
    raw_ridge: float = 1e-3
    ridges: tuple[float, ...] = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)

    @property
    def name(self) -> str:
        """`linear` or `linear-standardised`."""
        return "linear-standardised" if self.standardised else "linear"

    def outputs(self, parts: Parts, targets: Sequence[Labels]) -> list[Tensor]:
        """See `Probe`."""
        parts = parts.standardised if self.standardised else parts
        # Cells at a time: on a CPU what fits its cache, six times faster than all at once.
        few = max(1, (2**21 if parts.fit.device.type == "cpu" else 2**26) // parts.fit[0].numel())
        return [torch.cat([self._one(piece, target) for piece in parts.cells(few)]) for target in targets]

    def _one(self, parts: Parts, target: Labels) -> Tensor:
        report = with_intercept(parts.report)
        if target.num_classes is not None:
            logits = report @ fit_logistic(parts.fit, target.fit, target.num_classes)
            return (F.pad(logits, (1, 0)) if target.num_classes == 2 else logits).float()
        ridges = self.ridges if self.standardised else (self.raw_ridge,)
        weights = fit_ridge(parts.fit, target.fit, ridges)
        error = (with_intercept(parts.choose) @ weights - target.choose).square().mean((-2, -1))  # [R, C]
        best = weights[error.argmin(0), torch.arange(error.shape[1], device=error.device)]
        return (report @ best).float()


@dataclass(frozen=True)
class MLPProbe:
    """A ReLU network trained by Adam with a cosine schedule, one for each cell, all cells in one optimisation.

    Every cell starts from the same weights and sees the same batches; the weights kept are those of the epoch with
    the smallest loss on the rows to choose on.
    """

    standardised: bool = False
    hidden_dims: tuple[int, ...] = (64, 64)
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 3e-3
    num_train: int = 8192
    seed: int = 0

    @property
    def name(self) -> str:
        """`mlp` or `mlp-standardised`."""
        return "mlp-standardised" if self.standardised else "mlp"

    def outputs(self, parts: Parts, targets: Sequence[Labels]) -> list[Tensor]:
        """See `Probe`."""
        parts = (parts.standardised if self.standardised else parts).first(self.num_train)
        return [self._one(parts, target) for target in targets]

    def _one(self, parts: Parts, target: Labels) -> Tensor:
        if target.num_classes is not None:
            return network_outputs(
                self._train(parts, target.fit[: self.num_train], target.choose, target.num_classes), parts.report
            )
        mean, scale = target.moments
        values, choose = (target.fit[: self.num_train] - mean) / scale, (target.choose - mean) / scale
        return network_outputs(self._train(parts, values, choose, values.shape[1]), parts.report) * scale + mean

    def _train(self, parts: Parts, values: Tensor, choose: Tensor, out_dim: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        parameters = initial_network(parts.fit, (*self.hidden_dims, out_dim), generator)
        rows = parts.fit.shape[1]
        optimizer = torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs * -(-rows // self.batch_size))
        best, best_loss = [p.detach().clone() for p in parameters], parts.fit.new_full((len(parts.fit),), torch.inf)
        for _ in range(self.epochs):
            order = torch.randperm(rows, generator=generator).to(values.device)
            for batch in order.split(self.batch_size):
                optimizer.zero_grad()
                losses(network_outputs(parameters, parts.fit[:, batch]), values[batch]).sum().backward()
                optimizer.step()
                schedule.step()
            with torch.no_grad():
                loss = losses(network_outputs(parameters, parts.choose), choose)
                better = loss < best_loss
                best_loss = torch.where(better, loss, best_loss)
                for kept, parameter in zip(best, parameters, strict=True):
                    kept[better] = parameter.detach()[better]
        return best


def initial_network(x: Tensor, dims: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    """Weights [C, in, out] and biases [C, 1, out] of layers from inputs [C, N, E] through widths `dims`.

    Drawn as torch's Linear draws them, the same in every cell.
    """
    widths, parameters = (x.shape[-1], *dims), []
    for fan_in, fan_out in zip(widths[:-1], widths[1:], strict=True):
        for rows in (fan_in, 1):
            values = (torch.rand(1, rows, fan_out, generator=generator) * 2 - 1) / fan_in**0.5
            parameters.append(values.to(x).repeat(len(x), 1, 1).requires_grad_())
    return parameters


def network_outputs(parameters: list[Tensor], x: Tensor) -> Tensor:
    """[C, N, E] -> [C, N, K] through the layers (weight, bias, weight, bias...) of each cell's own network."""
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = torch.baddbmm(bias, x, weight).relu()
    return torch.baddbmm(parameters[-1], x, parameters[-2])


def losses(outputs: Tensor, values: Tensor) -> Tensor:
    """[C] mean cross-entropy for labels [N], mean squared error for values [N, K]."""
    if values.is_floating_point():
        return (outputs - values).square().mean((1, 2))
    log_probability = outputs.log_softmax(-1)
    return -log_probability.gather(-1, values.expand(outputs.shape[:2]).unsqueeze(-1)).mean((1, 2))


@dataclass(frozen=True)
class NearestNeighbours:
    """The mean of the k nearest rows by cosine: class shares, or values. Nothing to fit and nothing to choose.

    Distances are those of raw embeddings, so it shows what dominates them.

    Attributes:
        k: number of neighbours.
        num_train: at most so many rows to look among.
        temperature: neighbours weigh exp(cosine / temperature); as much as each other when None. The paper's monitor has
            k = 200 and temperature .1 (protocol 6.7).
    """

    k: int = 10
    num_train: int = 4096
    temperature: float | None = None

    @property
    def name(self) -> str:
        """`knn-10` for ten neighbours, `knn-10-weighted` with a temperature."""
        return f"knn-{self.k}" + ("" if self.temperature is None else "-weighted")

    def outputs(self, parts: Parts, targets: Sequence[Labels]) -> list[Tensor]:
        """See `Probe`. Neighbours are found once for all targets."""
        values = [self._values(target) for target in targets]
        by_cell = [self._cell(fit[: self.num_train], report, values) for fit, report in zip(parts.fit, parts.report, strict=True)]
        return [torch.stack(outputs) for outputs in zip(*by_cell, strict=True)]

    def _values(self, target: Labels) -> Tensor:
        fit = target.fit[: self.num_train]
        return fit if target.num_classes is None else F.one_hot(fit, target.num_classes).float()

    def _cell(self, fit: Tensor, report: Tensor, values: list[Tensor]) -> list[Tensor]:
        bank = F.normalize(fit, dim=-1)
        pieces = [self._neighbours(rows @ bank.T) for rows in F.normalize(report, dim=-1).split(2048)]
        return [torch.cat([self._mean(value[nearest], similarity) for similarity, nearest in pieces]) for value in values]

    def _neighbours(self, similarity: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines [M, k] and rows [M, k] of the nearest."""
        found, nearest = similarity.topk(min(self.k, similarity.shape[1]), dim=-1)
        return found, nearest

    def _mean(self, values: Tensor, similarity: Tensor) -> Tensor:
        """[M, K] of neighbours' values [M, k, K]."""
        if self.temperature is None:
            return values.mean(1)
        weight = (similarity / self.temperature).softmax(-1)
        return (weight.unsqueeze(-1) * values).sum(1)
