"""Activation checkpointing: activations are computed twice instead of kept (Chen et al. 2016, arXiv 1604.06174)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_activations(block: nn.Module) -> None:
    """Let a block forget its activations in training and compute them again in backward.

    Outputs, gradients and statistics of batch norms are those without it, to the bit; names in the state dict do not
    change.
    """
    block.forward = partial(_recomputed, block)  # an attribute of the object: its class stays as it is


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of `nn.Sequential` and `nn.ModuleList` that have parts of their own: residual blocks, transformer layers."""
    for child in module.children():
        if isinstance(module, nn.Sequential | nn.ModuleList) and _is_block(child):
            yield child
        else:
            yield from blocks(child)


def _is_block(module: nn.Module) -> bool:
    return not isinstance(module, nn.Sequential | nn.ModuleList) and any(True for _ in module.children())


def _recomputed(block: nn.Module, *arguments: Any, **named: Any) -> Any:
    forward = partial(type(block).forward, block)
    if not block.training:
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, context_fn=partial(_passes, block), **named)


def _passes(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _buffers_kept(block)


@contextmanager
def _buffers_kept(block: nn.Module) -> Iterator[None]:
    """A second look at the same batch moves no running statistics."""
    kept = [(owner, name, buffer) for owner in block.modules() for name, buffer in owner.named_buffers(recurse=False)]
    for owner, name, buffer in kept:
        setattr(owner, name, buffer.clone())
    try:
        yield
    finally:
        for owner, name, buffer in kept:
            setattr(owner, name, buffer)
