"""Group fairness of what probes predict, as a protocol: `group-fairness/1` (protocol 6.10).

What is compared is said in the metric's name: `equalized_odds_difference(sex)` is between the sexes,
`equalized_odds_difference(sex+race)` between the intersections of both, `true_positive_rate(sex=Female)` is one group's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from contextssl.adapter import DomainAdapter
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.probe import LinearProbe, MLPProbe
from contextssl.evaluation.protocols import Readout, ReadoutProtocol
from contextssl.evaluation.readouts import cell_result
from contextssl.evaluation.results import Result
from domains.tabular.calibration import group_calibration, positive_probability
from domains.tabular.group_metrics import GroupMetric, group_metrics, group_rates, smallest_stratum

__all__ = ["GROUP_FAIRNESS", "GroupFairness", "Predictions", "compare_groups", "group_labels"]

LOG = logging.getLogger("contextssl")
GROUP_FAIRNESS = "group-fairness/1"

Labels = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a classifier of two classes said: truth and prediction [N]; score and probability [N], None where it has none."""

    truth: npt.NDArray[np.int64]
    prediction: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64] | None = None
    probability: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class GroupFairness:
    """`group-fairness/1`: how a probe's predictions of a target treat the groups of each sensitive attribute.

    The interval of a row is over test rows (1,000 resamples); intervals over seeds and context draws come from
    summarising the rows.

    Attributes:
        target: two classes, 0 and 1.
        sensitive: names of the targets that tell the groups.
        readout: which probes read the target, on which rows; its own list of targets is not used.
        num_resamples: of the bootstrap.
        by_group: whether to add calibration errors, and rates of every single group.
        intersections: whether the groups of all attributes together are compared too.
        smallest_cell: an attribute with fewer rows of some class in some group is left out, and said; of intersections
            only those groups. A group's rate that rests on fewer is left out too. With 0 an empty one is an error.
    """

    target: str = "income"
    sensitive: tuple[str, ...] = ("sex",)
    readout: ReadoutProtocol = ReadoutProtocol(
        probes=(LinearProbe(), LinearProbe(standardised=True), MLPProbe(standardised=True))
    )
    num_resamples: int = 1000
    by_group: bool = False
    intersections: bool = False
    smallest_cell: int = 0

    def __post_init__(self) -> None:
        if self.readout.num_report is not None:
            raise ValueError("group fairness is measured on all rows of a split: set the readout's num_report to None")

    def __call__(self, bank: EmbeddingBank) -> Iterator[Result]:
        """One result for each cell, probe, attribute and metric."""
        for readout in replace(self.readout, name=GROUP_FAIRNESS, targets=(self.target,)).readouts(bank):
            yield from self.results(bank, readout)

    def results(self, bank: EmbeddingBank, readout: Readout) -> Iterator[Result]:
        """The rows of one readout of the target; a metric of differences is called `metric(attribute)`."""
        truth, split = readout.target.values.cpu().numpy(), self.readout.split
        groups = self.groups(bank)
        predictions, scores = readout.predictions.cpu().numpy(), readout.score.cpu().numpy()
        probabilities = positive_probability(readout.outputs).double().cpu().numpy()
        for cell, *said in zip(readout.cells, predictions, scores, probabilities, strict=True):
            for row in self.metrics(Predictions(truth, *said), groups):
                result = cell_result(
                    bank, cell, GROUP_FAIRNESS, readout.target.name, readout.probe, row.metric, split, row.value, row.floor
                )
                yield replace(result, low=row.low, high=row.high)

    def groups(self, bank: EmbeddingBank) -> dict[str, Labels]:
        """[N] group of each reported row, by what tells it."""
        labelled = bank.labelled(self.readout.split)
        values = {name: labelled.target(name).values.cpu().numpy() for name in self.sensitive}
        return group_labels(values, bank.adapter, self.intersections)

    def metrics(self, said: Predictions, groups: Mapping[str, Labels]) -> Iterator[GroupMetric]:
        """All measures, where there are rows enough."""
        return compare_groups(
            said, groups, num_resamples=self.num_resamples, by_group=self.by_group, smallest_cell=self.smallest_cell
        )


