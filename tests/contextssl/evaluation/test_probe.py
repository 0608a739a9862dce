"""What each probe can and cannot see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge as SklearnKernelRidge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from torch import Tensor
from torch.nn import functional as F

from contextssl.evaluation.metrics import accuracy, auroc, r2_dim_mean, r2_max
from contextssl.evaluation.probe import Labels, LinearProbe, MLPProbe, NearestNeighbours, Parts, Probe
from contextssl.evaluation.strong import GradientBoosting, KernelRidge, whiten

SIZES = (600, 200, 400)
QUICK_MLP = MLPProbe(hidden_dims=(32, 32), epochs=15, batch_size=64, learning_rate=1e-2)
EVERY_PROBE: list[Probe] = [
    LinearProbe(),
    LinearProbe(standardised=True),
    QUICK_MLP,
    MLPProbe(standardised=True, hidden_dims=(32, 32), epochs=15, batch_size=64, learning_rate=1e-2),
    NearestNeighbours(),
    KernelRidge(num_train=300),
    GradientBoosting(max_iter=50),
]


def draw(num_columns: int, seed: int = 0) -> Tensor:
    return torch.randn(sum(SIZES), num_columns, generator=torch.Generator().manual_seed(seed))


def split(x: Tensor, values: Tensor, num_classes: int | None = None) -> tuple[Parts, Labels, Tensor]:
    """Cells [C, N, E] and values [N] or [N, K] as parts, labels, and the truth to report on."""
    fit, choose, report = values.split(SIZES)
    return Parts(*x.split(SIZES, dim=1)), Labels(fit, choose, num_classes), report


def area(probe: Probe, parts: Parts, labels: Labels, truth: Tensor) -> list[float]:
    outputs = probe.outputs(parts, [labels])[0]
    return auroc(truth, outputs[..., 1] - outputs[..., 0]).tolist()


def r2(probe: Probe, parts: Parts, labels: Labels, truth: Tensor) -> list[float]:
    return r2_dim_mean(truth, probe.outputs(parts, [labels])[0]).tolist()


@pytest.mark.parametrize("probe", EVERY_PROBE, ids=lambda probe: probe.name)
def test_every_probe_finds_what_is_plain_and_nothing_where_there_is_nothing(probe: Probe) -> None:
    x = draw(6)
    cells = torch.stack([x, draw(6, seed=1)])
    plain, nothing = area(probe, *split(cells, (x[:, 0] > 0).long(), 2))
    assert plain > 0.95 and abs(nothing - 0.5) < 0.1
    plain, nothing = r2(probe, *split(cells, x[:, :2] * 3 + 7))
    assert plain > 0.8 and nothing < 0.1


@pytest.mark.parametrize("probe", EVERY_PROBE, ids=lambda probe: probe.name)
def test_every_probe_reads_several_classes(probe: Probe) -> None:
    x = draw(3)
    parts, labels, truth = split(x.unsqueeze(0), x.argmax(1), 3)
    outputs = probe.outputs(parts, [labels])[0]
    assert outputs.shape == (1, 400, 3)
    assert float(accuracy(truth, outputs.argmax(-1))) > 0.85


@pytest.mark.parametrize("probe", EVERY_PROBE, ids=lambda probe: probe.name)
def test_the_reported_rows_are_not_the_fitted_ones(probe: Probe) -> None:
    """With labels drawn at random, only a probe scored on rows it was fitted on beats chance."""
    x = draw(40)
    labels = (torch.rand(sum(SIZES), generator=torch.Generator().manual_seed(5)) < 0.5).long()
    assert abs(area(probe, *split(x.unsqueeze(0), labels, 2))[0] - 0.5) < 0.1


@pytest.mark.parametrize("probe", EVERY_PROBE, ids=lambda probe: probe.name)
def test_cells_and_targets_do_not_see_each_other(probe: Probe) -> None:
    cells = torch.stack([draw(5), 0.1 * draw(5, seed=1), draw(5, seed=2)])
    parts, first, _ = split(cells, (cells[0, :, 0] > 0).long(), 2)
    _, second, _ = split(cells, cells[2, :, :2])
    together = probe.outputs(parts, [first, second])
    for index, alone in enumerate(parts.cells(1)):
        for target, outputs in zip((first, second), together, strict=True):
            torch.testing.assert_close(outputs[index], probe.outputs(alone, [target])[0][0], rtol=1e-3, atol=1e-3)


def test_traces_are_seen_by_standardised_probes_and_not_by_raw_ones() -> None:
    """An untold group is shrunk, not erased; three kinds of probe tell the difference."""
    trace = draw(1, seed=3)
    faint, usable = (F.normalize(torch.cat([draw(15), size * trace], 1), dim=-1) for size in (0.01, 1.0))
    faint_and_usable = split(torch.stack([faint, usable]), trace)
    raw, standardised, neighbours = (
        r2(probe, *faint_and_usable) for probe in (LinearProbe(), LinearProbe(standardised=True), NearestNeighbours())
    )
    assert raw[0] < 0.2 and standardised[0] > 0.9 and neighbours[0] < 0.05
    assert raw[1] > 0.85 and standardised[1] > 0.9 and neighbours[1] > 0.2


def test_only_networks_see_what_is_not_linear() -> None:
    x = draw(2)
    data = split(x.unsqueeze(0), ((x[:, 0] > 0) ^ (x[:, 1] > 0)).long(), 2)
    assert area(QUICK_MLP, *data)[0] > 0.95
    assert abs(area(LinearProbe(standardised=True), *data)[0] - 0.5) < 0.1


def test_the_ridge_is_chosen_on_the_rows_to_choose_on() -> None:
    """With nearly as many columns as rows, the smallest ridge overfits; choosing must avoid it."""
    x = torch.randn(1, 60 + 200 + 400, 55, generator=torch.Generator().manual_seed(0))
    y = x[0, :, :1] + 2 * torch.randn(660, 1, generator=torch.Generator().manual_seed(1))
    parts = Parts(*x.split((60, 200, 400), dim=1))
    labels, truth = Labels(y[:60], y[60:260], None), y[260:]
    smallest = LinearProbe(standardised=True, ridges=(1e-6,))
    assert r2(LinearProbe(standardised=True), parts, labels, truth)[0] > r2(smallest, parts, labels, truth)[0] + 0.3


def test_the_epoch_is_chosen_on_the_rows_to_choose_on() -> None:
    """Where the rows to choose on contradict the rows to fit on, the first epoch is the least bad and must be kept."""
    x = draw(4)
    truth = (x[:, 0] > 0).long()
    contrary = truth.clone()
    contrary[SIZES[0] : SIZES[0] + SIZES[1]] = 1 - contrary[SIZES[0] : SIZES[0] + SIZES[1]]
    confidence = [
        float(QUICK_MLP.outputs(parts, [labels])[0].softmax(-1).amax(-1).mean())
        for parts, labels, _ in (split(x.unsqueeze(0), truth, 2), split(x.unsqueeze(0), contrary, 2))
    ]
    assert confidence[0] > 0.95 > confidence[1]


def test_standardising_uses_the_rows_to_fit_on() -> None:
    x = draw(3).unsqueeze(0) * torch.tensor([1.0, 10, 0.1])
    x[:, SIZES[0] :] += 100
    x[..., 2] = 0.25
    parts = split(x, draw(1))[0].standardised
    torch.testing.assert_close(parts.fit.mean(1)[0], torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(parts.fit.std(1, unbiased=False)[0], torch.tensor([1.0, 1.0, 0.0]), rtol=1e-4, atol=1e-5)
    assert parts.report[..., 0].mean() > 90 and (parts.report[..., 2] == 0).all()


@pytest.mark.parametrize("k", [1, 10])
def test_neighbours_equal_scikit_learn(k: int) -> None:
    x = draw(4)
    classes, values = x[:, :3].argmax(1), x[:, 2:] ** 2
    parts, labels, _ = split(x.unsqueeze(0), classes, 3)
    regression = split(x.unsqueeze(0), values)[1]
    shares, means = NearestNeighbours(k=k).outputs(parts, [labels, regression])
    fit, report = x[: SIZES[0]].numpy(), x[-SIZES[2] :].numpy()
    reference = KNeighborsClassifier(k, metric="cosine").fit(fit, classes[: SIZES[0]]).predict_proba(report)
    torch.testing.assert_close(shares[0], torch.from_numpy(reference).float())
    reference = KNeighborsRegressor(k, metric="cosine").fit(fit, values[: SIZES[0]]).predict(report)
    torch.testing.assert_close(means[0], torch.from_numpy(reference).float(), rtol=1e-4, atol=1e-4)


def test_weighted_neighbours_equal_scikit_learn() -> None:
    """The paper's monitor: weights exp(cosine / temperature)."""
    x = draw(4)
    classes, values = x[:, :3].argmax(1), x[:, 2:] ** 2
    parts, labels, _ = split(x.unsqueeze(0), classes, 3)
    shares, means = NearestNeighbours(k=40, temperature=0.1).outputs(parts, [labels, split(x.unsqueeze(0), values)[1]])
    fit, report = x[: SIZES[0]].numpy(), x[-SIZES[2] :].numpy()
    weights = {"metric": "cosine", "weights": lambda distance: np.exp((1 - distance) / 0.1)}
    reference = KNeighborsClassifier(40, **weights).fit(fit, classes[: SIZES[0]]).predict_proba(report)
    torch.testing.assert_close(shares[0], torch.from_numpy(reference).float(), rtol=1e-4, atol=1e-4)
    reference = KNeighborsRegressor(40, **weights).fit(fit, values[: SIZES[0]]).predict(report)
    torch.testing.assert_close(means[0], torch.from_numpy(reference).float(), rtol=1e-4, atol=1e-4)


