"""From the host to the device without either waiting for the other."""

from __future__ import annotations

import torch
from torch import Tensor


def send(values: Tensor, device: torch.device | str) -> Tensor:
    """Values on the device: the copy takes its turn there, and the host goes on at once.

    A copy from ordinary memory makes the host wait until the device has finished all it was asked to do; one from
    pinned memory does not. Values that are on the device already are returned as they are.
    """
    pinned = values.device.type == "cpu" and torch.device(device).type == "cuda"
    return (values.pin_memory() if pinned else values).to(device, non_blocking=True)
