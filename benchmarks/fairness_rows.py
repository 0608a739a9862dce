"""What the fairness study measures, and how its numbers are found again among stored rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runs import Record

from contextssl.reporting.names import environment_name, method_name

OURS, LONGEST, LENGTHS = "context_ssl", 126, (0, 2, 14, 30, 126)
LEAKAGE_PROBES = ("linear", "linear-standardised", "mlp", "mlp-standardised", "boosting")
SHORT_PROBES = LEAKAGE_PROBES[:-1]  # boosting is measured at the ends only
UTILITY_PROBE, BOOSTED, DECISION = "linear-standardised", "boosting", "decision"
ODDS, PARITY, CALIBRATION = "equalized_odds_difference", "demographic_parity_difference", "calibration_error_difference"
OPPORTUNITY = "equal_opportunity_difference"
GROUP_METRICS = ("selection_rate", "true_positive_rate", "false_positive_rate", "calibration_error")


@dataclass(frozen=True, slots=True)
class StudySet:
    """One data set of the study.

    Attributes:
        name: in the record and in file names.
        title: in print.
        experiment: the main one; `experiment_simclr` is the baseline's.
        target: what is to be predicted with equal rates.
        second: the other sensitive attribute, in experiments on two.
        settings: of every run.
        pairs: how the main experiment draws partners; other ways are variants.
        preset: of `context_ssl` that it trains; the other one is a variant.
    """

    name: str
    title: str
    experiment: str
    target: str
    second: str
    settings: tuple[str, ...] = ()
    pairs: str = "matched"
    preset: str = "default"

    @property
    def models(self) -> tuple[Model, Model]:
        """The main one, and one whose contexts tell the target."""
        main = Model(self.experiment, "none", "sex")
        second = Model(f"{self.experiment}_target", self.target, f"sex+{self.target}")
        return main, second

    @property
    def baselines(self) -> str:
        """The name of what was measured without the training command."""
        return f"{self.name}/baselines"

    def method(self, name: str) -> str:
        """The name of a self-supervised method's rows."""
        return f"{self.experiment}_simclr/{name}"


class Model(NamedTuple):
    """A trained model of ours, and its two kinds of contexts: those that leave sex out, and those that tell it."""

    experiment: str
    hiding: str
    telling: str


class Place(NamedTuple):
    """Where embeddings are from: fields of a row, without the measurement."""

    experiment: str
    method: str
    environment: str
    control: str
    length: int


class Numbers:
    """Rows by place and measurement."""

    def __init__(self, rows: Iterable[Record]) -> None:
        self._rows = {(_place(row), row["target"], row["probe"], row["metric"]): row for row in rows}
        self.places = list(dict.fromkeys(place for place, *_ in self._rows))

    def row(self, place: Place, target: str, probe: str, metric: str) -> Record | None:
        """One row, None where it was not measured."""
        return self._rows.get((place, target, probe, metric))

    def num_seeds(self, experiment: str) -> int:
        """How many training seeds its rows are the means of; 0 where there are none."""
        return max((row["num_seeds"] for (place, *_), row in self._rows.items() if place.experiment == experiment), default=0)

    def leakage(self, place: Place, attributes: Sequence[str], probes: Sequence[str] = LEAKAGE_PROBES) -> Record | None:
        """The largest AUROC at which any of the probes reads any of the attributes."""
        found = [row for name in attributes for probe in probes if (row := self.row(place, name, probe, "auroc"))]
        return max(found, key=lambda row: row["mean"], default=None)

    def utility(self, place: Place, target: str, metric: str = "accuracy", probe: str = "") -> Record | None:
        """How well the target is predicted: by the probe given, else by the usual one, else as decided."""
        wanted = (probe,) if probe else (UTILITY_PROBE, DECISION)
        return next((row for name in wanted if (row := self.row(place, target, name, metric))), None)

    def metrics(self, target: str) -> list[str]:
        """All metrics of a target."""
        return list(dict.fromkeys(metric for _, name, _, metric in self._rows if name == target))


def _place(row: Record) -> Place:
    return Place(row["experiment"], row["method"], row["environment"], row["control"], row["context_length"])


def own_place(experiment: str, environment: str, length: int = LONGEST, control: str = "true") -> Place:
    """A context of our method; the empty one at length 0."""
    return Place(experiment, OURS, *((environment, control) if length else ("-", "empty")), length)


def baseline_places(study: StudySet, numbers: Numbers) -> list[tuple[str, Place]]:
    """Label and place of everything that had to be trained or fitted for its one point."""
    names = (study.baselines, study.method("simclr"), study.method("vicreg"))
    return [(label(place.method), place) for place in numbers.places if place.experiment in names]


def decided_places(study: StudySet, numbers: Numbers) -> list[tuple[str, Place]]:
    """Label and place of fairlearn's classifiers on our embeddings, after the longest contexts."""
    own = [model.experiment for model in study.models]
    found = [p for p in numbers.places if p.experiment in own and p.method.startswith(f"{OURS}+")]
    return [(f"{label(p.method.removeprefix(f'{OURS}+'))} on ours, {environment_name(p.environment)}", p) for p in found]


_LABELS = {
    "columns": "all columns",
    "columns-without-sensitive": "columns without the attribute",
    "correlation-remover-1": "CorrelationRemover",
    "correlation-remover-0.7": "CorrelationRemover, 0.7",
    "exponentiated-gradient-0.02": "ExponentiatedGradient, .02",
    "exponentiated-gradient-0.1": "ExponentiatedGradient, .1",
    "threshold-optimizer": "ThresholdOptimizer",
    "adversarial-0.3": "adversarial encoder, 0.3",
    "adversarial-1": "adversarial encoder, 1",
    "adversarial-3": "adversarial encoder, 3",
}


def label(method: str) -> str:
    """A method as it is called in print."""
    return _LABELS.get(method, method_name(method))


class Point(NamedTuple):
    """Leakage (lower is better) and utility (higher is better)."""

    leakage: float
    utility: float


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """The points that no other one beats in one of the two and equals in the other, by growing leakage."""
    front: list[Point] = []
    for point in sorted(set(points), key=lambda point: (point.leakage, -point.utility)):
        if not front or point.utility > front[-1].utility:
            front.append(point)
    return front


def plane_point(study: StudySet, numbers: Numbers, place: Place) -> Point | None:
    """Leakage and accuracy, None where one was not measured; a constant predictor is no point to reach."""
    leakage, utility = numbers.leakage(place, ("sex",)), numbers.utility(place, study.target)
    return None if leakage is None or utility is None or place.method == "majority" else Point(leakage["mean"], utility["mean"])


def target_words(target: str) -> str:
    """A target in running text."""
    return {"long_stay_7d": "long stay", "income": "income"}.get(target, target.replace("_", " "))


def above_front(point: Point, front: Sequence[Point]) -> float | None:
    """Utility beyond the best of the front that leaks no more; None where everything on the front leaks more."""
    reached = [other.utility for other in front if other.leakage <= point.leakage]
    return point.utility - max(reached) if reached else None
