"""The learning rate and the momentum as functions of the step: nothing to save, nothing to get out of step on resume."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def warmup_cosine(step: int, *, num_steps: int, warmup_steps: int = 0, final_fraction: float = 0.0) -> float:
    """The fraction of the base learning rate used for step 0..num_steps-1.

    It rises in a straight line to 1 over `warmup_steps` (their last one already has the full rate), then falls along
    half a cosine that would reach `final_fraction` at step num_steps (Loshchilov & Hutter 2017, eq. 5).
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, num_steps - warmup_steps))
    return final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))


def cosine_momentum(step: Tensor, *, num_steps: int, start: float) -> Tensor:
    """The momentum [] of a moving average at step [] 0..num_steps: from `start` up to 1 along half a cosine, then 1.

    Grill et al. 2020 (BYOL), Section 3.2. Where the step is counted on a device, the momentum is known there too.
    """
    progress = (step.double() / num_steps).clamp_max(1.0)
    return 1 - (1 - start) * 0.5 * (1 + torch.cos(math.pi * progress))
