"""A whole evaluation against the loop that encodes every image again in every epoch of every probe.

Both read the action between two views from the two embeddings (protocol 6.4), in three environments and after five context
lengths. The loop is that of the released evaluation (protocol 11.13): the frozen encoder stands in the probes' training loop,
once for each environment, for 200 epochs; it is given our cached queries. One epoch in one environment is measured and
multiplied. The released code draws one pair of each object in an epoch; that is reported beside the loop over all images.
Images and weights are noise: neither changes the time much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from peers.contestant import Settings
from peers.our_steps import ACTIONS, method_of
from speed_parts.turns import Effort, clocked, in_turns, summary
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.adapter import Split
from contextssl.adapters import ViewsAdapter, relative_action
from contextssl.evaluation.controls import Control
from contextssl.evaluation.embeddings import Cell, EmbeddingBank
from contextssl.evaluation.probe import LinearProbe, MLPProbe
from contextssl.evaluation.relative import RelativeProtocol
from contextssl.method import ContextualMethod
from contextssl.models.heads import mlp

LENGTHS = (0, 2, 14, 30, 126)
EPOCHS = 200  # of the paper's relative probes (protocol 6.4)
PAIRS_AT_ONCE = 256


@dataclass(frozen=True)
class Sizes:
    """Objects, views of each, pixels, widths of the loop's probe of rotations, and where."""

    objects: int = 128
    views: int = 16
    side: int = 64
    hidden_dims: tuple[int, ...] = (1024, 1024)
    device: str = "cpu"


def evaluation(sizes: Sizes, effort: Effort) -> dict[str, Any]:
    """Seconds of ours and of the loop, images that either encodes, and ratios.

    Raises:
        AssertionError: if both do not embed alike.
    """
    adapter = noise(sizes)
    torch.manual_seed(0)
    method = method_of(adapter.build_encoder(), ["method=context_ssl/default"]).to(sizes.device).eval()
    assert isinstance(method, ContextualMethod)
    loop = ReEncodingLoop(method, adapter, sizes)
    loop.check()
    images = counted(method.encoder, partial(ours, method, adapter))
    images_of_epoch = counted(method.encoder, loop.epoch)
    seconds = in_turns(
        {"ours": clocked(partial(ours, method, adapter), sizes.device), "epoch": clocked(loop.epoch, sizes.device)},
        effort, warm_up=False,
    )  # fmt: skip
    epochs, pairs = EPOCHS * len(adapter.actions.environments), images_of_epoch // 2
    slow, fast = epochs * median(seconds["epoch"]), median(seconds["ours"])
    released = loop.num_objects / pairs
    return {
        "ours": summary(seconds["ours"]) | {"images_encoded": images},
        "one_epoch_in_one_environment": summary(seconds["epoch"]) | {"images_encoded": images_of_epoch},
        "multiplied_by": epochs,
        "all_images_in_every_epoch": {
            "seconds": round(slow, 1), "images_encoded": epochs * images_of_epoch,
            "over_ours": round(slow / fast, 1), "images_over_ours": round(epochs * images_of_epoch / images, 1),
        },
        "one_pair_of_each_object_in_every_epoch": {
            "seconds": round(released * slow, 1), "images_encoded": 2 * epochs * loop.num_objects,
            "over_ours": round(released * slow / fast, 1), "images_over_ours": round(2 * epochs * loop.num_objects / images, 1),
        },
    }  # fmt: skip


def noise(sizes: Sizes) -> ViewsAdapter:
    """Objects of noise with rotations and hues of noise, and ResNet-18."""
    draws = torch.Generator().manual_seed(0)
    shape = (sizes.objects, sizes.views)
    views = torch.randint(256, (*shape, 3, sizes.side, sizes.side), dtype=torch.uint8, generator=draws)
    rotation = F.normalize(torch.randn(*shape, 4, generator=draws), dim=-1)
    latents = torch.cat([rotation, torch.rand(*shape, 2, generator=draws)], dim=-1)
    settings = Settings(images=0, side=sizes.side, device=sizes.device)
    return ViewsAdapter(views, latents, ACTIONS, [], encoder=lambda: settings.prepared(settings.encoder()))