def test_kernel_ridge_equals_scikit_learn() -> None:
    x = draw(3)
    values = torch.cat([x[:, :1].sin() + 5, draw(1, seed=1)], dim=1)
    parts, labels, _ = split(x.unsqueeze(0), values)
    found = KernelRidge(bandwidths=(0.7,), ridges=(1e-3,), num_train=300).outputs(parts, [labels])[0][0]
    white = whiten(parts)
    fit, report = white.fit[0, :300].numpy(), white.report[0].numpy()
    mean = values[:300].double().mean(0).numpy()
    reference = SklearnKernelRidge(alpha=1e-3 * 300, kernel="rbf", gamma=1 / (2 * 3 * 0.7**2)).fit(
        fit, values[:300].numpy() - mean
    )
    np.testing.assert_allclose(found.numpy(), reference.predict(report) + mean, atol=1e-4)


def test_settings_are_chosen_for_each_coordinate_where_asked() -> None:
    """Much noise calls for a strong ridge, a trace beside it for a weak one; one choice for both loses the trace."""
    x = draw(4)
    values = torch.cat([10 * draw(1, seed=1), 0.1 * (4 * x[:, :1]).sin()], dim=1)
    data = split(x.unsqueeze(0), values)
    together, apart = (
        KernelRidge(by_coordinate=choice, num_train=600).outputs(data[0], [data[1]])[0][0] for choice in (False, True)
    )
    trace = [float(r2_max(data[2][:, 1:], outputs[:, 1:])) for outputs in (together, apart)]
    assert trace[0] < 0.3 and trace[1] > 0.5
    assert float(r2_max(data[2][:, :1], apart[:, :1])) < 0.05


