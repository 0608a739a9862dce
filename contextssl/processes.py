"""The processes that torchrun or Slurm starts together: how they meet, agree, share gradients, and lose one another.

Alone, everything here does nothing. Process 0 names the run and writes; the others compute. Whatever happens, one
process says so: the first that fails, or, when a process was killed, the first that misses it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from contextssl.distributed import ProcessLost, average, num_processes, rank, reaching_others

TIMEOUT = "CONTEXTSSL_PROCESS_TIMEOUT"
LAST_WORD = 5.0  # seconds for the others to say that they live
BUCKET_NUMBERS = 2**25  # gradients that are sent together: 128 MiB in single precision

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 - not an error: a checkpoint was saved
    """Training stopped because a signal asked for it; `signal_number` says which."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def launched() -> tuple[int, int]:
    """This process's number and how many there are, by the environment that torchrun sets; (0, 1) alone."""
    size = int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1
    return (int(os.environ["RANK"]), size) if size > 1 else (0, 1)


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the processes that were launched together; nothing for one process.

    gloo carries what lies on the CPU, nccl what lies on CUDA devices: a process takes the device of its LOCAL_RANK.
    CONTEXTSSL_PROCESS_TIMEOUT says how many seconds to wait for others, 600 if it is not set.

    Args:
        device: as in the configuration.

    Raises:
        ValueError: when the processes cannot have a device each, or for a timeout that is no number.
        ProcessLost: when another process died or hangs, naming it; in the first process that notices.
        SystemExit: in place of any error that another process has already told.
    """
    number, size = launched()
    if size == 1:
        yield
        return
    on_cuda, timeout = _take_device(device), _timeout()
    with reaching_others():
        store, *_ = next(rendezvous("env://", timeout=timeout))
        backend = "cpu:gloo,cuda:nccl" if on_cuda else "gloo"
        distributed.init_process_group(backend, store=store, rank=number, world_size=size, timeout=timeout)
    try:
        yield
        highest(0)  # nobody leaves while another still needs it
    except Interrupted:
        distributed.destroy_process_group()
        raise
    except Exception as error:
        with reaching_others():  # through the launcher, which may be gone too
            first = store.add("told", 1) == 1
            store.set(f"lives/{number}", "")
        if isinstance(error, ProcessLost) and distributed.group.WORLD is not None:
            # Without this, those that wait for this process in turn would not notice before their time is up.
            distributed.group.WORLD.abort()
        if not first:
            time.sleep(2)  # launchers stop all processes when one ends: the one that tells goes first
            raise SystemExit(1) from error
        if isinstance(error, ProcessLost):
            raise ProcessLost(f"{_who_is_lost(store, size)}: {error}") from error
        raise
    distributed.destroy_process_group()


def from_first(make: Callable[[], T]) -> T:
    """What process 0 makes, for all; the others wait for it."""
    if num_processes() == 1:
        return make()
    content = [make() if rank() == 0 else None]
    with reaching_others():
        distributed.broadcast_object_list(content, device=torch.device("cpu"))
    return content[0]  # type: ignore[return-value]


def highest(number: int) -> int:
    """The highest of the numbers that all processes bring; none goes on before all have come."""
    if num_processes() == 1:
        return number
    brought = torch.tensor(number)
    with reaching_others():
        distributed.all_reduce(brought, distributed.ReduceOp.MAX)
    return int(brought)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over processes. One without a gradient anywhere keeps none.

    DistributedDataParallel does the same within `backward`, through the `forward` of one module. A method has no such
    forward: its terms come from `loss_terms`, which calls its parts in turn, may leave some out in a step, and is
    called once for every micro-batch. One sum after the last backward is simple and needs none of that to be declared.
    """
    if num_processes() == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    used = torch.tensor([parameter.grad is not None for parameter in trained], dtype=torch.uint8)
    with reaching_others():
        distributed.all_reduce(used, distributed.ReduceOp.MAX)  # on the CPU, so that no device is waited for
    for bucket in _buckets([parameter for parameter, somewhere in zip(trained, used.tolist(), strict=True) if somewhere]):
        gradients = [torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in bucket]
        flat = average(torch.cat([gradient.flatten() for gradient in gradients]))
        for parameter, gradient, mean in zip(bucket, gradients, flat.split([g.numel() for g in gradients]), strict=True):
            parameter.grad = gradient.copy_(mean.view_as(gradient))


def average_terms(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The means over processes of detached scalars by name; the names are the same in all of them."""
    if num_processes() == 1:
        return dict(terms)
    return dict(zip(terms, average(torch.stack(list(terms.values()))), strict=True))


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one type at a time, neither too many nor too few to send at once."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        if bucket and (parameter.dtype != bucket[0].dtype or sum(p.numel() for p in bucket) > BUCKET_NUMBERS):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def _timeout() -> timedelta:
    given = os.environ.get(TIMEOUT, "600")
    if not given.isdecimal() or int(given) == 0:
        raise ValueError(f"{TIMEOUT}: expected a number of seconds, found {given!r}")
    return timedelta(seconds=int(given))


def _take_device(device: str) -> bool:
    """Make the CUDA device of this process the current one; returns whether there is one."""
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return False
    if device not in ("auto", "cuda"):
        raise ValueError(f"device={device} is one device, for one process: with several give device=auto, cuda or cpu")
    here, num_devices = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if here >= num_devices:
        raise ValueError(
            f"process {here} of this machine has no CUDA device, there are {num_devices}: start no more processes than devices "
            "(--nproc-per-node), or train with device=cpu"
        )
    torch.cuda.set_device(here)
    return True


def _who_is_lost(store: Store, size: int) -> str:
    """Who does not say within a few seconds that it lives."""
    silent, end = list(range(size)), time.monotonic() + LAST_WORD
    while silent and time.monotonic() < end:
        silent = [number for number in silent if not store.check([f"lives/{number}"])]
        time.sleep(0.1)
    if not silent:
        return f"the {size} processes live, but no longer reach each other"
    return f"rank {', '.join(map(str, silent))} of {size} does not answer (killed, out of memory, or hanging)"
