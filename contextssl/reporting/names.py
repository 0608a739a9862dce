"""What metrics, probes, environments and controls are called in print, and what the metrics mean."""

from __future__ import annotations

import re
from collections.abc import Iterable

CONTEXT_FREE = "-"  # the environment of results that no context was involved in: encoder features, baselines
EMPTY = "empty"  # the environment of embeddings after no context, as reports call it

# Metric: (printed name, meaning in one sentence, whether lower values are the better ones). A rate of one group has no better side.
_METRICS: dict[str, tuple[str, str, bool]] = {
    "accuracy": ("accuracy", "share of rows predicted correctly", False),
    "balanced_accuracy": ("balanced accuracy", "mean of the recalls of all classes", False),
    "auroc": ("AUROC", "probability that a positive row is ranked above a negative one; .500 is chance", False),
    "r2_pooled": ("pooled R²", "one mean over all coordinates of the target; a constant predictor may score above 0", False),
    "r2_dim_mean": ("mean R² per dimension", "R² of each coordinate, averaged", False),
    "r2_max": ("best R² of a coordinate", "the largest R² of a coordinate: whether anything was read at all", False),
    "r2_varw": ("variance-weighted R²", "one R² over all coordinates, each with its own mean", False),
    "demographic_parity_difference": (
        "parity difference",
        "largest gap in the rate of positive predictions between groups",
        True,
    ),
    "equal_opportunity_difference": ("equal-opportunity difference", "largest gap in true-positive rate between groups", True),
    "equalized_odds_difference": (
        "equalized-odds difference",
        "larger of the gaps in true-positive and false-positive rate between groups",
        True,
    ),
    "equalized_odds_difference_mean": (
        "mean equalized-odds difference",
        "mean of the gaps in true-positive and false-positive rate between groups",
        True,
    ),
    "calibration_error": (
        "calibration error",
        "mean distance between predicted probability and observed share in bins of equal mass; its floor is what a calibrated "
        "predictor scores on so few rows",
        True,
    ),
    "calibration_error_difference": ("calibration difference", "largest gap in calibration error between groups", True),
    "selection_rate": ("selection rate", "share of positive predictions; its floor is that of all rows", False),
    "true_positive_rate": (
        "true-positive rate",
        "share of positive rows predicted positive; its floor is that of all rows",
        False,
    ),
    "false_positive_rate": (
        "false-positive rate",
        "share of negative rows predicted positive; its floor is that of all rows",
        True,
    ),
    "ece": ("calibration error of labels", "mean distance between the largest probability and accuracy, over bins of it", True),
    "log_loss": ("log loss", "minus the mean log-probability of the right label, in nats", True),
    "mrr": ("MRR", "mean of one over the rank of the true next state", False),
    "prediction_error": ("prediction error", "distance between the predicted and the true embedding", True),
}

_CONTROLS = {
    "true": "true actions",
    "shuffled": "shuffled actions",
    "noise": "noise actions",
    "wrong-group": "wrong group told",
    "empty": "no context",
    "contradictory": "two rules in turn",
    "other-split": "items of another split",
    "label-noise": "some wrong labels",
    "unseen-rule": "a rule never trained on",
}
_MEANT = {
    "shuffled": "Shuffled: true actions, moved to other pairs.",
    "noise": "Noise: random actions of the same size in the same coordinates.",
    "wrong-group": "Wrong group: another group's coordinates are filled.",
    "contradictory": "Two rules in turn: the pairs follow the context's own rule and another one.",
    "other-split": "Items of another split: those of validation.",
    "label-noise": "Some wrong labels: a share of them are those of other pairs.",
    "unseen-rule": "A rule never trained on: the context shows labels by it.",
}
_READERS = {"head": "own head", "observer": "ideal observer"}  # what reads labels and is no probe


def base_metric(metric: str) -> str:
    """A metric without the attribute whose groups it compares: `equalized_odds_difference(sex)` -> the part before `(`."""
    return metric.partition("(")[0]


def versions_of(base: str, metrics: Iterable[str]) -> list[str]:
    """The metrics that are `base`, for whatever attribute, in their order and once each."""
    return [metric for metric in dict.fromkeys(metrics) if base_metric(metric) == base]


