"""Where the numbers of the 3DIEBench benchmark stand among the stored rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from runs import Record

GROUPS = ("rotation", "color")
CLASSES = "category"
LENGTHS = (0, 2, 14, 30, 126)
LONGEST = LENGTHS[-1]
JUDGED = LENGTHS[2:]
PROBES = ("linear", "linear-standardised", "mlp", "mlp-standardised", "knn-10")


class Reading(NamedTuple):
    """How groups are read: a protocol, its names of a group's target, and the metric that is shown."""

    protocol: str
    targets: tuple[str, ...]
    metric: str


SINGLE = Reading("attribute-probe", ("{}",), "r2_dim_mean")
PAIRS = Reading("relative-r2", ("relative_{}",), "r2_pooled")  # what the paper's tables show
STRONGEST = Reading("strongest-probe", ("{}_functions", "{}"), "r2_max")
PAIR_PROBES = {"rotation": "mlp", "color": "linear"}
STRONGEST_PROBES = ("kernel-ridge", "kernel-ridge-6bit", "kernel-ridge-4bit")

PRESETS = {
    "default": "iebench/rotcolor_procedural",
    "no leakage penalty": "iebench/no_leakage_procedural",
    "plain": "iebench/plain_procedural",
    "reference": "iebench/rotcolor_reference_procedural",
    "paper": "iebench/rotcolor_paper_procedural",
    "no auxiliary": "iebench/no_auxiliary_procedural",
    "no mask": "iebench/no_mask_procedural",
    "SimCLR": "iebench/simclr_procedural",
}
CONTEXTUAL = tuple(preset for preset in PRESETS if preset != "SimCLR")

_SWEPT = "iebench/mask_probability_procedural"
MASKS = {
    0.0: PRESETS["no mask"],
    **{value: f"{_SWEPT}/{value}" for value in (0.2, 0.5, 0.75)},
    0.9: PRESETS["plain"],
    0.98: f"{_SWEPT}/0.98",
}
"""Mask probability -> the run that has it; two of them are presets."""
AUXILIARY = {0.0: PRESETS["no auxiliary"], 1.0: PRESETS["plain"]}
"""Weight of the auxiliary predictor -> the run that has it."""


def other(group: str) -> str:
    """The group that a context telling `group` does not tell."""
    return GROUPS[1 - GROUPS.index(group)]


class Numbers:
    """The rows of a record, found by what they are. Presets are named as in `PRESETS`, other runs by their experiment.

    Args:
        rows: of a record.
    """

    def __init__(self, rows: Sequence[Record]) -> None:
        place = ("experiment", "target", "probe", "metric", "environment", "control", "context_length")
        self._rows = {(row["protocol"].partition("/")[0], *(row[name] for name in place)): row for row in rows}

    def measured(self, run: str) -> bool:
        """Whether there is any number of a run."""
        return any(key[1] == PRESETS.get(run, run) for key in self._rows)

    def probes(self) -> list[str]:
        """The probes that read a group, the mildest first."""
        used = {key[3] for key in self._rows if key[0] == SINGLE.protocol and key[2] in GROUPS}
        return [probe for probe in PROBES if probe in used]

    def r2(
        self, run: str, told: str, read: str, length: int, probe: str, control: str = "true", reading: Reading = SINGLE
    ) -> Record | None:
        """R2 of the group that is read, after a context that tells a group; None when it was not measured."""
        if length == 0 or control == "empty":
            told, control, length = "-", "empty", 0
        place = (probe, reading.metric, told, control, length)
        found = (self._rows.get((reading.protocol, PRESETS.get(run, run), name.format(read), *place)) for name in reading.targets)
        return next((row for row in found if row is not None), None)

    def top1(self, run: str, probe: str) -> Record | None:
        """Accuracy of the categories, read from encoder features."""
        return self._rows.get((SINGLE.protocol, PRESETS.get(run, run), CLASSES, probe, "accuracy", "-", "-", 0))

    def told_fall(self, preset: str, group: str, probe: str) -> float | None:
        """By how much the told group's R2 falls below that without context, at the worst length from 14 tokens on."""
        values = self._from_14(preset, group, group, probe)
        return None if values is None else values[0] - min(values[1:])

    def untold_share_gone(self, preset: str, group: str, probe: str) -> float | None:
        """Which share of the untold group's R2 above its floor goes, at the worst length; None when there was none."""
        values, row = self._from_14(preset, group, other(group), probe), self.r2(preset, group, other(group), 0, probe)
        if values is None or row is None or values[0] <= row["floor"]:
            return None
        return float((values[0] - max(values[1:])) / (values[0] - row["floor"]))

    def untold_most(self, preset: str, group: str, probe: str) -> float | None:
        """The untold group's R2 at the worst length."""
        values = self._from_14(preset, group, other(group), probe)
        return None if values is None else max(values[1:])

    def _from_14(self, preset: str, group: str, read: str, probe: str) -> list[float] | None:
        """R2 without context, then at the lengths from 14 tokens on; None when one of them was not measured."""
        rows = [self.r2(preset, group, read, length, probe) for length in (0, *JUDGED)]
        return None if None in rows else [float(row["mean"]) for row in rows if row is not None]

    def curve(self, run: str, told: str, read: str, probe: str) -> Iterator[tuple[int, Record]]:
        """Context length and number, for the lengths that were measured."""
        for length in LENGTHS:
            if (row := self.r2(run, told, read, length, probe)) is not None:
                yield length, row
