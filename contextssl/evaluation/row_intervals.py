"""How sure a score is, given the rows it was measured on: 95 % intervals in closed form, batched over leading cell axes.

They hold for rows of different items, drawn independently. None of them shrinks to nothing where a class has a few rows that are
all right, as resampling would. N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Z = 1.959963984540054  # of a two-sided 95 % interval
Bounds = tuple[Tensor, Tensor]
IntervalOf = Callable[[Tensor, Tensor], Bounds]
"""(truth [N], prediction or score [..., N]) -> lower and upper bounds [...]."""


def accuracy_interval(truth: Tensor, prediction: Tensor) -> Bounds:
    """Wilson's interval (1927) for the share [...] of labels [..., N] equal to the truth [N]."""
    return wilson((prediction == truth).double().mean(-1), len(truth))


def balanced_accuracy_interval(truth: Tensor, prediction: Tensor) -> Bounds:
    """Bounds [...] of the mean recall, from Wilson's for the recall of each class (Zou and Donner 2008, square-and-add)."""
    hit, squares = (prediction == truth).double(), []
    classes = truth.unique()
    for label in classes:
        share = hit[..., truth == label].mean(-1)
        low, high = wilson(share, int((truth == label).sum()))
        squares.append(torch.stack([share, (share - low).square(), (high - share).square()]))
    mean, below, above = torch.stack(squares).mean(0)
    reach = len(classes) ** -0.5  # of the mean of K independent shares: the root of the sum of squares, over K
    return mean - below.sqrt() * reach, mean + above.sqrt() * reach


def auroc_interval(truth: Tensor, score: Tensor) -> Bounds:
    """Bounds [...] of the AUROC of scores [..., N] for classes 0 and 1 [N], ties counting half; nan with under two rows of a class.

    DeLong's variance (DeLong et al. 1988) on the log-odds scale (Pepe 2003, 5.2.4), which keeps bounds inside of 0 and 1. Where
    the variance is 0, the classes being apart, Wilson's interval for as many trials as the smaller class has rows: a row's place
    among the other class is a number in [0, 1], and none varies more than a coin.
    """
    positive, negative = score[..., truth == 1].contiguous(), score[..., truth == 0].contiguous()
    num_positive, num_negative = positive.shape[-1], negative.shape[-1]
    if min(num_positive, num_negative) < 2:
        return (nothing := torch.full(score.shape[:-1], torch.nan, dtype=torch.float64, device=score.device)), nothing
    above, below = _places(positive, negative), 1 - _places(negative, positive)
    area, variance = above.mean(-1), above.var(-1) / num_positive + below.var(-1) / num_negative
    inside = area.clamp(1e-12, 1 - 1e-12)
    reach = Z * variance.sqrt() / (inside * (1 - inside))
    apart = wilson(area, min(num_positive, num_negative))
    found = ((inside.logit() - reach).sigmoid(), (inside.logit() + reach).sigmoid())
    low, high = (torch.where(variance > 0, own, other) for own, other in zip(found, apart, strict=True))
    return low, high


def wilson(share: Tensor, trials: int) -> Bounds:
    """Wilson's interval (1927) for shares [...] of so many trials."""
    weight = Z**2 / trials
    centre = (share + weight / 2) / (1 + weight)
    reach = Z / (1 + weight) * (share * (1 - share) / trials + weight / (4 * trials)).sqrt()
    # Rounding must not leave a share of 0 or 1 outside.
    return torch.minimum((centre - reach).clamp_min(0), share), torch.maximum((centre + reach).clamp_max(1), share)


def _places(own: Tensor, others: Tensor) -> Tensor:
    """[..., P] share of the others [..., Q] that each of the own scores [..., P] is above, ties counting half."""
    ranked = others.sort(-1).values
    below, not_above = (torch.searchsorted(ranked, own, right=right) for right in (False, True))
    return (below + not_above).double() / 2 / others.shape[-1]