def metric_name(metric: str) -> str:
    """The printed name of a metric, `equalized-odds difference (sex)` or `true-positive rate (sex: Female)`."""
    base = base_metric(metric)
    printed = f"H@{base.split('@')[1]}" if base.startswith("hit@") else base.replace("_", " ")
    return (_METRICS[base][0] if base in _METRICS else printed) + _whose(metric.removeprefix(base))


def _whose(attribute: str) -> str:
    """Whose metric it is: `(sex+race=Female+White)` -> ` (sex and race: Female and White)`."""
    sides = attribute.removeprefix("(").removesuffix(")").split("=", 1)
    return f" ({': '.join(join(side.replace('_', ' ').split('+')) for side in sides)})" if attribute else ""


def metric_meaning(metric: str) -> str | None:
    """What a metric is, in one clause, or None for one that is not described here."""
    base = base_metric(metric)
    if base.startswith("hit@"):
        return f"share of queries whose true next state is among the first {base.split('@')[1]}"
    return _METRICS[base][1] if base in _METRICS else None


def lower_is_better(metric: str) -> bool:
    """Whether smaller values of the metric are the better ones."""
    base = base_metric(metric)
    return base in _METRICS and _METRICS[base][2]


def direction(metric: str) -> str:
    """`lower is fairer` of differences between groups, `lower is better` of other such metrics; nothing where more is better."""
    if not lower_is_better(metric):
        return ""
    return "lower is fairer" if base_metric(metric).removesuffix("_mean").endswith("_difference") else "lower is better"


def probe_name(probe: str) -> str:
    """The printed name of a probe: `linear (raw)`, `MLP, standardised`, `kNN, k = 10`, `boosting, 4 bits`."""
    match = re.fullmatch(r"(.+?)(-standardised)?(?:-(\d+)bit)?", probe)
    if probe == "-" or match is None:
        return "no probe"
    if probe in _READERS:
        return _READERS[probe]
    base, standardised, bits = match.groups()
    if neighbours := re.fullmatch(r"knn-?(\d+)", base):
        base = f"kNN, k = {neighbours[1]}"
    elif base in ("linear", "mlp"):
        base = {"mlp": "MLP"}.get(base, base) + (", standardised" if standardised else " (raw)")
    else:
        base = base.replace("-", " ") + (", standardised" if standardised else "")
    return f"{base}, {bits} bits" if bits else base


def reader_name(probe: str) -> str:
    """What reads, in print: `linear (raw) probe`, `own head`; nothing where nothing does."""
    return "" if probe == "-" else _READERS.get(probe, f"{probe_name(probe)} probe")


def is_label(target: str) -> bool:
    """Whether a target is what an environment's rule makes of a class; `label_color` does not measure the group color."""
    return target.startswith("label_")


def target_name(target: str) -> str:
    """The printed name of a target: `relative rotation`, `label by the rule of color`, `label by any rule`."""
    if is_label(target):
        rule = target.removeprefix("label_")
        return "label by any rule" if rule == "any" else f"label by the rule of {rule}"
    return target.replace("_", " ")


def environment_name(environment: str) -> str:
    """The printed name of an environment: `told sex`, `told rotation and color`, `told nothing`, `no context`."""
    if environment in (CONTEXT_FREE, EMPTY):
        return {CONTEXT_FREE: "context-free", EMPTY: "no context"}[environment]
    return "told " + ("nothing" if environment == "none" else join(environment.replace("_", " ").split("+")))


def control_name(control: str) -> str:
    """The printed name of a control: `shuffled actions`."""
    return _CONTROLS.get(control, control.replace("-", " "))


def method_name(method: str) -> str:
    """The printed name of a method: `ContextSSL` for ours, underscores opened for others."""
    return {"context_ssl": "ContextSSL", "simclr": "SimCLR", "vicreg": "VICReg"}.get(method, method.replace("_", " "))


def control_meaning(control: str) -> str:
    """What contexts of that control are, as a sentence; nothing for one that is not described here."""
    return _MEANT.get(control, "")


def join(words: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""
