"""Signs of collapse in embeddings, and what usually causes them. N rows, E width; rows of x and y are positive pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def alignment(x: Tensor, y: Tensor, alpha: float = 2.0) -> float:
    """Mean distance^alpha between unit-norm positives [N, E]; 0 is perfect (Wang & Isola 2020)."""
    return float((F.normalize(x, dim=-1) - F.normalize(y, dim=-1)).norm(dim=-1).pow(alpha).mean())


def uniformity(x: Tensor, t: float = 2.0) -> float:
    """Log mean exp(-t distance^2) over pairs of unit-norm rows [N, E]; 0 when all are equal (Wang & Isola 2020)."""
    return float(torch.pdist(F.normalize(x, dim=-1)).square().mul(-t).logsumexp(0) - math.log(len(x) * (len(x) - 1) / 2))


def effective_rank(x: Tensor) -> float:
    """Exponential of the entropy of the singular values of [N, E], 1 to E; nan if not finite (RankMe, Garrido et al. 2023)."""
    if not x.isfinite().all():
        return math.nan
    values = torch.linalg.svdvals(x.double())
    share = values / values.sum().clamp_min(1e-300) + 1e-7
    return float((-(share * share.log()).sum()).exp())


def spread(x: Tensor) -> float:
    """Root of the share of the squared length of rows [N, E] that varies between rows: 0 when all are equal, at most 1."""
    x = x.double()
    return float(((x - x.mean(0)).square().sum() / x.square().sum().clamp_min(1e-300)).sqrt())


def context_effect(embedding: Tensor, other: Tensor) -> float:
    """Mean distance between the same items' unit-norm embeddings [N, E] in two environments; 0 when context is ignored."""
    return float((F.normalize(embedding, dim=-1) - F.normalize(other, dim=-1)).norm(dim=-1).mean())


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """The measurements that `explain` reads.

    Attributes:
        feature_spread: `spread` of encoder features.
        embedding_spread: `spread` of embeddings.
        effective_rank: of embeddings.
        width: embedding width E.
        alignment: between positives.
        uniformity: of embeddings.
        contrastive_loss: unweighted mean InfoNCE, where there is one.
        num_candidates: how many candidates each of its anchors has, its positive included.
        context_effect: between two environments after a context, where there are two.
    """

    feature_spread: float
    embedding_spread: float
    effective_rank: float
    width: int
    alignment: float
    uniformity: float
    contrastive_loss: float | None = None
    num_candidates: int | None = None
    context_effect: float | None = None


def diagnose(
    features: Tensor,
    x: Tensor,
    y: Tensor,
    *,
    contrastive_loss: float | None = None,
    num_candidates: int | None = None,
    other_environment: Tensor | None = None,
    max_rows: int = 1024,
) -> Diagnostics:
    """Measure encoder features [N, D] and embeddings of positive pairs [N, E] each.

    Args:
        features: of the items of x.
        x: embeddings of items.
        y: embeddings of their positives.
        contrastive_loss: mean InfoNCE of those pairs.
        num_candidates: its number of candidates, 2N - 1 when all other tokens are negatives.
        other_environment: [N, E] embeddings of the items of x under another environment.
        max_rows: at most so many rows are looked at; uniformity is quadratic in it.
    """
    features, x, y = (rows.detach()[:max_rows].float() for rows in (features, x, y))
    effect = None if other_environment is None else context_effect(x, other_environment.detach()[:max_rows].float())
    return Diagnostics(
        feature_spread=spread(features),
        embedding_spread=spread(x),
        effective_rank=effective_rank(x),
        width=x.shape[1],
        alignment=alignment(x, y),
        uniformity=uniformity(x),
        contrastive_loss=contrastive_loss,
        num_candidates=num_candidates,
        context_effect=effect,
    )


def explain(found: Diagnostics) -> list[str]:
    """One sentence for each sign of collapse, with its likely cause and what has cured it; empty when all is well."""
    warnings = []
    numbers = (found.feature_spread, found.embedding_spread, found.effective_rank, found.alignment, found.uniformity)
    if not all(math.isfinite(number) for number in numbers):
        return ["embeddings are not finite: lower the learning rate, clip gradients, or train without bf16"]
    if found.feature_spread < 0.05:
        warnings.append(
            f"encoder features are nearly constant (spread {found.feature_spread:.3f}): the encoder has collapsed; "
            "normalise its output (BatchNorm without affine parameters: standardise=true) and lower the learning rate"
        )
    if found.embedding_spread < 0.05:
        cause = (
            ""
            if found.feature_spread < 0.05
            else (
                " although features differ: the read-in or read-out is too small; use fan-in initialisation (fan_in_init=true) "
                "and normalised features (standardise=true)"
            )
        )
        warnings.append(f"embeddings are nearly constant (spread {found.embedding_spread:.3f}){cause}")
    elif found.effective_rank < max(2.0, 0.1 * found.width):
        warnings.append(
            f"embeddings use {found.effective_rank:.1f} of {found.width} dimensions: too few negatives, too high a temperature, "
            "or a leakage penalty that began before both groups were encoded"
        )
    warnings += _loss_warnings(found) + _context_warnings(found)
    return warnings


def _loss_warnings(found: Diagnostics) -> list[str]:
    if found.contrastive_loss is None or found.num_candidates is None:
        return []
    chance = math.log(found.num_candidates)
    if abs(found.contrastive_loss - chance) > 0.01 * chance:
        return []
    return [
        f"the contrastive loss {found.contrastive_loss:.3f} is that of guessing, ln({found.num_candidates}) = {chance:.3f}: "
        "nothing is learnt; look for a constant output, or a learning rate that is too high or too low"
    ]


def _context_warnings(found: Diagnostics) -> list[str]:
    if found.context_effect is None or found.context_effect > 0.05 or found.embedding_spread < 0.05:
        return []
    return [
        f"environments give the same embeddings (distance {found.context_effect:.3f}): the context is not read yet; every step "
        "needs sequences of several environments, a high random-mask probability (0.9) and the auxiliary loss, and a leakage "
        "penalty must wait until environments differ"
    ]
