"""Contexts whose actions lie, to see whether a model reads the values of actions or only which ones are filled."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from contextssl.actions import ActionSpace, Environment, Kind


class Control(StrEnum):
    """What a context's actions are."""

    TRUE = "true"  # the actions as they happened
    SHUFFLED = "shuffled"  # permuted among the context's pairs
    NOISE = "noise"  # drawn at random, of the same size in the same coordinates
    WRONG_GROUP = "wrong-group"  # true, but told in another group's coordinates
    EMPTY = "empty"  # no context at all


def shuffled_actions(action: Tensor, generator: torch.Generator) -> Tensor:
    """Actions [B, T, A] moved to other pairs along one random cycle, so that no pair keeps its own unless T is 1.

    Where actions repeat (switches) a pair may still receive an equal one.
    """
    order = torch.randperm(action.shape[1], generator=generator).to(action.device)
    moved = torch.empty_like(action)
    moved[:, order] = action[:, order.roll(1)]
    return moved


def noise_actions(action: Tensor, actions: ActionSpace, generator: torch.Generator) -> Tensor:
    """Random actions [B, T, A] that say nothing about their pairs.

    Switches keep valid codes: each pair gets the code of another pair, drawn with replacement. All other coordinates
    are N(0, rms^2), rms being the root mean square of that coordinate in this context.
    """
    rms = action.square().mean(1, keepdim=True).sqrt()
    noise = torch.randn(action.shape, generator=generator).to(action) * rms
    length = action.shape[1]
    offset = torch.randint(1, max(2, length), (length,), generator=generator)
    other = ((torch.arange(length) + offset) % max(1, length)).to(action.device)
    for group in actions.groups:
        if group.kind is Kind.SWITCH:
            columns = actions.action_slice(group.name)
            noise[..., columns] = action[:, other][..., columns]
    return noise


def wrong_environment(environment: Environment, actions: ActionSpace) -> Environment | None:
    """The environment of the next group that is not told; None when nothing or everything is told."""
    if not environment.groups:
        return None
    start = actions.names.index(environment.groups[-1])
    others = [name for name in actions.names[start:] + actions.names[:start] if name not in environment.groups]
    return Environment((others[0],)) if others else None
