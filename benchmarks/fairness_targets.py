"""Whether the study reaches what it set out to reach, computed from its stored rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fairness_rows import (
    DECISION,
    LONGEST,
    ODDS,
    UTILITY_PROBE,
    Model,
    Numbers,
    Place,
    StudySet,
    above_front,
    baseline_places,
    own_place,
    pareto_front,
    plane_point,
    target_words,
)
from runs import Record

from contextssl.reporting.names import environment_name
from contextssl.reporting.number_format import number, with_bounds

MOST_COST = 0.02  # of AUROC
LINEAR, MLP = ("linear", "linear-standardised"), ("mlp", "mlp-standardised")
HOLDS = {True: "holds", False: "does not", None: "–"}
EMPTY = "no context"
HEAD = "| what is asked | after | compared with | over seeds | over test rows |\n| --- | --- | --- | --- | --- |"


@dataclass(frozen=True, slots=True)
class Claim:
    """That one number is below (or above) another with room between their intervals.

    Attributes:
        what: is measured.
        below: whether the first is to be below the second, or above it.
        after, against: what the two are called.
        first, second: their rows.
    """

    what: str
    below: bool
    after: str
    against: str
    first: Record
    second: Record

    def holds(self, low: str, high: str) -> bool | None:
        """Whether the intervals of these names lie apart, the right way round; None where one is missing."""
        lower, upper = (self.first, self.second) if self.below else (self.second, self.first)
        if lower.get(high) is None or upper.get(low) is None:
            return None
        return bool(lower[high] < upper[low])

    @property
    def line(self) -> str:
        """Of the table."""
        verdicts = HOLDS[self.holds("low", "high")], HOLDS[self.holds("row_low", "row_high")]
        words = "lower" if self.below else "higher"
        cells = (f"{name}: {_value(row)}" for name, row in ((self.after, self.first), (self.against, self.second)))
        return f"| {self.what}: {words} | {' | '.join((*cells, *verdicts))} |"


def _value(row: Record) -> str:
    """`.664 [.660, .668]`, and the interval over rows after a semicolon."""
    low, high = row.get("row_low"), row.get("row_high")
    over_rows = "" if low is None or high is None else f"; rows [{number(low)}, {number(high)}]"
    return with_bounds(row["mean"], row["low"], row["high"]) + over_rows


def called(environment: str) -> str:
    """A longest context in print."""
    return f"{environment_name(environment)}, c = {LONGEST}"


def claims(study: StudySet, model: Model, numbers: Numbers) -> Iterator[Claim]:
    """What is claimed of a model's contexts, where both sides were measured."""
    untold, told, empty = (
        own_place(model.experiment, *where) for where in ((model.hiding,), (model.telling,), (model.hiding, 0))
    )
    hiding, telling = called(model.hiding), called(model.telling)

    def leakage(place: Place, probes: tuple[str, ...]) -> Record | None:
        return numbers.leakage(place, ("sex",), probes)

    def pair(what: str, below: bool, after: tuple[str, Record | None], against: tuple[str, Record | None]) -> Iterator[Claim]:
        if after[1] is not None and against[1] is not None:
            yield Claim(what, below, after[0], against[0], after[1], against[1])

    for name, place in ((telling, told), (EMPTY, empty)):
        for title, probes in (("linear", LINEAR), ("MLP", MLP)):
            what = f"sex, AUROC of the {title} probe"
            yield from pair(what, True, (hiding, leakage(untold, probes)), (name, leakage(place, probes)))
        odds = [numbers.row(where, study.target, UTILITY_PROBE, f"{ODDS}(sex)") for where in (untold, place)]
        yield from pair("equalized-odds difference", True, (hiding, odds[0]), (name, odds[1]))
    yield from pair("sex, AUROC of the linear probe", False, (telling, leakage(told, LINEAR)), (EMPTY, leakage(empty, LINEAR)))
    for name, place in ((EMPTY, empty), (hiding, untold)):
        rows = [numbers.row(where, "treatment", UTILITY_PROBE, "accuracy") for where in (told, place)]
        yield from pair("treatment, accuracy", False, (telling, rows[0]), (name, rows[1]))


def targets_table(study: StudySet, numbers: Numbers, record: Record) -> str:
    """Every target with its numbers, and whether it holds: of the main model, then of one that is told the target."""
    lines = [HEAD]
    for model in study.models:
        lines += [claim.line for claim in claims(study, model, numbers)]
        lines += [*_cost(study, model, record), *_fronts(study, model, numbers)]
    return "\n".join(lines) + "\n"


def _cost(study: StudySet, model: Model, record: Record) -> Iterator[str]:
    """What leaving sex out costs in AUROC, paired over seeds: by the mean, and by the upper end of its interval."""
    for name, other in ((called(model.telling), f"{model.telling}/{LONGEST}"), (EMPTY, "-/empty/0")):
        for row in record["paired"]:
            wanted = (model.experiment, other, study.target, UTILITY_PROBE, "auroc")
            if (row["experiment"], row["from"], row["target"], row["probe"], row["metric"]) == wanted:
                high = None if row["low"] is None else -row["low"]
                low = None if row["high"] is None else -row["high"]
                sure = "" if high is None else f" (with its whole interval: {HOLDS[high <= MOST_COST]})"
                verdict = f"{HOLDS[-row['mean'] <= MOST_COST]}{sure}"
                cost = with_bounds(-row["mean"], low, high)
                yield f"| {target_words(study.target)}, AUROC: costs at most {number(MOST_COST)} | {called(model.hiding)} | {name}: {cost} more | {verdict} | – |"
                break  # two protocols measure it


def _fronts(study: StudySet, model: Model, numbers: Numbers) -> Iterator[str]:
    """Whether the context without sex is on or above the front of all baselines, and of those that are representations."""
    own = plane_point(study, numbers, own_place(model.experiment, model.hiding))
    places = [place for _, place in baseline_places(study, numbers)]
    representations = [place for place in places if numbers.row(place, study.target, DECISION, "accuracy") is None]
    for title, chosen in (("all baselines", places), ("the baselines that are representations", representations)):
        points = [point for place in chosen if (point := plane_point(study, numbers, place)) is not None]
        if own is not None and points:
            above = above_front(own, pareto_front(points))
            side = f"accuracy {number(abs(above or 0))} {'above' if (above or 0) >= 0 else 'below'} it"
            said = "leaks less than all of it" if above is None else side
            verdict = HOLDS[above is None or above >= 0]
            after = f"{called(model.hiding)}: leakage {number(own.leakage)}, accuracy {number(own.utility)}"
            yield f"| on or above the front of {title} | {after} | {said} | {verdict} | – |"
