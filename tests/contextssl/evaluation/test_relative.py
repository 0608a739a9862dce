"""Relative actions from pairs: the right pairs, the right targets, the right numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from contextssl.adapter import Split
from contextssl.evaluation.embeddings import EMPTY, FEATURES, Cell, EmbeddingBank
from contextssl.evaluation.probe import LinearProbe, MLPProbe
from contextssl.evaluation.relative import RELATIVE_R2, RelativeProtocol
from contextssl.evaluation.results import Result

MakeBank = Callable[..., EmbeddingBank]
TOLD = {name: Cell(name, "true", 4, 0) for name in ("rotation", "shift", "none")}
EXACT = LinearProbe(raw_ridge=0.0)


def numbers(results: list[Result], metric: str = "r2_dim_mean") -> dict[tuple[str, str], float]:
    return {(r.environment, r.target): r.value for r in results if r.metric == metric}


def test_rows_say_what_was_measured(make_view_bank: MakeBank) -> None:
    results = list(RelativeProtocol(probes=(EXACT,))(make_view_bank(training_seed=3)))
    assert {(r.protocol, r.probe, r.split, r.seed) for r in results} == {(RELATIVE_R2, "linear", "test", 3)}
    assert {(r.target, r.metric) for r in results} == {
        (f"relative_{group}", metric) for group in ("rotation", "shift") for metric in ("r2_pooled", "r2_dim_mean", "r2_varw")
    }
    assert {r.environment for r in results} == {"-", "rotation", "shift", "none"}


def test_parts_are_of_different_items_and_sizes_are_as_asked(make_view_bank: MakeBank) -> None:
    bank = make_view_bank()
    for split in (Split.TEST, Split.VALIDATION):
        samples = RelativeProtocol(pairs_per_item=5, report_pairs_per_item=2, split=split).samples(bank)
        items = [bank.labelled(sample.split).item[sample.rows] for sample in samples]
        assert all((pair[:, 0] == pair[:, 1]).all() for pair in items)
        owners = [{int(owner) for owner in pair.flatten()} for pair in items]
        assert not owners[0] & owners[1] and not owners[2] & (owners[0] | owners[1])
        assert [len(pair) / len(own) for pair, own in zip(items, owners, strict=True)] == [5, 5, 2]
        assert samples[2].split is split
    few = RelativeProtocol(num_train=7, num_choose=3).samples(bank)
    assert [len(sample.rows) for sample in few] == [7, 3, 8 * len(bank.labelled(Split.TEST).item.unique())]


def test_choosing_a_recipe_never_opens_the_test_split(make_view_bank: MakeBank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, asked = make_view_bank(), []
    labelled = bank.adapter.labelled
    monkeypatch.setattr(bank.adapter, "labelled", lambda split: asked.append(split) or labelled(split))
    assert {r.split for r in RelativeProtocol(probes=(EXACT,), split="validation")(bank)} == {"validation"}  # type: ignore[arg-type]
    assert Split.TEST not in asked


def test_targets_are_the_actions_of_a_slow_loop(make_view_bank: MakeBank) -> None:
    bank = make_view_bank()
    protocol = RelativeProtocol()
    for sample in protocol.samples(bank):
        rotation, shift = protocol.truth(bank, EMPTY, sample)
        assert (rotation.name, rotation.group, shift.name, shift.group) == (
            "relative_rotation",
            "rotation",
            "relative_shift",
            "shift",
        )
        latent = bank.labelled(sample.split).latent.numpy()
        for row, (x, y) in enumerate(sample.rows.tolist()[:50]):
            matrix = Rotation.from_quat(latent[x, :4]).as_matrix().T @ Rotation.from_quat(latent[y, :4]).as_matrix()
            found = Rotation.from_quat(rotation.values[row].numpy()).as_matrix()
            np.testing.assert_allclose(found, matrix, atol=1e-5)
            assert float(shift.values[row, 0]) == pytest.approx(latent[y, 4] - latent[x, 4], abs=1e-6)


def test_numbers_are_those_of_least_squares_on_pairs_laid_side_by_side(make_view_bank: MakeBank) -> None:
    bank = make_view_bank(leak=0.5)
    protocol = RelativeProtocol(probes=(EXACT,), cells=(TOLD["rotation"], FEATURES), report_pairs_per_item=3)
    results = list(protocol(bank))
    fit, _, report = protocol.samples(bank)
    for cell in (TOLD["rotation"], FEATURES):
        sides = []
        for sample in (fit, report):
            x = bank.embeddings(cell, sample.split).double().numpy()
            sides.append(np.array([np.concatenate([x[i], x[j], [1.0]]) for i, j in sample.rows.tolist()]))
        for column, name in ((slice(0, 4), "relative_rotation"), (slice(4, 5), "relative_shift")):
            values = [
                torch.cat([target.values for target in protocol.truth(bank, cell, sample)], 1).double().numpy()[:, column]
                for sample in (fit, report)
            ]
            predicted = sides[1] @ np.linalg.lstsq(sides[0], values[0], rcond=1e-6)[0]
            residual, total, mean = 0.0, 0.0, values[1].mean()
            for true, guess in zip(values[1].flatten(), predicted.flatten(), strict=True):
                residual, total = residual + (true - guess) ** 2, total + (true - mean) ** 2
            row = next(r for r in results if (r.environment, r.target, r.metric) == (cell.environment, name, "r2_pooled"))
            assert row.value == pytest.approx(1 - residual / total, abs=1e-3)


def test_told_groups_are_read_and_untold_ones_are_not(make_view_bank: MakeBank) -> None:
    probes = (MLPProbe(standardised=True, hidden_dims=(32,), epochs=30, learning_rate=1e-2),)
    rotation = numbers(list(RelativeProtocol(probes=probes, groups=("rotation",))(make_view_bank(num_items=150))))
    shift = numbers(list(RelativeProtocol(probes=(EXACT,), groups=("shift",))(make_view_bank())))
    assert rotation["rotation", "relative_rotation"] > 0.8 and shift["shift", "relative_shift"] > 0.99
    for told in ("shift", "none"):
        assert rotation[told, "relative_rotation"] < 0.05
    for told in ("rotation", "none"):
        assert shift[told, "relative_shift"] < 0.05
    assert rotation["-", "relative_rotation"] > 0.8 and shift["-", "relative_shift"] > 0.99


def test_a_planted_leak_is_found_by_the_standardised_probe_alone(make_view_bank: MakeBank) -> None:
    bank = make_view_bank(leak=0.003)
    found = {
        probe.name: numbers(list(RelativeProtocol(probes=(probe,), cells=tuple(TOLD.values()))(bank)))
        for probe in (LinearProbe(), LinearProbe(standardised=True))
    }
    assert found["linear"]["rotation", "relative_shift"] < 0.05
    assert found["linear-standardised"]["rotation", "relative_shift"] > 0.95


def test_the_pooled_floor_of_relative_quaternions_is_that_of_the_protocol(make_view_bank: MakeBank) -> None:
    results = RelativeProtocol(probes=(EXACT,), cells=(EMPTY,))(make_view_bank(num_items=400))
    floors = {(r.target, r.metric): r.floor for r in results}
    assert floors["relative_rotation", "r2_pooled"] == pytest.approx(0.229, abs=0.03)
    assert floors["relative_rotation", "r2_varw"] == pytest.approx(0, abs=0.01)
    assert floors["relative_shift", "r2_pooled"] == pytest.approx(0, abs=0.01)


def test_quantised_pairs_carry_their_bits(make_view_bank: MakeBank) -> None:
    bank = make_view_bank()
    results = list(RelativeProtocol(probes=(EXACT,), groups=("shift",), bits=(3,))(bank))
    assert {r.probe for r in results} == {"linear-3bit"} and FEATURES.control not in {r.control for r in results}
    assert 0.5 < numbers(results)["shift", "relative_shift"] < 0.99


def test_an_unknown_group_is_named(make_view_bank: MakeBank) -> None:
    with pytest.raises(ValueError, match="unknown group 'color'"):
        list(RelativeProtocol(groups=("color",))(make_view_bank()))