def ours(method: ContextualMethod, adapter: ViewsAdapter) -> int:
    """Number of results of a fresh bank: every environment and length, linear and MLP probes."""
    bank = EmbeddingBank(method, adapter, context_lengths=LENGTHS, context_draws=1, controls=())
    return len(list(RelativeProtocol(probes=(LinearProbe(), MLPProbe()))(bank)))


class ReEncodingLoop:
    """Probes of the relative action, with the encoder in their training loop.

    Args:
        method: frozen.
        adapter: its training rows are what is encoded, each once in an epoch.
        sizes: widths of the probes, and where.
    """

    def __init__(self, method: ContextualMethod, adapter: ViewsAdapter, sizes: Sizes) -> None:
        self.method, self.device = method, sizes.device
        data = adapter.labelled(Split.TRAIN)
        self.images, self.latent, self.num_objects = data.inputs, data.latent.to(sizes.device), len(data.item.unique())
        # Neighbouring rows are views of one object, so that every two of them are a pair.
        self.pairs = torch.arange(len(data)).view(-1, 2)
        self.bank = EmbeddingBank(method, adapter, context_lengths=LENGTHS, context_draws=1, controls=())
        told = adapter.actions.environments[0].name
        self.cells = [Cell(told, Control.TRUE, length, 0) for length in LENGTHS]
        self.after = [self.bank.conditioned(cell) for cell in self.cells]
        self.probes = nn.ModuleList(self._probe(sizes.hidden_dims) for _ in LENGTHS).to(sizes.device)
        self.optimizer = torch.optim.Adam(self.probes.parameters(), lr=1e-3, fused=True)

    def epoch(self) -> None:
        """One epoch in one environment: every image encoded, queried after every length, and a step of every probe."""
        for pairs in self.pairs.split(PAIRS_AT_ONCE):
            x, y = pairs.to(self.device).unbind(1)
            action = relative_action(ACTIONS, self.latent[x], self.latent[y]).float()
            for embedded, probe in zip(self._embedded(pairs), self.probes, strict=True):
                self.optimizer.zero_grad()
                rotation, color = probe
                F.mse_loss(torch.cat([rotation(embedded), color(embedded)], dim=1), action).backward()
                self.optimizer.step()

    def check(self) -> None:
        """Raise AssertionError unless the loop embeds as the bank does."""
        pairs = self.pairs[:8]
        for cell, embedded in zip(self.cells, self._embedded(pairs), strict=True):
            expected = self.bank.embeddings(cell, Split.TRAIN)[pairs.to(self.device)].flatten(1)
            torch.testing.assert_close(embedded, expected, atol=1e-4, rtol=1e-3)

    def _embedded(self, pairs: Tensor) -> list[Tensor]:
        """For every length [P, 2E] both embeddings of pairs [P, 2]."""
        with torch.no_grad():
            x, y = (self.method.represent(self.images[rows].to(self.device)) for rows in pairs.unbind(1))
            return [torch.cat([after.embed_features(x), after.embed_features(y)], dim=1) for after in self.after]

    def _probe(self, hidden_dims: tuple[int, ...]) -> nn.ModuleList:
        """An MLP for rotations and a linear layer for colours."""
        width = 2 * self.after[0].transformer.read_out.out_features
        return nn.ModuleList([mlp(width, hidden_dims, 4), nn.Linear(width, 2)])


def counted(encoder: nn.Module, function: Callable[[], object]) -> int:
    """How many images go through the encoder while the function runs."""
    images: list[int] = []
    handle = encoder.register_forward_hook(lambda _, inputs, __: images.append(len(inputs[0])))
    function()
    handle.remove()
    return sum(images)