def group_labels(
    values: Mapping[str, npt.NDArray[np.int64]], adapter: DomainAdapter, intersections: bool = False
) -> dict[str, Labels]:
    """Attribute -> [N] names of groups, from their numbers; `a+b` -> `x+y` for all attributes together.

    Groups are called by the values that a table gives them, else by their number.
    """
    known = {attribute.name: attribute.values for attribute in getattr(adapter, "attributes", ())}
    found = {}
    for name, numbers in values.items():
        names = known.get(name) or [str(number) for number in range(int(numbers.max()) + 1)]
        found[name] = np.array(names, dtype=object)[numbers]
    if intersections and len(found) > 1:
        found["+".join(found)] = np.array(["+".join(parts) for parts in zip(*found.values(), strict=True)], dtype=object)
    return found


def compare_groups(
    said: Predictions, groups: Mapping[str, Labels], *, num_resamples: int, by_group: bool = False, smallest_cell: int = 0
) -> Iterator[GroupMetric]:
    """Measures of all rows once, then those of each attribute's groups; arguments as in `GroupFairness`."""
    everybody = np.zeros(len(said.truth), dtype=np.int64)
    if smallest_cell and smallest_stratum(said.truth, everybody) < smallest_cell:
        return
    found = group_metrics(said.truth, said.prediction, everybody, said.score, num_resamples=num_resamples)
    yield from (row for row in found if "difference" not in row.metric)
    if by_group and said.probability is not None:
        yield from group_calibration(said.truth, said.probability, everybody, num_resamples=num_resamples)[1].values()
    for name, labels in groups.items():
        words = labels.astype(str)
        rows = _rows_to_compare(said, words, smallest_cell, name)
        if rows is not None:
            part, group = _of_rows(said, rows), words[rows]
            for row in group_metrics(part.truth, part.prediction, group, num_resamples=num_resamples):
                if "difference" in row.metric:
                    yield replace(row, metric=f"{row.metric}({name})")
            if by_group:
                yield from _single_groups(part, group, name, num_resamples, smallest_cell)


def _single_groups(
    said: Predictions, group: npt.NDArray[np.str_], name: str, num_resamples: int, smallest: int
) -> Iterator[GroupMetric]:
    """Rates and calibration errors of single groups, and the difference of the latter."""
    for value, rows in group_rates(said.truth, said.prediction, group, smallest=smallest).items():
        yield from (replace(row, metric=f"{row.metric}({name}={value})") for row in rows)
    if said.probability is not None:
        gap, each = group_calibration(said.truth, said.probability, group, num_resamples=num_resamples)
        yield replace(gap, metric=f"{gap.metric}({name})")
        yield from (replace(row, metric=f"{row.metric}({name}={value})") for value, row in each.items())


def _rows_to_compare(said: Predictions, labels: npt.NDArray[np.str_], smallest: int, name: str) -> npt.NDArray[np.bool_] | None:
    """Which rows take part: all; of intersections those of groups with rows enough; None when there is nothing to compare."""
    needed = max(1, smallest)
    if "+" not in name:
        if not smallest or smallest_stratum(said.truth, labels) >= needed:
            return np.ones(len(labels), dtype=bool)
        LOG.warning("groups of %s are not compared: one has fewer than %d rows of some class", name, smallest)
        return None
    few = [group for group in np.unique(labels) if min(np.bincount(said.truth[labels == group], minlength=2)[:2]) < needed]
    if few:
        LOG.warning("of %s left out, with fewer than %d rows of some class: %s", name, needed, ", ".join(few))
    rows = ~np.isin(labels, few)
    return rows if len(np.unique(labels[rows])) > 1 else None


def _of_rows(said: Predictions, rows: npt.NDArray[np.bool_]) -> Predictions:
    probability = None if said.probability is None else said.probability[rows]
    return Predictions(said.truth[rows], said.prediction[rows], probability=probability)
