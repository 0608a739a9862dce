"""Queries after a context: with its prefix cache and without, and the memory that a context takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import torch
from peers.our_steps import ACTIONS, method_of
from speed_parts.turns import Effort, clocked, in_turns, memory_of, summary
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.batch import Transitions
from contextssl.context import interleave
from contextssl.methods.context_ssl import ContextSSL
from contextssl.models.masks import pair_mask
from contextssl.models.transformer import Prefix

FEATURES_DIM = 512
LONGEST = 126


@dataclass(frozen=True)
class Queried:
    """A method that is queried.

    Attributes:
        overrides: its configuration.
        num_cached, num_uncached: queries of one round.
        piece: queries that go through the cached encoder at once.
    """

    overrides: tuple[str, ...]
    num_cached: int
    num_uncached: int
    piece: int = 1024


METHODS = {
    "default": Queried(("method=context_ssl/default",), num_cached=4096, num_uncached=128),
    "reference": Queried(("method=context_ssl/reference",), num_cached=512, num_uncached=4),
}


@dataclass(frozen=True)
class Sizes:
    """What is queried: methods by name, context lengths, and batches of queries whose memory is measured."""

    methods: dict[str, Queried] = field(default_factory=METHODS.copy)
    lengths: tuple[int, ...] = (2, 14, 30, LONGEST)
    kept: Queried = METHODS["reference"]
    query_batches: tuple[int, ...] = (1, 256, 4096)
    device: str = "cpu"
    threads: int = 1


class Case:
    """A method over features, a context and queries, on a device."""

    def __init__(self, queried: Queried, device: str) -> None:
        torch.manual_seed(0)
        encoder = nn.Identity()
        encoder.out_dim = FEATURES_DIM
        method = method_of(encoder, list(queried.overrides)).to(device).eval()
        assert isinstance(method, ContextSSL)
        self.method, self.queried, self.environment = method, queried, ACTIONS.environment("rotation")
        shape = (1, LONGEST // 2)
        states, next_states = torch.randn(2, *shape, FEATURES_DIM)
        self.context = Transitions(states, torch.randn(*shape, 6), next_states, torch.randn(*shape, 2, 6)).to(device)
        self.queries = torch.randn(queried.num_cached, FEATURES_DIM).to(device)

    @torch.inference_mode()
    def cached(self, length: int) -> Tensor:
        """All queries after a context of that length, which is run once and within the measured time."""
        conditioned = self.method.condition_features(self.context.first(length // 2), self.environment)
        return torch.cat([conditioned.embed_features(rows) for rows in self.queries.split(self.queried.piece)])

    @torch.inference_mode()
    def uncached(self, length: int) -> Tensor:
        """A few queries, each with the whole context before it."""
        method, context = self.method, self.context.first(length // 2)
        told = context.action * ACTIONS.action_mask(self.environment).to(context.action.device)
        presence = told.new_tensor([[1.0, -1.0]])
        tokens = interleave(method.tokens(context.state, told, presence), method.tokens(context.next_state))
        evidence = tokens.new_zeros(1, length, method.transformer.read_in.out_features)
        if method.evidence is not None:
            pair = torch.cat([context.state, context.next_state], dim=-1)
            evidence[:, 1::2] = method.evidence(pair, told * method.action_gain)
        mask, found = pair_mask(length + 1, tokens.device), []
        for rows in self.queries[: self.queried.num_uncached].split(8):
            sequences = torch.cat([tokens.expand(len(rows), -1, -1), method.tokens(rows).unsqueeze(1)], dim=1)
            added = F.pad(evidence, (0, 0, 0, 1)).expand(len(rows), -1, -1)
            _, hidden = method.transformer.prefix(sequences, mask, added)
            found.append(F.normalize(method.transformer.read_out(hidden[:, -1]), dim=-1))
        return torch.cat(found)

    def check(self, length: int) -> None:
        """Raise AssertionError unless both ways give the same embeddings."""
        expected = self.uncached(length)
        torch.testing.assert_close(self.cached(length)[: len(expected)], expected, atol=1e-4, rtol=1e-3)


def queries(sizes: Sizes, effort: Effort) -> dict[str, Any]:
    """Queries a second with and without the cache at every length, for every method; memory at the longest."""
    rows = []
    for name, queried in sizes.methods.items():
        case = Case(queried, sizes.device)
        turns: dict[str, Callable[[], float]] = {}
        for length in sizes.lengths:
            case.check(length)
            for way in (case.cached, case.uncached):
                turns[f"{way.__name__} {length}"] = clocked(partial(way, length), sizes.device)
        seconds = in_turns(turns, Effort(effort.least, effort.most, effort.seconds / len(sizes.methods)))
        for length in sizes.lengths:
            with_cache, without = seconds[f"cached {length}"], seconds[f"uncached {length}"]
            rate = (queried.num_cached / median(with_cache), queried.num_uncached / median(without))
            rows.append({
                "method": name, "context_length": length, "cached": summary(with_cache), "uncached": summary(without),
                "cached_queries_per_second": round(rate[0], 1), "uncached_queries_per_second": round(rate[1], 2),
                "cached_over_uncached": round(rate[0] / rate[1], 1),
            })  # fmt: skip
    longest = max(sizes.lengths)
    memory = {
        name: {
            way: memory_of(one_round, queried, sizes.device, way, longest, device=sizes.device, threads=sizes.threads)
            for way in ("cached", "uncached")
        }
        for name, queried in sizes.methods.items()
    }
    return {"rows": rows, "sizes": {name: vars(queried) for name, queried in sizes.methods.items()}, "memory_mb": memory}


def one_round(queried: Queried, device: str, way: str, length: int) -> Callable[[], object]:
    """One round of one way, ready to run."""
    return partial(getattr(Case(queried, device), way), length)


def context_memory(sizes: Sizes) -> dict[str, Any]:
    """Memory of a context while batches of queries read it: its own growth of the peak, and what copies would take.

    A fresh process each, with the context and without: the difference is the context's. All queries go at once.
    """
    longest = max(sizes.lengths)
    case = Case(sizes.kept, sizes.device)
    conditioned = case.method.condition_features(case.context.first(longest // 2), case.environment)
    kept = megabytes_of(conditioned.cache)
    rows = []
    for batch in sizes.query_batches:
        with_context, without = (
            memory_of(one_batch, sizes.kept, sizes.device, batch, length, device=sizes.device, threads=sizes.threads)
            for length in (longest, 0)
        )
        rows.append({
            "queries": batch, "with_context_mb": with_context, "without_mb": without,
            "context_mb": round(with_context - without, 2), "copies_would_take_mb": round(kept * batch, 1),
        })  # fmt: skip
    transformer = case.method.transformer
    return {
        "context_length": longest,
        "width": transformer.read_in.out_features,
        "num_layers": len(transformer.blocks),
        "keys_and_values_mb": round(kept, 2),
        "rows": rows,
    }


def one_batch(queried: Queried, device: str, batch: int, length: int) -> Callable[[], object]:
    """Run a context and ask it so many queries at once; ready to run."""
    case = Case(queried, device)
    features = torch.randn(batch, FEATURES_DIM).to(device)

    @torch.inference_mode()
    def run() -> object:
        return case.method.condition_features(case.context.first(length // 2), case.environment).embed_features(features)

    return run


def megabytes_of(cache: Prefix) -> float:
    """Of the keys and values, each element once."""
    return sum(tensor.nbytes for pair in cache for tensor in pair) / 2**20
