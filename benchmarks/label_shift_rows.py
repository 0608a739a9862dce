"""The experiments on context-dependent labels, by name, and the rows of their record, found by what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runs import Record

from contextssl.reporting.tables import Cell

LENGTHS = (0, 2, 4, 8, 14, 30, 62, 126)
PERMUTED = "supervised/label_permutations"
TITLES = {"supervised/label_shift": "3DIEBench, easy", "supervised/adult_income_flip": "UCI Adult"}
SHIFTED = {
    "supervised/label_shift": ("rotation", "color"),
    "supervised/label_shift/coarse": ("rotation", "color"),
    "supervised/label_tokens": ("rotation", "color"),
    "supervised/adult_income_flip": ("sex", "race"),
    "supervised/adult_income_flip/targets": ("sex", "race"),
}
SINGLE = {
    "supervised/label_shift": "supervised/label_shift_single",
    "supervised/adult_income_flip": "supervised/adult_income_single",
}
COMPLEMENTS = ("supervised/adult_income_flip",)  # whatever is wrong by one rule is right by the other


class Numbers:
    """The rows of a record, found by what they are."""

    def __init__(self, rows: Sequence[Record], seconds: Mapping[str, Mapping[str, Sequence[float]]] | None = None) -> None:
        place = ("experiment", "target", "probe", "metric", "environment", "control", "context_length")
        self._rows = {tuple(row[name] for name in place): row for row in rows}
        self._seconds = seconds or {}

    def label(
        self, experiment: str, rule: str, length: int, control: str = "true", *, probe: str = "head", metric: str = "accuracy",
        read: str | None = None,
    ) -> Record | None:  # fmt: skip
        """What was measured of a rule's labels in a context of that rule, or of another rule's (`read`)."""
        place = (rule, control, length) if length else ("-", "empty", 0)
        return self._rows.get((experiment, f"label_{read or rule}", probe, metric, *place))

    def r2(self, experiment: str, told: str, group: str, length: int) -> Record | None:
        """Pooled R2 of the change of a group: rotation by an MLP, colour linearly, as the paper."""
        place = (told, "true", length) if length else ("-", "empty", 0)
        probe = "mlp" if group == "rotation" else "linear"
        return self._rows.get((experiment, f"relative_{group}", probe, "r2_pooled", *place))

    def permutations(self, control: str, probe: str, length: int) -> Cell:
        """Mean over the permutations that are, or are not, trained on; without a context over those that are."""
        place = (probe, "accuracy", "empty" if length == 0 else control, length)
        found = [
            row["mean"]
            for (experiment, target, *_, environment, _, _), row in self._rows.items()
            if experiment == PERMUTED and target.startswith("label_permutation")
            and (row["probe"], row["metric"], row["control"], row["context_length"]) == place
            and environment in ("-", target.removeprefix("label_"))
        ]  # fmt: skip
        return Cell(sum(found) / len(found)) if found else Cell()

    def minutes(self, experiment: str) -> float | None:
        """What all seeds took to train and evaluate, two single-threaded runs at a time; None where it was not measured."""
        spent = [seconds for verb in self._seconds.get(experiment, {}).values() for seconds in verb]
        return sum(spent) / 2 / 60 if spent else None
