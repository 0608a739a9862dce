"""Objectives of the pairwise methods against numpy, term by term, and against the limits that define them."""

import math

import numpy as np
import pytest
import torch

from contextssl.methods.equimod import EquiMODObjective
from contextssl.methods.sen import SENObjective
from contextssl.methods.sen_hinge import HingeObjective
from contextssl.methods.sie import SIEObjective
from contextssl.methods.simclr import SimCLRObjective
from contextssl.methods.vicreg import VICRegObjective

ALL = (SimCLRObjective, VICRegObjective, EquiMODObjective, SENObjective, HingeObjective, SIEObjective)


def embeddings(seed=0, shape=(6, 8)):
    draws = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=draws) for _ in range(3))


def nt_xent(x, y, temperature):
    tokens = np.concatenate([x, y])
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    similarity, half = tokens @ tokens.T / temperature, len(x)
    rows = range(2 * half)
    losses = [
        np.log(sum(np.exp(similarity[i, j]) for j in rows if j != i)) - similarity[i, (i + half) % (2 * half)] for i in rows
    ]
    return np.mean(losses)


def short_of_one(x):
    return np.mean([max(0, 1 - math.sqrt(np.var(column, ddof=1) + 1e-4)) for column in x.T])


def correlated(x):
    covariance = np.cov(x.T)
    return sum(covariance[i, j] ** 2 for i in range(len(covariance)) for j in range(len(covariance)) if i != j) / len(covariance)


def mean_square(x, y):
    return np.mean((x - y) ** 2)


def simclr(x, y, predicted):
    return {"invariance": nt_xent(x, y, 0.3)}


def vicreg(x, y, predicted):
    return {
        "invariance": 25 * mean_square(x, y),
        "variance": 20 * (short_of_one(x) / 2 + short_of_one(y) / 2),
        "covariance": 3 * (correlated(x) + correlated(y)),
    }


def equimod(x, y, predicted):
    return {
        "invariance": nt_xent(x[:, :4], y[:, :4], 0.5),
        "equivariance": 2 * nt_xent(predicted[:, 4:], y[:, 4:], 0.2),
    }


def sen(x, y, predicted):
    return {"equivariance": nt_xent(predicted, y, 0.3)}


def hinge(x, y, predicted):
    transition = [((p - t) ** 2).sum() / (2 * 2**2) for p, t in zip(predicted, y, strict=True)]
    negatives = [max(0, 3 - ((x[(i + 3) % 6] - y[i]) ** 2).sum() / (2 * 2**2)) for i in range(6)]
    return {"transition": np.mean(transition), "negatives": np.mean(negatives)}


def sie(x, y, predicted):
    return {
        "invariance": 10 * mean_square(x[:, :2], y[:, :2]),
        "equivariance": 0.45 * 10 * mean_square(predicted[:, 2:], y[:, 2:]),
        "variance": 7 * (short_of_one(x) / 2 + short_of_one(y) / 2),
        "prediction variance": 7 * short_of_one(predicted[:, 2:]) / 2,
        "covariance": 2 * (correlated(x) + correlated(y)),
    }


