"""An adapter for items with a transform: whatever random parameters the transform returns become actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace
from contextssl.adapter import ProbeTarget, Split
from contextssl.adapters.items import ItemAdapter, Relative, as_float, checked, digest

Transform = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(items [N, *item], generator) -> views [N, *input] and the parameters [N, L] drawn for them."""


class TransformedItems(ItemAdapter):
    """Pairs are two transformed versions of one item, drawn afresh for every sequence.

    Args:
        items: [I, *item] of any shape; bytes are read as fractions of 255.
        transform: makes views and returns their parameters; all its randomness comes from the generator.
        actions: the groups that make up the parameters.
        targets: per item, I rows each.
        encoder: builds a fresh encoder of views [N, *input].
        views_per_item: views of each item for probes, drawn once.
        relative: actions [N, A] from parameters t^x and t^y; by the groups' kinds when None.
        shares: fractions of the items for validation and test.
        seed: of the split and of the probes' views.
        trajectories: whether every sequence shows versions of one item.

    Raises:
        ValueError: for a nan in the items, for a transform whose parameters do not fit the groups, and as
            `ItemAdapter` says.
    """

    def __init__(
        self, items: Tensor, transform: Transform, actions: ActionSpace, targets: Sequence[ProbeTarget], *,
        encoder: Callable[[], nn.Module], views_per_item: int = 4, relative: Relative | None = None,
        shares: tuple[float, float] = (0.15, 0.15), seed: int = 0, trajectories: bool = False,
    ) -> None:  # fmt: skip
        self._items, self._transform, self._views_per_item = as_float(checked("items", items, 2)), transform, views_per_item
        super().__init__(
            actions,
            targets,
            num_items=len(items),
            encoder=encoder,
            relative=relative,
            shares=shares,
            seed=seed,
            digest=digest(items),
            trajectories=trajectories,
        )

    def pairs(self, items: Tensor, split: Split, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Two fresh versions of each item."""
        return (*self._transform(self._items[items], draws), *self._transform(self._items[items], draws))

    def views_in_a_row(self, item: Tensor, num_views: int, split: Split, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Fresh versions of the item."""
        return self._transform(self._items[item.expand(num_views)], draws)

    def views(self, items: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """`views_per_item` versions of each item."""
        rows = items.repeat_interleave(self._views_per_item)
        return (*self._transform(self._items[rows], draws), rows)
