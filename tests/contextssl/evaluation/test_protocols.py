"""Protocols: the right rows, the right split, the right floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from contextssl.adapter import Split
from contextssl.evaluation.embeddings import EMPTY, FEATURES, Cell, EmbeddingBank
from contextssl.evaluation.probe import LinearProbe, NearestNeighbours
from contextssl.evaluation.protocols import ATTRIBUTE_PROBE, STANDARD_PROBES, STRONGEST_PROBE, ReadoutProtocol, strongest_probe
from contextssl.evaluation.row_intervals import auroc_interval
from contextssl.evaluation.strong import KernelRidge

MakeBank = Callable[..., EmbeddingBank]
QUICK = (LinearProbe(), NearestNeighbours(k=5))


def test_every_cell_target_probe_and_metric_has_one_result(make_bank: MakeBank) -> None:
    bank = make_bank(training_seed=7, method_name="toy")
    results = list(ReadoutProtocol(probes=QUICK)(bank))
    metrics = {
        "sign": {"accuracy", "balanced_accuracy", "auroc"},
        "third": {"accuracy", "balanced_accuracy"},
        "place": {"r2_pooled", "r2_dim_mean", "r2_varw"},
    }
    expected = {
        (cell, target, probe.name, metric)
        for cell in bank.cells
        for target, names in metrics.items()
        for probe in QUICK
        for metric in names
    }
    found = [(Cell(r.environment, r.control, r.context_length, r.context_draw), r.target, r.probe, r.metric) for r in results]
    assert set(found) == expected and len(found) == len(expected)
    assert {(r.protocol, r.seed, r.split, r.method) for r in results} == {(ATTRIBUTE_PROBE, 7, "test", "toy")}


def test_numbers_are_those_of_scikit_learn_on_the_test_split(make_bank: MakeBank) -> None:
    bank = make_bank()
    cell = Cell("turn", "true", 6, 1)
    results = ReadoutProtocol(probes=(LinearProbe(),), targets=("sign",), cells=(FEATURES, cell))(bank)
    found = {(r.environment, r.metric): r for r in results}
    x = {split: bank.embeddings(cell, split).numpy() for split in Split}
    y = {split: bank.labelled(split).target("sign").values.numpy() for split in Split}
    model = LogisticRegression(tol=1e-8, max_iter=5000).fit(x[Split.TRAIN], y[Split.TRAIN])
    assert found["turn", "auroc"].value == pytest.approx(roc_auc_score(y[Split.TEST], model.decision_function(x[Split.TEST])))
    assert found["turn", "accuracy"].value == pytest.approx(model.score(x[Split.TEST], y[Split.TEST]))
    majority = np.bincount(y[Split.TRAIN]).argmax()
    assert found["turn", "accuracy"].floor == pytest.approx((y[Split.TEST] == majority).mean())
    assert (found["turn", "balanced_accuracy"].floor, found["turn", "auroc"].floor) == (0.5, 0.5)


def test_scores_have_intervals_over_rows_where_every_item_has_one_row(make_bank: MakeBank) -> None:
    bank = make_bank()
    protocol = ReadoutProtocol(probes=(LinearProbe(),), cells=(FEATURES, EMPTY))
    assert all(row.low is None and row.high is None for row in protocol(bank))  # two views of every item
    labelled = bank.adapter.labelled
    bank = make_bank()
    bank.adapter.labelled = lambda split: replace(labelled(split), item=torch.arange(len(labelled(split))))  # type: ignore[method-assign]
    for row in (rows := list(protocol(bank))):
        if row.target == "place":
            assert row.low is None and row.high is None
        else:
            assert (
                row.low is not None and row.high is not None and row.low <= row.value <= row.high and 0 < row.high - row.low < 0.4
            )
    (readout,) = replace(protocol, targets=("sign",), cells=(EMPTY,)).readouts(bank)
    low, high = auroc_interval(readout.target.values, readout.score)
    found = next(row for row in rows if row.target == "sign" and row.metric == "auroc" and row.control == "empty")
    assert (found.low, found.high) == pytest.approx((float(low), float(high)))


def test_batches_of_cells_do_not_change_numbers(make_bank: MakeBank) -> None:
    all_at_once, one_by_one = (list(ReadoutProtocol(probes=QUICK, memory=memory)(make_bank())) for memory in (2**30, 1))
    key = lambda r: (r.environment, r.control, r.context_length, r.context_draw, r.target, r.probe, r.metric)  # noqa: E731
    assert {key(r): pytest.approx(r.value, abs=1e-6) for r in all_at_once} == {key(r): r.value for r in one_by_one}


def test_choosing_a_recipe_never_opens_the_test_split(make_bank: MakeBank) -> None:
    bank = make_bank()
    results = list(ReadoutProtocol(probes=QUICK, split="validation")(bank))  # type: ignore[arg-type]
    assert Split.TEST not in bank.adapter.asked
    assert {r.split for r in results} == {"validation"}


def test_rows_to_fit_on_and_to_choose_on_share_no_item(make_bank: MakeBank) -> None:
    bank = make_bank()
    samples = ReadoutProtocol(split=Split.VALIDATION).samples(bank)
    fit, choose, report = ({int(i) for i in bank.labelled(sample.split).item[sample.rows]} for sample in samples)
    assert not fit & choose and not report & (fit | choose)
    assert len(choose) == 6 and len(fit) == 54
    assert [sample.split for sample in samples] == [Split.TRAIN, Split.TRAIN, Split.VALIDATION]
    assert [sample.split for sample in ReadoutProtocol().samples(bank)] == [Split.TRAIN, Split.VALIDATION, Split.TEST]


def test_readouts_keep_predictions_and_truth_row_by_row(make_bank: MakeBank) -> None:
    bank = make_bank()
    protocol = ReadoutProtocol(probes=(LinearProbe(),), cells=(EMPTY,), targets=("sign", "place"), num_report=25)
    sign, place = protocol.readouts(bank)
    assert sign.predictions.shape == (1, 25) and place.predictions.shape == (1, 25, 2)
    assert sign.target.group == "side" and len(sign.fitted) == 120
    # The linear probe nearly solves both targets, so rows that were out of step would show.
    assert (sign.predictions[0] == sign.target.values).double().mean() > 0.9
    assert ((sign.score[0] > 0).long() == sign.predictions[0]).all()
    assert torch.corrcoef(torch.stack([place.predictions[0, :, 0], place.target.values[:, 0]]))[0, 1] > 0.95


def test_the_strongest_probe_reports_every_precision_and_leaves_features_unquantised(make_bank: MakeBank) -> None:
    bank = make_bank()
    protocol = strongest_probe(bits=(None, 3), cells=(FEATURES, EMPTY))
    assert protocol.name == STRONGEST_PROBE
    quick = ReadoutProtocol(name=protocol.name, probes=(KernelRidge(num_train=64),), bits=protocol.bits, cells=protocol.cells)
    names = {(r.probe, r.control) for r in quick(bank)}
    assert names == {("kernel-ridge", "-"), ("kernel-ridge", "empty"), ("kernel-ridge-3bit", "empty")}


def test_functions_take_the_place_of_groups_that_have_more_of_them(make_view_bank: MakeBank) -> None:
    bank = make_view_bank()
    protocol = ReadoutProtocol(probes=(LinearProbe(),), functions=True)
    sample = protocol.samples(bank)[0]
    kind, rotation, shift = protocol.truth(bank, EMPTY, sample)
    assert [target.name for target in (kind, rotation, shift)] == ["kind", "rotation_functions", "shift"]
    latent = bank.labelled(Split.TRAIN).latent[sample.rows]
    products = torch.stack([latent[:, i] * latent[:, j] for i in range(4) for j in range(i, 4)], dim=1)
    torch.testing.assert_close(rotation.values, torch.cat([latent[:, :4], products], dim=1))
    metrics = {(r.target, r.metric) for r in protocol(bank)}
    assert ("rotation_functions", "r2_max") in metrics and ("kind", "accuracy") in metrics


def test_one_function_that_leaks_is_found_though_the_parameters_are_hidden(make_view_bank: MakeBank) -> None:
    """An embedding that holds q_x^2 alone: no probe of q itself finds it, one of all functions does."""
    bank = make_view_bank(num_items=150)
    cell = Cell("shift", "true", 4, 0)
    for split in Split:
        embeddings, latent = bank.embeddings(cell, split), bank.labelled(split).latent
        embeddings[:, :1] = latent[:, :1] ** 2
    blind, seeing = (
        {(r.target, r.metric): r.value for r in strongest_probe((None,), (cell,), functions, boosting=False, num_train=256)(bank)}
        for functions in (False, True)
    )
    assert blind["rotation", "r2_dim_mean"] < 0.1
    assert seeing["rotation_functions", "r2_max"] > 0.95 > seeing["rotation_functions", "r2_dim_mean"]


def test_the_standard_probes_are_raw_standardised_and_neighbours() -> None:
    assert [probe.name for probe in STANDARD_PROBES] == ["linear", "linear-standardised", "mlp", "mlp-standardised", "knn-10"]


def test_an_unknown_target_is_named(make_bank: MakeBank) -> None:
    with pytest.raises(ValueError, match="unknown target 'age'"):
        list(ReadoutProtocol(probes=QUICK, targets=("age",))(make_bank()))
