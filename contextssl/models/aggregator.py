"""From the tokens of several observations of an item to one vector, whatever their order (Ghaemi et al. 2025; protocol 7.7)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.distributed import rank


class Aggregator(nn.Module):
    """A transformer encoder with a learned aggregate token: [N, M, in_dim] -> [N, out_dim].

    Post-norm, ReLU, no mask, no positional embedding, a LayerNorm at the end: torch's own layers with their defaults.

    Args:
        in_dim: width of a token; `out_dim` is the next multiple of `num_heads`, tokens are padded with zeros to it.
        num_layers: transformer layers.
        num_heads: attention heads.
        dropout: probability, in training.
    """

    def __init__(self, in_dim: int, *, num_layers: int = 3, num_heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.padding = -in_dim % num_heads
        self.out_dim = in_dim + self.padding
        layer = nn.TransformerEncoderLayer(self.out_dim, num_heads, 4 * self.out_dim, dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, num_layers, nn.LayerNorm(self.out_dim), enable_nested_tensor=False)
        self.aggregate_token = nn.Parameter(torch.zeros(self.out_dim))

    def forward(self, tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The aggregate token's output; in training, dropout draws from the (CPU) generator."""
        tokens = torch.cat([self.aggregate_token.expand(len(tokens), 1, -1), F.pad(tokens, (0, self.padding))], dim=1)
        if generator is None:
            return self._aggregate(tokens)
        with _global_stream_from(generator, tokens.device):
            return self._aggregate(tokens)

    def _aggregate(self, tokens: Tensor) -> Tensor:
        outputs: Tensor = self.layers(tokens)
        return outputs[:, 0]


@contextmanager
def _global_stream_from(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """For what can only draw from torch's global stream: seed it from the generator, and put it back afterwards.

    Processes draw differently: their rows are different ones.
    """
    seed = int(torch.randint(2**62, (), generator=generator)) + rank()
    forked, kind = ([], "cuda") if device.type == "cpu" else ([device], device.type)
    with torch.random.fork_rng(forked, device_type=kind):
        torch.manual_seed(seed)
        yield
