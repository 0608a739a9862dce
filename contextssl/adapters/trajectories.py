"""Sequences of one item: what methods that watch an item through several of its views are trained on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from contextssl.batch import Transitions


def trajectory(views: Tensor, latent: Tensor, relative: Callable[[Tensor, Tensor], Tensor]) -> Transitions:
    """One sequence [1, T, ...] of the transitions from each of T + 1 views of an item to the next.

    So `next_state[:, t]` is `state[:, t + 1]`, and latents alike.

    Args:
        views: [T + 1, *input].
        latent: [T + 1, L].
        relative: actions [T, A] from the latents [T, L] of both views, as `relative_action`.
    """
    t_x, t_y = latent[:-1], latent[1:]
    return Transitions(views[None, :-1], relative(t_x, t_y)[None], views[None, 1:], torch.stack([t_x, t_y], dim=1)[None])


def distinct_views(num_views: int, count: int, draws: torch.Generator) -> Tensor:
    """[count] views of 0..num_views-1 in random order, over again in that order when there are fewer than `count`."""
    order = torch.randperm(num_views, generator=draws)
    return order.repeat(-(-count // num_views))[:count]