FORMULAS = {
    "simclr": (SimCLRObjective(temperature=0.3), simclr),
    "vicreg": (VICRegObjective(invariance_weight=25, variance_weight=20, covariance_weight=3), vicreg),
    "equimod": (EquiMODObjective(temperature=0.5, equivariance_temperature=0.2, equivariance_weight=2), equimod),
    "sen": (SENObjective(temperature=0.3), sen),
    "sen_hinge": (HingeObjective(margin=3, sigma=2), hinge),
    "sie": (SIEObjective(invariance_weight=10, variance_weight=7, covariance_weight=2, invariant_share=0.25), sie),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_terms_equal_their_formulas(name, scale):
    objective, formula = FORMULAS[name]
    x, y, predicted = (scale * part for part in embeddings())
    expected = formula(*(part.double().numpy() for part in (x, y, predicted)))
    found = {term: value.item() for term, value in objective(x, y, predicted).items()}
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_weights_of_the_papers_are_the_defaults():
    x, y, predicted = embeddings()
    assert SimCLRObjective()(x, y, x)["invariance"].item() == pytest.approx(nt_xent(x.numpy(), y.numpy(), 0.1), rel=1e-4)
    plain = VICRegObjective(invariance_weight=1, variance_weight=1, covariance_weight=1)(x, y, x)
    assert {name: (VICRegObjective()(x, y, x)[name] / plain[name]).item() for name in plain} == pytest.approx(
        {"invariance": 10, "variance": 10, "covariance": 1}
    )
    few, many = SIEObjective()(x, y, predicted), SIEObjective(equivariance_factor=4.5)(x, y, predicted)
    torch.testing.assert_close(many["equivariance"], 10 * few["equivariance"])
    assert all(torch.equal(many[name], few[name]) for name in few if name != "equivariance")


def test_constant_embeddings():
    """No negatives told apart: ln(2N - 1). No distance, the whole hinge of every variance, or the whole margin."""
    same = torch.full((6, 8), 0.7)
    guess = math.log(11)
    assert terms(SimCLRObjective(), same, same, same) == pytest.approx({"invariance": guess}, rel=1e-5)
    assert terms(EquiMODObjective(), same, same, same) == pytest.approx({"invariance": guess, "equivariance": guess}, rel=1e-5)
    assert terms(SENObjective(), same, same, same) == pytest.approx({"equivariance": guess}, rel=1e-5)
    assert terms(VICRegObjective(), same, same, same) == pytest.approx(
        {"invariance": 0, "variance": 9.9, "covariance": 0}, abs=1e-5
    )
    assert terms(SIEObjective(), same, same, same) == pytest.approx(
        {"invariance": 0, "equivariance": 0, "variance": 9.9, "prediction variance": 4.95, "covariance": 0}, abs=1e-5
    )
    assert terms(HingeObjective(), same, same, same) == pytest.approx({"transition": 0, "negatives": 1})


def test_perfect_embeddings():
    """Equal pairs, orthogonal to all others, with spread and uncorrelated dimensions: every term is at its floor."""
    basis = torch.eye(4)
    floor = math.log(1 + 6 * math.exp(-10))
    assert terms(SimCLRObjective(), basis, basis, basis)["invariance"] == pytest.approx(floor, rel=1e-3)
    halves = torch.cat([basis, basis], dim=1)
    assert terms(EquiMODObjective(), halves, halves, halves) == pytest.approx(
        {"invariance": floor, "equivariance": floor}, rel=1e-3
    )
    spread = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    assert set(terms(VICRegObjective(), spread, spread, spread).values()) == {0}
    wide = torch.cat([spread, torch.zeros(4, 1)], dim=1)
    assert terms(SIEObjective(invariant_share=0.75), wide, wide, wide)["invariance"] == 0
    assert set(terms(HingeObjective(), 9 * basis, 9 * basis, 9 * basis).values()) == {0}


def terms(objective, *parts):
    return {name: value.item() for name, value in objective(*parts).items()}


def test_each_half_is_read_by_its_own_term_only():
    x, y, predicted = embeddings()
    noise = embeddings(5)[0]
    for objective in (EquiMODObjective(), SIEObjective()):
        before = terms(objective, x, y, predicted)
        invariant, equivariant = (torch.cat(halves, 1) for halves in ((noise[:, :4], x[:, 4:]), (x[:, :4], noise[:, 4:])))
        assert terms(objective, equivariant, y, predicted)["invariance"] == before["invariance"]
        assert terms(objective, invariant, y, predicted)["invariance"] != before["invariance"]
        assert terms(objective, invariant, y, predicted)["equivariance"] == before["equivariance"]
        guess = torch.cat([noise[:, :4], predicted[:, 4:]], 1)
        assert terms(objective, x, y, guess) == before
        assert terms(objective, x, y, torch.cat([predicted[:, :4], noise[:, 4:]], 1))["equivariance"] != before["equivariance"]


def test_who_predicts_and_who_looks_at_predictions():
    x, y, predicted = embeddings()
    for objective in (kind() for kind in ALL):
        looks = terms(objective, x, y, predicted) != terms(objective, x, y, predicted.flip(0))
        assert looks == objective.predicts
    assert terms(SENObjective(), x, y, predicted) == terms(SENObjective(), x.flip(0), y, predicted)


def test_a_negative_beyond_the_margin_is_left_alone_and_comes_from_another_sequence():
    x, y, predicted = (part.clone().requires_grad_() for part in embeddings(shape=(8, 2)))
    objective = HingeObjective()
    far = objective.energy(x.roll(4, 0), y) > 1
    assert far.any() and not far.all()
    objective(x, y, predicted)["negatives"].backward()
    assert torch.equal((x.grad == 0).all(1), far.roll(-4))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.99, 1.0])
def test_both_parts_of_an_embedding_need_a_column(share):
    with pytest.raises(
        ValueError, match=f"invariant_share {share} leaves .* of 8 columns invariant: both parts need at least one"
    ):
        SIEObjective(invariant_share=share)(*embeddings())


def test_objectives_are_frozen():
    for kind in ALL:
        with pytest.raises(AttributeError):
            kind().predicts = None
