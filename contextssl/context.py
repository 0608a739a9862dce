"""A context that has been run once, and everything one may ask of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from contextssl.actions import Environment
from contextssl.models.transformer import ContextTransformer, Prefix


@dataclass(frozen=True)
class ConditionedEncoder:
    """An encoder conditioned on one context of `length` tokens, told the groups of `environment`.

    Its prefix cache holds keys and values of the context once, whatever the number of queries; shorter contexts are
    slices of it. Get one from `ContextualMethod.condition`.

    Attributes:
        environment: the groups whose actions the context (and a query's action) shows.
        length: number of context tokens, even.
        encode: context-free encoder, items [N, *input] -> features [N, D].
        token: features [1, N, D] and actions [1, N, A] or None -> query tokens [1, N, in_dim], hiding what is not told.
        transformer: the context transformer.
        cache: its keys and values, one sequence.
        step: width of one quantisation step, or None for full precision (docs/notebook.md, finite precision).
        levels: number of quantisation levels on either side of zero.
    """

    environment: Environment
    length: int
    encode: Callable[[Tensor], Tensor]
    token: Callable[[Tensor, Tensor | None], Tensor]
    transformer: ContextTransformer
    cache: Prefix
    step: float | None = None
    levels: int = 0

    def embed(self, x: Tensor, action: Tensor | None = None) -> Tensor:
        """Unit-norm embeddings [N, E] of items [N, *input]; with actions [N, A], of what they predict."""
        return self.embed_features(self.encode(x), action)

    def embed_features(self, features: Tensor, action: Tensor | None = None) -> Tensor:
        """`embed` for items already encoded, features [N, D]."""
        tokens = self.token(features[None], None if action is None else action[None])
        embedding = F.normalize(self.transformer.query(tokens, self.cache)[0], dim=-1)
        if self.step is None:
            return embedding
        return (embedding / self.step).round().clamp(-self.levels, self.levels) * self.step

    def shortened(self, length: int) -> ConditionedEncoder:
        """The same context cut to its first `length` tokens, on the same cache.

        Raises:
            ValueError: for an odd length (a context is made of pairs) or one beyond the context.
        """
        if length % 2 or not 0 <= length <= self.length:
            raise ValueError(f"context length: expected an even number from 0 to {self.length}, found {length}")
        cache = [(key[:, :, :length], value[:, :, :length]) for key, value in self.cache]
        return replace(self, length=length, cache=cache)

    def quantised(self, bits: int, calibration: Tensor) -> ConditionedEncoder:
        """The same encoder with embeddings of `bits` bits a dimension: uniform steps around zero, one scale for all.

        Args:
            bits: 2 to 16; 2**bits - 1 levels.
            calibration: [M, E] embeddings of this context; their 99.9 % quantile of magnitude is the largest level.
        """
        if not 2 <= bits <= 16:
            raise ValueError(f"bits: expected 2 to 16, found {bits}")
        magnitude = calibration.abs().flatten().float()
        largest = magnitude.kthvalue(max(1, round(0.999 * magnitude.numel()))).values.item()
        levels = 2 ** (bits - 1) - 1
        return replace(self, step=largest / levels, levels=levels)


def interleave(x_tokens: Tensor, y_tokens: Tensor) -> Tensor:
    """[B, T, D] and [B, T, D] -> [B, 2T, D] in the order X_0, Y_0, X_1, Y_1, ..."""
    return torch.stack([x_tokens, y_tokens], dim=2).flatten(1, 2)
