"""Predicted embeddings: told groups must have moved to y, untold ones stayed at x."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from contextssl.adapter import Split
from contextssl.evaluation.embeddings import EMPTY, FEATURES, Cell, EmbeddingBank
from contextssl.evaluation.predicted import PREDICTED_PROBE, PredictedProtocol
from contextssl.evaluation.probe import LinearProbe

MakeBank = Callable[..., EmbeddingBank]
PROBES = (LinearProbe(raw_ridge=0.0),)


def test_told_groups_are_those_of_y_and_untold_ones_those_of_x(make_view_bank: MakeBank) -> None:
    """The leaking oracle keeps the untold group of x, so both are read; a target of the wrong view would not be."""
    bank = make_view_bank(leak=0.5)
    results = list(PredictedProtocol(probes=PROBES)(bank))
    assert {r.protocol for r in results} == {PREDICTED_PROBE}
    found = {(r.environment, r.target): r.value for r in results if r.metric == "r2_dim_mean"}
    assert set(found) == {
        (told, target) for told in ("-", "rotation", "shift", "none") for target in ("predicted_rotation", "predicted_shift")
    }
    assert min(found.values()) > 0.95


def test_after_no_context_everything_is_told_and_features_are_left_out(make_view_bank: MakeBank) -> None:
    bank = make_view_bank()
    protocol = PredictedProtocol(probes=PROBES)
    sample = protocol.samples(bank)[2]
    latent = bank.labelled(Split.TEST).latent
    kind, rotation, shift = protocol.truth(bank, EMPTY, sample)
    torch.testing.assert_close(rotation.values, latent[sample.rows[:, 1], :4])
    torch.testing.assert_close(shift.values, latent[sample.rows[:, 1], 4:])
    assert kind.num_classes == 2 and kind.group is None
    untold = protocol.truth(bank, Cell("rotation", "true", 4, 0), sample)
    torch.testing.assert_close(untold[2].values, latent[sample.rows[:, 0], 4:])
    assert FEATURES.control not in {r.control for r in protocol(bank)}
    with pytest.raises(ValueError, match="features predict nothing"):
        list(PredictedProtocol(probes=PROBES, cells=(FEATURES,))(bank))


def test_a_wrong_group_moves_what_was_told_in_its_place(make_view_bank: MakeBank) -> None:
    bank = make_view_bank(controls=("wrong-group",))
    protocol = PredictedProtocol()
    sample = protocol.samples(bank)[0]
    wrong, shift = (
        protocol.truth(bank, cell, sample) for cell in (Cell("rotation", "wrong-group", 4, 0), Cell("shift", "true", 4, 0))
    )
    assert all(torch.equal(a.values, b.values) for a, b in zip(wrong, shift, strict=True))


def test_predictions_are_queries_of_one_view_with_the_action_to_another(make_view_bank: MakeBank) -> None:
    bank = make_view_bank()
    views = bank.labelled(Split.TEST).inputs
    pairs = torch.tensor([[0, 1], [7, 9], [2, 2]])
    both = torch.cat([bank.predictions(EMPTY, Split.TEST, pairs[:1]), bank.predictions(EMPTY, Split.TEST, pairs[1:])])
    torch.testing.assert_close(both, views[pairs[:, 1]] / 3**0.5, rtol=1e-4, atol=1e-4)
    alone = bank.predictions(Cell("rotation", "true", 0, 0), Split.TEST, pairs)
    expected = torch.cat([views[pairs[:, 1], :4], views[pairs[:, 0], 4:]], 1) / 3**0.5
    torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-4)
    coarse = bank.predictions(EMPTY, Split.TEST, pairs, bits=2)
    assert len(coarse.unique()) <= 3 and float(F.cosine_similarity(coarse, both).min()) > 0.5


def test_an_unknown_target_is_named(make_view_bank: MakeBank) -> None:
    with pytest.raises(ValueError, match="unknown target 'age'"):
        list(PredictedProtocol(probes=PROBES, targets=("age",))(make_view_bank()))
