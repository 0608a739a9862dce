"""An adapter for arrays of views: every item was seen V times, and the parameters of each view are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace
from contextssl.adapter import ProbeTarget, Split
from contextssl.adapters.items import ItemAdapter, Relative, as_float, checked, digest
from contextssl.adapters.trajectories import distinct_views


class ViewsAdapter(ItemAdapter):
    """Pairs are two different views of one item, in random order.

    Args:
        views: [I, V, *input], V >= 2, of any shape; bytes are read as fractions of 255.
        latents: [I, V, L] parameters of each view, one slice for each group of `actions`.
        actions: the groups that make up the latents.
        targets: per item, I rows each: classes, ages...
        encoder: builds a fresh encoder of [N, *input].
        relative: actions [N, A] from latents t^x and t^y; by the groups' kinds when None.
        shares: fractions of the items for validation and test.
        seed: of the split.
        trajectories: whether every sequence shows one item, all its views in random order before any comes again.

    Raises:
        ValueError: for arrays whose axes do not fit each other, for a nan, and as `ItemAdapter` says.
    """

    def __init__(
        self, views: Tensor, latents: Tensor, actions: ActionSpace, targets: Sequence[ProbeTarget], *, encoder: Callable[[], nn.Module],
        relative: Relative | None = None, shares: tuple[float, float] = (0.15, 0.15), seed: int = 0,
        trajectories: bool = False,
    ) -> None:  # fmt: skip
        expected = [*views.shape[:2], actions.latent_dim]
        if views.ndim < 3 or views.shape[1] < 2 or list(latents.shape) != expected:
            raise ValueError(
                f"expected views [I, V, *input] with V >= 2 and latents [I, V, {actions.latent_dim}], "
                f"found {list(views.shape)} and {list(latents.shape)}"
            )
        self._views, self._latents = checked("views", views, 3), checked("latents", latents, 3).float()
        super().__init__(
            actions, targets, num_items=len(views), encoder=encoder, relative=relative, shares=shares, seed=seed,
            digest=digest(views, latents), trajectories=trajectories,
        )  # fmt: skip

    def pairs(self, items: Tensor, split: Split, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Two different views of each item."""
        num_views = self._views.shape[1]
        first = torch.randint(num_views, (len(items),), generator=draws)
        second = (first + torch.randint(1, num_views, (len(items),), generator=draws)) % num_views
        x, y = as_float(self._views[items, first]), as_float(self._views[items, second])
        return x, self._latents[items, first], y, self._latents[items, second]

    def views_in_a_row(self, item: Tensor, num_views: int, split: Split, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Different views of the item, as long as there are enough."""
        chosen = distinct_views(self._views.shape[1], num_views, draws)
        return as_float(self._views[item, chosen]), self._latents[item, chosen]

    def views(self, items: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """All views of the items."""
        rows = items.repeat_interleave(self._views.shape[1])
        return as_float(self._views[items]).flatten(0, 1), self._latents[items].flatten(0, 1), rows
