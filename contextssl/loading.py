"""Batches made and sent to the device ahead of the step that trains on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

import torch

from contextssl.batch import Transitions


def one_ahead(
    make: Callable[[int], list[Transitions]], steps: Iterable[int], device: torch.device
) -> Iterator[list[Transitions]]:
    """`make(step)`, on the device, for every step; the next one is made and sent while this one is used.

    Two steps' batches exist at a time. For a CUDA device both are done on a stream of their own, beside the training;
    what an adapter keeps on the device is not sent. An error of `make` is raised when its step comes.
    """
    beside = torch.cuda.Stream(device) if device.type == "cuda" else None
    if beside is not None:
        beside.wait_stream(torch.cuda.current_stream(device))  # which made what adapters keep there

    def prepare(step: int) -> tuple[list[Transitions], torch.cuda.Event | None]:
        with torch.cuda.stream(beside) if beside is not None else nullcontext():
            return [batch.to(device) for batch in make(step)], None if beside is None else beside.record_event()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as ahead:
        pending: Future[tuple[list[Transitions], torch.cuda.Event | None]] | None = None
        for step in steps:
            ready, pending = pending, ahead.submit(prepare, step)
            if ready is not None:
                yield _taken_over(*ready.result())
        if pending is not None:
            yield _taken_over(*pending.result())


def _taken_over(batches: list[Transitions], arrived: torch.cuda.Event | None) -> list[Transitions]:
    """The batches, for use on the current stream: it waits for them, the host does not."""
    if arrived is not None:
        current = torch.cuda.current_stream(batches[0].state.device)
        current.wait_event(arrived)
        for batch in batches:
            for part in (batch.state, batch.action, batch.next_state, batch.latent):
                part.record_stream(current)  # its memory is not given away while this stream uses it
    return batches
