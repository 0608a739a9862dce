"""SimCLR of `solo-learn`: its loss, its head (linear, ReLU, linear) and the order of its step, without its online classifier.

The release on the package index pins torch 1.9.1, and the whole package imports a pytorch-lightning of that time. Its loss
needs torch alone, so its file is loaded by itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path

from peers.contestant import Contestant, Settings, serve, simclr
from torch import Tensor, nn


def loss_function() -> Callable[..., Tensor]:
    """`solo.losses.simclr.simclr_loss_func`."""
    package = importlib.util.find_spec("solo")
    assert package is not None and package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "losses" / "simclr.py"
    found = importlib.util.spec_from_file_location("solo_losses_simclr", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    function: Callable[..., Tensor] = module.simclr_loss_func
    return function


def build(settings: Settings) -> Contestant:
    """Its head and its loss."""
    hidden_dim, out_dim = settings.projector_dims
    head = nn.Sequential(nn.Linear(512, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))
    return simclr(settings, head, partial(loss_function(), temperature=settings.temperature), ("solo-learn",))


if __name__ == "__main__":
    serve(build)