def test_whitening_gives_every_direction_variance_one_and_drops_rounding() -> None:
    x = draw(4) @ torch.diag(torch.tensor([1.0, 1e-3, 5.0, 1.0]))
    x = torch.cat([x, x[:, :1] + x[:, 2:3]], dim=1).unsqueeze(0)
    fit = whiten(split(x.double(), draw(1))[0]).fit[0]
    covariance = fit.T @ fit / len(fit)
    torch.testing.assert_close(covariance.diagonal(), torch.tensor([0.0, 1, 1, 1, 1]).double(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(covariance, covariance.diagonal().diag(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("probe", [KernelRidge(num_train=600), GradientBoosting(max_iter=50)], ids=lambda probe: probe.name)
def test_strong_probes_see_faint_traces_that_are_not_linear_until_they_are_rounded_away(probe: Probe) -> None:
    x = draw(3)
    trace = (x[:, :1] * x[:, 1:2]).sign()
    exact = torch.cat([0.001 * x[:, :2], x[:, 2:]], 1)
    rounded = (exact / 0.05).round() * 0.05
    before, after = r2(probe, *split(torch.stack([exact, rounded]), trace))
    assert before > 0.5 and after < 0.05


def test_names_tell_probes_apart() -> None:
    probes: list[Probe] = [LinearProbe(), LinearProbe(True), MLPProbe(), MLPProbe(True), NearestNeighbours()]
    assert [probe.name for probe in probes] == ["linear", "linear-standardised", "mlp", "mlp-standardised", "knn-10"]
    assert NearestNeighbours(k=200, temperature=0.1).name == "knn-200-weighted"
