"""Views of one item drawn together, for what can only be asked of several. N rows, P pairs or draws, M views."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_pairs(item: Tensor, per_item: int, generator: torch.Generator) -> Tensor:
    """[P, 2] positions of ordered pairs of two different rows of one item, `per_item` of each item, in random order.

    Every ordered pair of an item's rows is as likely as any other, and may be drawn again.

    Args:
        item: [N] identifiers, as in LabelledData, in any order.
        per_item: pairs of each item, P = items x per_item.
        generator: on the CPU.

    Raises:
        ValueError: when an item has a single row.
    """
    order = item.cpu().argsort(stable=True)
    _, counts = item.cpu()[order].unique_consecutive(return_counts=True)
    if (alone := int((counts < 2).sum())) > 0:
        raise ValueError(f"a pair needs two views of an item: {alone} of {len(counts)} items have one view only")
    first_row = (counts.cumsum(0) - counts).repeat_interleave(per_item)
    counts = counts.repeat_interleave(per_item)
    place = torch.rand(2, len(counts), generator=generator, dtype=torch.float64)
    x = (place[0] * counts).long()
    y = (x + 1 + (place[1] * (counts - 1)).long()) % counts
    pairs = order[first_row.unsqueeze(1) + torch.stack([x, y], dim=1)]
    return pairs[torch.randperm(len(pairs), generator=generator)].to(item.device)


def draw_views(item: Tensor, num_views: int, per_item: int, generator: torch.Generator) -> Tensor:
    """[P, M] positions of M different rows of one item in random order, `per_item` such draws of each item, in random order.

    Args:
        item: [N] identifiers, as in LabelledData, in any order.
        num_views: M.
        per_item: draws of each item, P = items x per_item.
        generator: on the CPU.

    Raises:
        ValueError: when an item has fewer than M rows.
    """
    order = item.cpu().argsort(stable=True)
    _, counts = item.cpu()[order].unique_consecutive(return_counts=True)
    if (few := int((counts < num_views).sum())) > 0:
        raise ValueError(
            f"{few} of {len(counts)} items have fewer than {num_views} views; set num_views to {int(counts.min())} or less"
        )
    first_row = (counts.cumsum(0) - counts).repeat_interleave(per_item)
    counts = counts.repeat_interleave(per_item)
    # The first of as many random keys as the item has rows, sorted, are a random order of its rows.
    keys = torch.rand(len(counts), int(counts.max()), generator=generator)
    keys[torch.arange(keys.shape[1]) >= counts.unsqueeze(1)] = torch.inf
    draws = order[first_row.unsqueeze(1) + keys.argsort(1)[:, :num_views]]
    return draws[torch.randperm(len(draws), generator=generator)].to(item.device)
