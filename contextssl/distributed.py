"""Several processes as one: rows gathered from all of them, and batch statistics over all of them.

A loss that compares rows (negatives, variances, covariances) sees the rows of all processes and is the same number in
each. Backward adds up what all processes ask of a row; averaged over processes, as DistributedDataParallel does, the
gradient of the parameters is then that of one process with the whole batch. Every process must hold equally many rows.
Random draws are made for the rows of all processes, by each from the same generator, and each takes its `own`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def num_processes() -> int:
    """How many processes train together; 1 without a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process among those that train together, from 0; 0 without a process group."""
    return distributed.get_rank() if num_processes() > 1 else 0


Rows = TypeVar("Rows", Tensor, range)


def own(rows: Rows) -> Rows:
    """[processes * N, ...] -> [N, ...]: this process's part of the rows of all, in the order of `gather`."""
    size = len(rows) // num_processes()
    return rows[rank() * size : (rank() + 1) * size]


def total(value: Tensor) -> Tensor:
    """The sum of a value over all processes, a constant to autograd."""
    return value if num_processes() == 1 else _summed_constant(value.detach())


def average(value: Tensor) -> Tensor:
    """The mean of a value over all processes, a constant to autograd."""
    return total(value) / num_processes()


class ProcessLost(ConnectionError):
    """Another process has died or hangs, so that what all of them must do together cannot be done."""


@contextmanager
def reaching_others() -> Iterator[None]:
    """Around whatever needs all processes: ProcessLost when one does not answer."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # gloo has no class of its own for broken connections
        raise ProcessLost("contact is lost") from error


def gather(rows: Tensor) -> Tensor:
    """[N, ...] -> [processes * N, ...]: the rows of all processes in the order of their ranks, differentiable.

    The rows themselves when there is one process. N must be the same in all of them.
    """
    return rows if num_processes() == 1 else _gathered(rows)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(num_processes())]
        with reaching_others():
            distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return own(_all_reduced(gradients[0]))


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _all_reduced(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _all_reduced(gradients[0])


def _all_reduced(value: Tensor) -> Tensor:
    result = value.clone(memory_format=torch.contiguous_format)
    with reaching_others():
        distributed.all_reduce(result)
    return result


# torch.compile does not look into what processes do together: its graphs end there and begin again.
_gathered: Callable[[Tensor], Tensor] = torch.compiler.disable(lambda rows: _Gather.apply(rows))
_summed: Callable[[Tensor], Tensor] = torch.compiler.disable(lambda value: _Sum.apply(value))
_summed_constant: Callable[[Tensor], Tensor] = torch.compiler.disable(_all_reduced)


class _Synchronised(_BatchNorm):
    """Batch normalisation over the rows of all processes; torch's own refuses tensors on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, ...] -> the same shape; the ordinary layer in eval mode or with one process."""
        if not self.training or num_processes() == 1:
            return super().forward(x)
        axes, columns = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
        exact = x if x.dtype == torch.float64 else x.float()
        count = num_processes() * x.numel() // x.shape[1]
        # Two passes: the mean of squares less the square of the mean loses digits.
        mean = _summed(exact.sum(axes)) / count
        centred = exact - mean.view(columns)
        variance = _summed(centred.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        normal = centred * (variance + self.eps).rsqrt().view(columns)
        if self.affine:
            normal = normal * self.weight.view(columns) + self.bias.view(columns)
        return normal.to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as the ordinary layer does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class SynchronisedBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over all processes."""


class SynchronisedBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over all processes."""


SYNCHRONISED: dict[type[nn.Module], type[_Synchronised]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
}


def synchronise_batch_norms(module: nn.Module) -> None:
    """Let every BatchNorm1d and BatchNorm2d in the module take its statistics over all processes.

    The layers stay the same objects with the same parameters and names, so optimizers and checkpoints still fit.
    """
    for layer in module.modules():
        if type(layer) in SYNCHRONISED:
            layer.__class__ = SYNCHRONISED[type(layer)]
