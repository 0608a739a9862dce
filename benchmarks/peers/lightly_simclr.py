"""SimCLR from the parts of `lightly`, as its documentation puts them together (docs.lightly.ai/self-supervised-learning)."""

from __future__ import annotations

from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from peers.contestant import Contestant, Settings, serve, simclr


def build(settings: Settings) -> Contestant:
    """Its head of two layers and its loss."""
    hidden_dim, out_dim = settings.projector_dims
    head = SimCLRProjectionHead(512, hidden_dim, out_dim)
    return simclr(settings, head, NTXentLoss(temperature=settings.temperature), ("lightly",))


if __name__ == "__main__":
    serve(build)
