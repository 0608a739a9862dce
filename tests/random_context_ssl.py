"""A small ContextSSL with random weights, items whose features are their numbers, and what comes out of its steps."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from seeded_noise import noise
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.batch import Transitions
from contextssl.losses.contrastive import all_negatives
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.models.transformer import ContextTransformer

SPACE = ActionSpace(
    [Group("pose", 4, 4, Kind.QUATERNION, ""), Group("hue", 2, 2, Kind.CIRCULAR, "")],
    action_scale=torch.tensor([0.5, 0.5, 0.5, 0.5, 2.0, 4.0]),
    latent_mean=torch.tensor([0.0, 0, 0, 0.5, 1, 2]),
    latent_scale=torch.tensor([1.0, 1, 1, 2, 3, 4]),
)
FEATURES_DIM = 5


class Columns(nn.Module):
    """Features are the item's numbers, so that tests can say what a token must hold."""

    out_dim = FEATURES_DIM

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def transitions(num_sequences: int = 3, length: int = 4, seed: int = 0) -> Transitions:
    return Transitions(*(
        noise(num_sequences, length, *rest, seed=seed + i) for i, rest in enumerate([(FEATURES_DIM,), (6,), (FEATURES_DIM,), (2, 6)])
    ))  # fmt: skip


def build(
    environments: dict[str, float] | None = None, num_layers: int = 2, num_heads: int = 2, seed: int = 0, **settings: Any
) -> ContextSSL:
    """A ContextSSL with random weights of order one, so that nothing is small by initialisation."""
    settings = {
        "contrastive": all_negatives,
        "auxiliary_dims": (8,),
        "auxiliary_weight": 1.0,
        "mask_probabilities": (0.5,),
    } | settings
    method = ContextSSL(
        Columns(), SPACE, transformer=partial(ContextTransformer, width=8, num_layers=num_layers, num_heads=num_heads),
        environments=EnvironmentSampler(environments or {"pose": 0.5, "hue": 0.5}), **settings,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    for parameter in method.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4
    method.encoder.scale.data.fill_(1.0)
    return method.eval()


def terms_of(method: ContextSSL, batch: Transitions, seed: int = 0) -> dict[str, Tensor]:
    return method.loss_terms(batch, torch.Generator().manual_seed(seed))


def outputs_of(method: ContextSSL, batch: Transitions, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The transformer's tokens and outputs [B, S, E] inside one step."""
    seen = []
    handle = method.transformer.register_forward_hook(lambda module, arguments, output: seen.append((arguments[0], output)))
    with torch.no_grad():
        terms_of(method, batch, seed)
    handle.remove()
    return seen[0]
