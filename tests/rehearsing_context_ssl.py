"""A small ContextSSL that rehearses, and what the queries of its steps saw."""

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
from contextssl.methods.rehearsal import Rehearsal
from contextssl.models.transformer import ContextTransformer

SPACE = ActionSpace([Group("turn", 2, 1, Kind.REAL, ""), Group("shift", 1, 2, Kind.REAL, "")])
FEATURES_DIM = 4


class Columns(nn.Module):
    """Features are the item's numbers."""

    out_dim = FEATURES_DIM

    def forward(self, x: Tensor) -> Tensor:
        return x


def batch(num_sequences: int = 3, length: int = 5, seed: int = 0) -> Transitions:
    return Transitions(*(
        noise(num_sequences, length, *rest, seed=seed + i) for i, rest in enumerate([(FEATURES_DIM,), (3,), (FEATURES_DIM,), (2, 3)])
    ))  # fmt: skip


def build(
    environments: dict[str, float] | None = None,
    decoy_share: float = 0.0,
    seed: int = 0,
    method_settings: dict[str, Any] | None = None,
    **settings: Any,
) -> ContextSSL:
    rehearsal = partial(Rehearsal, **({"context_pairs": (3,), "leakage_weight": 0.0} | settings))
    method = ContextSSL(
        Columns(), SPACE, transformer=partial(ContextTransformer, width=8, num_layers=2, num_heads=2), contrastive=all_negatives,
        environments=EnvironmentSampler(environments or {"turn": 0.5, "shift": 0.5}, decoy_share=decoy_share),
        auxiliary_dims=(8,), rehearsal=rehearsal, **(method_settings or {}),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    for parameter in method.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4
    return method


def rehearse(method: ContextSSL, data: Transitions, seed: int = 0) -> tuple[Any, ...]:
    """(tokens, prefix, outputs) of the queries of one step, and its terms."""
    seen, query = [], method.transformer.query

    def recording(tokens: Tensor, prefix: Any, mask: Tensor | None = None) -> Tensor:
        outputs = query(tokens, prefix, mask)
        seen.append((tokens.detach(), prefix, outputs.detach()))
        return outputs

    method.transformer.query = recording
    terms = method.loss_terms(data, torch.Generator().manual_seed(seed))
    method.transformer.query = query
    return (*seen[0], terms)
