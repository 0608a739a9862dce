"""Batches come in order, one ahead and no more, and wait for nobody."""

from __future__ import annotations

import threading

import pytest
import torch

from contextssl.batch import Transitions
from contextssl.loading import one_ahead

CPU = torch.device("cpu")


def numbered(step: int) -> list[Transitions]:
    content = torch.full((1, 1, 1), float(step))
    return [Transitions(content, content, content, content.expand(1, 1, 2, 1))]


def test_steps_come_in_order_each_made_once() -> None:
    made: list[int] = []

    def make(step: int) -> list[Transitions]:
        made.append(step)
        return numbered(step)

    assert [batch.state.item() for (batch,) in one_ahead(make, range(3, 8), CPU)] == [3, 4, 5, 6, 7]
    assert made == [3, 4, 5, 6, 7]
    assert list(one_ahead(make, range(0), CPU)) == []


def test_the_next_batch_is_made_while_one_is_used_and_no_more() -> None:
    begun = [threading.Event() for _ in range(4)]

    def make(step: int) -> list[Transitions]:
        begun[step].set()
        return numbered(step)

    batches = one_ahead(make, range(4), CPU)
    for step in range(3):
        next(batches)
        assert begun[step + 1].wait(10)  # without being asked for
        assert step == 2 or not begun[step + 2].is_set()
    batches.close()


def test_an_error_comes_when_its_step_does() -> None:
    def make(step: int) -> list[Transitions]:
        if step == 1:
            raise OSError("no such view")
        return numbered(step)

    batches = one_ahead(make, range(3), CPU)
    assert next(batches)[0].state.item() == 0
    with pytest.raises(OSError, match="no such view"):
        next(batches)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kept_on", ["cpu", "cuda"])
def test_on_a_gpu_batches_arrive_whole_beside_the_training(kept_on: str) -> None:
    content = torch.randn(8, 4, 16, 3, 64, 64, device=kept_on)

    def make(step: int) -> list[Transitions]:
        parts = content[step]
        return [Transitions(parts, parts[..., 0, 0, 0, None], parts * 2, parts[:, :, :2, 0, 0, :1])]

    work = torch.randn(2048, 2048, device="cuda")
    for step, (batch,) in enumerate(one_ahead(make, range(8), torch.device("cuda"))):
        for _ in range(20):
            work = (work @ work).tanh()  # keeps the device busy while the next batch is sent
        assert batch.state.is_cuda
        assert torch.equal(batch.next_state.cpu(), 2 * content[step].cpu())
