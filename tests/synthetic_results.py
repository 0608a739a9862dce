"""Synthetic results and metrics shaped like those of real runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from contextssl.evaluation.results import Result

LENGTHS = (0, 2, 14, 30, 126)
SEX_AUROC = {  # probe: untold from the empty to the longest context
    "linear": (0.907, 0.760, 0.709, 0.704, 0.702),
    "linear-standardised": (0.95, 0.80, 0.722, 0.712, 0.711),
    "mlp": (0.991, 0.871, 0.806, 0.795, 0.791),
    "mlp-standardised": (0.993, 0.880, 0.811, 0.801, 0.797),
    "knn-10": (0.749, 0.735, 0.721, 0.720, 0.719),
    "boosting": (0.916, 0.850, 0.823, 0.821, 0.820),
}
INCOME = {  # metric: (floor, empty, told, untold)
    "accuracy": (0.764, 0.843, 0.849, 0.845),
    "balanced_accuracy": (0.5, 0.751, 0.762, 0.752),
    "auroc": (0.5, 0.889, 0.900, 0.888),
    "demographic_parity_difference(sex)": (None, 0.112, 0.182, 0.101),
    "equal_opportunity_difference": (None, 0.041, 0.120, 0.050),
    "equalized_odds_difference(sex)": (None, 0.049, 0.153, 0.055),
    "equalized_odds_difference_mean(sex)": (None, 0.042, 0.121, 0.044),
}
BASELINES = {  # method: income accuracy, equalized odds, sex AUROC linear, MLP, boosting
    "majority": (0.764, 0.0, 0.5, 0.5, 0.5),
    "logistic": (0.847, 0.117, 1.0, 1.0, 1.0),
    "logistic_without_sex": (0.846, 0.084, 0.930, 0.931, 0.934),
    "gradient_boosting": (0.873, 0.068, 1.0, 1.0, 1.0),
    "logistic_correlation_remover": (0.840, 0.128, 0.53, 1.0, 1.0),
    "simclr": (0.851, 0.092, 0.989, 0.995, 0.981),
}


def row(value: float, *, target: str, metric: str, probe: str = "linear", **other: object) -> Result:
    """A result row with everything not under test filled in."""
    known = {
        "protocol": "attribute-probe/1",
        "environment": "none",
        "control": "true",
        "context_length": 0,
        "context_draw": 0,
        "seed": 0,
        "split": "test",
    }
    return Result(target=target, probe=probe, metric=metric, value=value, **(known | other))  # type: ignore[arg-type]


def adult_rows(
    seeds: Sequence[int] = (0, 1, 2),
    draws: Sequence[int] = (0, 1, 2),
    lying: float = 1.0,
    probes: Sequence[str] = tuple(SEX_AUROC),
) -> list[Result]:
    """Rows of a run on census records: sex told or not, up to six probes, fairness, controls, baselines.

    `lying` is how much of the true context's effect contexts with shuffled or noise actions have.
    """
    noise = np.random.default_rng(0)
    rows: list[Result] = []

    def cells(target: str, metric: str, probe: str, floor: float | None, told: Sequence[float], untold: Sequence[float]) -> None:
        common = {"target": target, "metric": metric, "probe": probe, "floor": floor}
        for seed in seeds:
            rows.extend(_seed_rows(noise, common, seed, draws, lying, told, untold))

    for probe in probes:
        values = SEX_AUROC[probe]
        top = [values[0], *[0.97 if probe == "knn-10" else 1.0] * 4]
        cells("sex", "auroc", probe, 0.5, top, values)
        cells("sex", "accuracy", probe, 0.669, [0.9 * v + 0.1 for v in top], [0.6 * v + 0.3 for v in values])
    for metric, (floor, empty, told, untold) in INCOME.items():
        steps = np.array([0, 0.7, 0.95, 1, 1])
        cells("income", metric, "linear", floor, list(empty + steps * (told - empty)), list(empty + steps * (untold - empty)))
    return rows + _baseline_rows()


def _seed_rows(
    noise: np.random.Generator,
    common: dict[str, object],
    seed: int,
    draws: Sequence[int],
    lying: float,
    told: Sequence[float],
    untold: Sequence[float],
) -> Iterator[Result]:
    """The empty context, both environments at each length, and two controls at the longest."""
    shift = noise.normal(0, 0.004)
    yield row(min(1, told[0] + 2 * shift), **common, environment="-", control="empty", seed=seed)
    for environment, values in (("sex", told), ("none", untold)):
        for length, value, draw in ((n, v, d) for n, v in list(zip(LENGTHS, values, strict=True))[1:] for d in draws):
            where = {"context_length": length, "context_draw": draw, "seed": seed}
            found = float(np.clip(value + shift + noise.normal(0, 0.001), 0, 1))
            yield row(found, **common, environment=environment, **where)
            if environment == "sex" and length == LENGTHS[-1]:
                for control in ("shuffled", "noise"):
                    yield row(lying * found + (1 - lying) * untold[-1], **common, environment="sex", control=control, **where)


def _baseline_rows() -> list[Result]:
    rows = []
    for method, (accuracy, gap, *leakage) in BASELINES.items():
        common = {"environment": "-", "control": "-", "method": method}
        for metric, value in (("accuracy", accuracy), ("equalized_odds_difference(sex)", gap)):
            rows.append(row(value, target="income", metric=metric, low=value - 0.006, high=value + 0.006, **common))
        for probe, value in zip(("linear", "mlp", "boosting"), leakage, strict=True):
            bounds = {"low": value - 0.005, "high": value + 0.005, "floor": 0.5}
            rows.append(row(value, target="sex", metric="auroc", probe=probe, **bounds, **common))
    return rows


def vision_rows(seeds: Sequence[int] = (0, 1, 2)) -> list[Result]:
    """Rows of a run on rotated, coloured objects: each group told in turn, three R2, four probes."""
    noise = np.random.default_rng(1)
    start = {"rotation": 0.80, "color": 0.89}
    faded = {"rotation": (0.699, 0.587, 0.585, 0.575), "color": (0.365, 0.351, 0.305, 0.321)}
    rows = []
    for target in ("rotation", "color"):
        for probe, kept in (("linear", 0.0), ("linear-standardised", 0.8), ("mlp", 0.2), ("knn-10", -0.3)):
            for metric, floor in (("r2_pooled", 0.229 if target == "rotation" else 0.0), ("r2_dim_mean", 0.0), ("r2_varw", 0.0)):
                for seed in seeds:
                    common = {"target": target, "metric": metric, "probe": probe, "floor": floor, "seed": seed}
                    rows.append(row(start[target] + noise.normal(0, 0.01), **common, environment="-", control="empty"))
                    rows.append(row(start[target] + 0.05, **common, environment="-", control="-"))
                    for environment in ("rotation", "color", "none"):
                        for length, low in zip(LENGTHS[1:], faded[target], strict=True):
                            value = start[target] + 0.02 if environment == target else low + kept * (start[target] - low)
                            where = {"environment": environment, "context_length": length}
                            rows.append(row(value + noise.normal(0, 0.02), **common, **where))
                            if environment == "rotation" and length == 126:
                                rows.append(row(value, **common, **where, control="wrong-group"))
    return rows


ENVIRONMENT = {
    "python": "3.11.9",
    "torch": "2.15.0",
    "contextssl": "0.1.0",
    "device": "cpu, 2 threads",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "command": ["contextssl", "train", "experiment=adult_sex", "seed=0"],
}
MANIFEST = {
    "name": "adult",
    "source": "adult.data, adult.test",
    "stand_in": False,
    "rows": {"train": 29304, "validation": 3257, "test": 16281},
    "digests": {"adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"},
    "sensitive": ["sex"],
}


def metric_row(step: int) -> dict[str, float]:
    """Training metrics of one step, falling smoothly."""
    decay = float(np.exp(-step / 150))
    terms = {"contrastive": 2.1 + 2.7 * decay, "auxiliary": 0.2 + 0.5 * decay, "leakage": 0.4 if step > 150 else 0.0}
    diagnostics = {"diagnostics/effective_rank": 20 - 8 * decay, "diagnostics/alignment": 0.3 + 0.2 * decay}
    diagnostics |= {"diagnostics/uniformity": -2.5 + decay}
    return {
        "step": step,
        "train/loss": sum(terms.values()),
        **{f"train/loss/{k}": v for k, v in terms.items()},
        "lr": 2e-3 * decay,
        **diagnostics,
    }
