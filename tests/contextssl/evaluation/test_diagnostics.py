"""Collapse has signs; each must be recognised, and health must not be."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from contextssl.evaluation.diagnostics import alignment, context_effect, diagnose, effective_rank, explain, spread, uniformity


def sphere(rows: int, width: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_alignment_is_the_mean_squared_distance_of_positives() -> None:
    x = sphere(50, 8)
    assert alignment(x, x) == pytest.approx(0)
    assert alignment(x, -3 * x) == pytest.approx(4)  # opposite points of the unit sphere, whatever their length
    assert alignment(x, -x, alpha=1) == pytest.approx(2)


def test_uniformity_equals_a_loop_and_is_zero_for_one_point() -> None:
    x = sphere(20, 3)
    pairs = [math.exp(-2 * float((x[i] - x[j]).square().sum())) for i in range(20) for j in range(i)]
    assert uniformity(x) == pytest.approx(math.log(sum(pairs) / len(pairs)), rel=1e-4)
    assert uniformity(torch.ones(20, 3)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_equal_directions(rank: int) -> None:
    x = torch.eye(8)[torch.arange(160) % rank]
    assert effective_rank(x) == pytest.approx(rank, rel=1e-3)


def test_spread_is_the_share_that_varies() -> None:
    assert spread(torch.ones(10, 4)) == pytest.approx(0)
    assert spread(torch.cat([torch.eye(4), -torch.eye(4)])) == pytest.approx(1)
    assert spread(torch.tensor([[1.0, 1.0], [1.0, -1.0]])) == pytest.approx(math.sqrt(0.5))


def test_a_healthy_model_gets_no_warning() -> None:
    x = sphere(200, 16)
    y = F.normalize(x + 0.1 * sphere(200, 16, 1), dim=-1)
    found = diagnose(x, x, y, contrastive_loss=1.0, num_candidates=255, other_environment=sphere(200, 16, 2))
    assert explain(found) == []


CONSTANT = torch.ones(200, 16) + 1e-4 * sphere(200, 16)


CHANCE = {"contrastive_loss": math.log(255) + 0.01, "num_candidates": 255}


@pytest.mark.parametrize(
    ("features", "embedding", "settings", "sentences"),
    [
        (CONSTANT, CONSTANT, {}, ["encoder features are nearly constant", "embeddings are nearly constant"]),
        (sphere(200, 16), CONSTANT, {}, ["read-in or read-out is too small"]),
        (sphere(200, 16), torch.cat([sphere(200, 2), torch.zeros(200, 30)], 1), {}, ["2.0 of 32 dimensions"]),
        (sphere(200, 16), sphere(200, 16), CHANCE, ["that of guessing"]),
        (sphere(200, 16), sphere(200, 16), {"other_environment": sphere(200, 16)}, ["the context is not read"]),
        (sphere(200, 16), sphere(200, 16) * torch.nan, {}, ["not finite"]),
    ],
    ids=["encoder", "read-in", "dimensions", "chance", "context", "nan"],
)
def test_each_sign_is_explained(features: Tensor, embedding: Tensor, settings: dict, sentences: list[str]) -> None:
    warnings = explain(diagnose(features, embedding, embedding, **settings))
    assert len(warnings) == len(sentences)
    for warning, sentence in zip(warnings, sentences, strict=True):
        assert sentence in warning


def test_context_effect_is_the_distance_an_item_moves() -> None:
    x = torch.eye(3)
    assert context_effect(x, x.roll(1, 0)) == pytest.approx(math.sqrt(2))
