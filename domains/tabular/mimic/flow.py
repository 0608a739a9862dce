"""The flow of a cohort: how many patients and admissions each rule takes away, and what else was noticed.

Counts of a real copy can point at a person when they are small. There, counts from 1 to 9 are shown as <10; and as soon as
one is, all other counts are rounded to tens and shares to whole per cents, so that it cannot be had by subtraction. A
generated copy is shown as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SMALLEST_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One rule, and the patients and admissions that it took away from what the rules before it had left."""

    reason: str
    patients: int
    admissions: int


@dataclass(frozen=True, slots=True)
class Flow:
    """From the tables to the cohort.

    Attributes:
        patients: rows of PATIENTS.
        admissions: rows of ADMISSIONS.
        exclusions: in the order in which they were applied.
        notes: what was counted and not excluded: what it is -> how many.
        generated: whether no real person is counted.
    """

    patients: int
    admissions: int
    exclusions: tuple[Exclusion, ...]
    notes: dict[str, int] = field(default_factory=dict)
    generated: bool = False

    @property
    def remaining(self) -> tuple[int, int]:
        """Patients and admissions in the cohort."""
        return (
            self.patients - sum(step.patients for step in self.exclusions),
            self.admissions - sum(step.admissions for step in self.exclusions),
        )

    def lines(self) -> list[str]:
        """The flow as a table, one line for each rule, then the notes."""
        patients, admissions = self.remaining
        rows = [
            ("in PATIENTS and ADMISSIONS", self.patients, self.admissions),
            *((f"- {step.reason}", step.patients, step.admissions) for step in self.exclusions),
            ("= cohort", patients, admissions),
        ]
        shown = shown_counts([count for row in rows for count in row[1:]], self.generated)
        width = max(len(row[0]) for row in rows)
        table = [f"{'':{width}}  {'patients':>10}  {'admissions':>10}"]
        table += [f"{row[0]:{width}}  {shown[2 * i]:>10}  {shown[2 * i + 1]:>10}" for i, row in enumerate(rows)]
        noted = [f"{what}: {shown_count(count, self.generated)}" for what, count in self.notes.items() if count]
        return [*table, *noted]


def shown_count(count: int, generated: bool) -> str:
    """The count, or <10 where it is small and counts real persons."""
    return f"<{SMALLEST_SHOWN}" if not generated and 0 < count < SMALLEST_SHOWN else f"{count:,}"


def shown_counts(counts: Iterable[int], generated: bool) -> list[str]:
    """Counts that are shown together: with a small one among those of a real copy, the others are rounded to tens."""
    counts = list(counts)
    if generated or not any(0 < count < SMALLEST_SHOWN for count in counts):
        return [f"{count:,}" for count in counts]
    return [
        shown_count(count, generated) if count < SMALLEST_SHOWN else f"~{SMALLEST_SHOWN * round(count / SMALLEST_SHOWN):,}"
        for count in counts
    ]


def shown_rates(cells: Sequence[tuple[int, int]], generated: bool, coarse: bool = False) -> list[str]:
    """Shares in per cent of (positives, total), of people one of whose groups this is and who are shown together.

    A dash where the positives or the others of a real copy are few, or where there is no row. Where one group has a dash all
    have, or it could be had from the others and from all together. Coarse ones are whole per cents, for totals that are rounded.
    """
    few = any(0 < count < SMALLEST_SHOWN for positives, total in cells for count in (positives, total - positives))
    if few and not generated:
        return ["-"] * len(cells)
    return [f"{positives / total:.{0 if coarse else 1}%}" if total else "-" for positives, total in cells]
