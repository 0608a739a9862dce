"""The context transformer: decoder-only, pre-norm, no positional embedding (protocol 2.2, 2.3).

It has two entrances. `forward` runs whole sequences under a mask; `prefix` and `query` run a context once and then
any number of queries against its keys and values, which are shared by all queries and never copied (protocol 2.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Prefix = list[tuple[Tensor, Tensor]]
"""Keys and values [B, heads, c, head width] of c context tokens, one pair a layer."""


class Attention(nn.Module):
    """Multi-head self-attention with one joint projection for queries, keys and values."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"transformer width {width} is not a multiple of its {num_heads} heads")
        self.num_heads = num_heads
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, S, width] -> queries, keys and values, each [B, heads, S, head width]."""
        query, key, value = self.project_in(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return query, key, value

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attention within one sequence; mask [S, S] or [B, S, S], True where a row may attend."""
        mask = mask if mask.ndim == 2 else mask.unsqueeze(1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        merged: Tensor = self.project_out(mixed.transpose(1, 2).flatten(2))
        return merged

    def to_prefix(
        self, query: Tensor, key: Tensor, value: Tensor, prefix_key: Tensor, prefix_value: Tensor, seen: Tensor | None
    ) -> Tensor:
        """Attention of every token [B, heads, Q, head width] to the seen prefix and to itself, to no other token."""
        scale = query.shape[-1] ** -0.5
        to_context = query @ prefix_key.transpose(-1, -2)
        if seen is not None:
            to_context = to_context.masked_fill(~seen[:, None, None, :], -torch.inf)
        to_itself = (query * key).sum(-1, keepdim=True)
        share = torch.cat([to_context, to_itself], dim=-1).mul(scale).softmax(-1)
        mixed = share[..., :-1] @ prefix_value + share[..., -1:] * value
        merged: Tensor = self.project_out(mixed.transpose(1, 2).flatten(2))
        return merged


class Block(nn.Module):
    """Pre-norm attention and MLP, each on a residual branch."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of normalised tokens."""
        return self.attention.heads(self.norm_attention(x))

    def forward(
        self, x: Tensor, mask: Tensor | None = None, prefix: tuple[Tensor, Tensor] | None = None, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The block's output [B, S, width], and its keys and values.

        Tokens attend to each other under the mask or, given a prefix's keys and values, to those and to themselves.
        """
        query, key, value = self.heads(x)
        if prefix is None:
            assert mask is not None
            attended = self.attention(query, key, value, mask)
        else:
            attended = self.attention.to_prefix(query, key, value, *prefix, seen)
        x = x + attended
        update: Tensor = self.mlp_out(F.gelu(self.mlp_in(self.norm_mlp(x))))
        return x + update, key, value


class ContextTransformer(nn.Module):
    """Maps tokens [B, S, in_dim] to outputs [B, S, out_dim]; S is free.

    Args:
        in_dim: width of a token: features and told action side by side.
        out_dim: width of an output; it is not normalised here.
        width: model width, a multiple of `num_heads`.
        num_layers: number of blocks.
        num_heads: attention heads.
        fan_in_init: initialise read-in and read-out by fan-in instead of N(0, 0.02^2). With the latter, small
            encoders start with nearly constant outputs and collapse (docs/notebook.md).
    """

    def __init__(
        self, in_dim: int, out_dim: int, *, width: int = 2048, num_layers: int = 3, num_heads: int = 4, fan_in_init: bool = False
    ) -> None:
        super().__init__()
        self.read_in = nn.Linear(in_dim, width)
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)
        self.read_out = nn.Linear(width, out_dim)
        self._initialise(fan_in_init)

    def _each_block(self) -> Iterator[Block]:
        for block in self.blocks:
            assert isinstance(block, Block)
            yield block

    def _initialise(self, fan_in_init: bool) -> None:
        """GPT-2's initialisation: N(0, 0.02^2), residual-branch outputs scaled down by the square root of 2 layers."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                residual = name.endswith(("project_out", "mlp_out"))
                scale = 0.02 / math.sqrt(2 * len(self.blocks)) if residual else 0.02
                if fan_in_init and module in (self.read_in, self.read_out):
                    scale = module.in_features**-0.5
                nn.init.normal_(module.weight, std=scale)
                nn.init.zeros_(module.bias)

    def compile(self, *arguments: Any, **named: Any) -> None:
        """Compile the blocks, which all entrances share."""
        for block in self.blocks:
            block.compile(*arguments, **named)

    def forward(self, tokens: Tensor, masks: list[Tensor]) -> Tensor:
        """Outputs [B, S, out_dim] of tokens [B, S, in_dim] under one mask [S, S] or [B, S, S] per layer."""
        x = self.read_in(tokens)
        for block, mask in zip(self._each_block(), masks, strict=True):
            x, _, _ = block(x, mask)
        output: Tensor = self.read_out(self.norm(x))
        return output

    def prefix(self, tokens: Tensor, mask: Tensor, added: Tensor | None = None) -> tuple[Prefix, Tensor]:
        """Keys and values of context tokens [B, c, in_dim], and their last hidden states [B, c, width].

        With a causal mask the keys and values of every shorter context are a slice of these. `added` [B, c, width]
        joins the read-in tokens where a context token carries more than `in_dim` numbers.
        """
        x, kept = self.read_in(tokens), []
        x = x if added is None else x + added
        for block in self._each_block():
            x, key, value = block(x, mask)
            # Copies: views would keep the projection they are parts of, queries included.
            kept.append((key.clone(), value.clone()))
        return kept, self.norm(x)

    def query(self, tokens: Tensor, prefix: Prefix, seen: Tensor | None = None) -> Tensor:
        """Outputs [B, Q, out_dim] of tokens [B, Q, in_dim], each seeing the prefix and itself only.

        `seen` [B, c] tells which prefix tokens each sequence's queries see; all when None.
        """
        x = self.read_in(tokens)
        for block, keys_and_values in zip(self._each_block(), prefix, strict=True):
            x, _, _ = block(x, prefix=keys_and_values, seen=seen)
        output: Tensor = self.read_out(self.norm(x))
        return output
