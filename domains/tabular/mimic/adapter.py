"""MIMIC-III as a domain: length of stay, death and treatment, with and without knowing sex (protocol 5.3, 5.4)."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from contextssl.adapter import Split
from domains.tabular.encoders import TabularEncoder
from domains.tabular.mimic.cohort import TARGETS, Cohort, CohortOptions, build_cohort
from domains.tabular.mimic.features import SENSITIVE_VALUES
from domains.tabular.mimic.flow import SMALLEST_SHOWN, shown_counts
from domains.tabular.mimic.folder import find_folder
from domains.tabular.mimic.generated import generate, truth
from domains.tabular.mimic.truth import Truth
from domains.tabular.origin import Source
from domains.tabular.preprocessing import TableSchema
from domains.tabular.samplers import Matched, PairSampler
from domains.tabular.sensitive_table import ActionCode, SensitiveAttribute, SensitiveTable, Target

ARRIVAL_MATCHED = ("age", "admission_type", "admission_location", "insurance", "ethnicity")


class Mimic(SensitiveTable):
    """First admissions of adults as items; a change of sex (ethnicity, insurance) as the transformation.

    Group `sex`: latent 0 Female, 1 Male; `ethnicity`: 0 NON-WHITE, 1 WHITE; `insurance`: 0 Private, 1 Public. Of a real
    copy nothing but aggregates enters the manifest, and no share that rests on fewer than ten patients.

    Args:
        source: `real` or `generated`; generated files are written to a temporary folder, read and deleted, or made once
            in `cache`.
        root: folder of the real CSV files; $CONTEXTSSL_DATA/mimic when None.
        sensitive: see `CohortOptions`, as are targets, diagnoses, num_codes, measurements, cache and split_seed.
        targets: what is read out beside the sensitive attributes.
        pairs: how partners are drawn; `Matched` on `matched_columns` when None.
        action_code: how actions are written.
        encoder: from the input width to a fresh encoder.
        balance_sensitive: draw x evenly over the combinations of sensitive values, not evenly over rows.
        diagnoses: whether discharge diagnoses are inputs.
        num_codes: three-digit ICD-9 codes among the inputs.
        measurements: whether vital signs and laboratory values of the first 24 hours are inputs.
        cache: folder that keeps the measurements, and generated files, between runs; None keeps nothing.
        split_seed: of the split by patient.
        num_generated: generated patients.
        trajectories: whether every sequence shows one row and then partners of it (for seq-JEPA).
        told_targets: targets of two classes that are groups beside the attributes, which contexts can tell.

    Raises:
        FileNotFoundError, ValueError: see `build_cohort` and `SensitiveTable`.
    """

    def __init__(
        self,
        source: Source | str = Source.REAL,
        root: str | Path | None = None,
        sensitive: tuple[str, ...] = ("sex",),
        targets: tuple[str, ...] = tuple(TARGETS),
        pairs: PairSampler | None = None,
        action_code: ActionCode | str = ActionCode.TARGET,
        encoder: Callable[[int], nn.Module] = TabularEncoder,
        balance_sensitive: bool = False,
        diagnoses: bool = True,
        num_codes: int = 100,
        measurements: bool = False,
        cache: str | Path | None = None,
        split_seed: int = 0,
        num_generated: int = 8000,
        trajectories: bool = False,
        told_targets: tuple[str, ...] = (),
    ) -> None:
        options = CohortOptions(
            sensitive=tuple(sensitive), targets=tuple(targets), diagnoses=diagnoses, num_codes=num_codes,
            measurements=measurements, cache=None if cache is None else Path(cache), split_seed=split_seed,
        )  # fmt: skip
        real = Source(source) is Source.REAL
        if real:
            folder = find_folder(root)
            self.cohort, self._truth = build_cohort(folder, options), None
        else:
            self.cohort, self._truth = _generated(num_generated, options)
        super().__init__(
            {split: self.cohort.rows(split) for split in Split},
            self.cohort.schema,
            attributes=[SensitiveAttribute(name, SENSITIVE_VALUES[name]) for name in options.sensitive],
            targets=[Target(name, classes) for name, classes in self.cohort.classes.items()],
            pairs=Matched(matched_columns(self.cohort.schema)) if pairs is None else pairs,
            action_code=action_code,
            encoder=encoder,
            balance_sensitive=balance_sensitive,
            trajectories=trajectories,
            told_targets=told_targets,
            manifest={
                "name": "mimic-iii" if real and not self.cohort.flow.generated else "generated-mimic",
                "source": str(folder) if real else "domains.tabular.mimic.generated (planted structure, not real people)",
                "stand_in": self.cohort.flow.generated,
                "digests": _digests(self.cohort),
                "flow": self.cohort.flow.lines(),
                "diagnoses": diagnoses,
                "measurements": measurements,
            },
        )
        if not self.cohort.flow.generated:
            self._suppress_small_counts()

    def truth(self, split: Split) -> Truth:
        """The chances of the split's rows, in their order; ValueError for real patients, of whom no truth is known."""
        if self._truth is None:
            raise ValueError(
                "no truth is known of these patients: use source generated, or mimic.generated.truth of their folder"
            )
        return self._truth.of(self.cohort.subjects[self.raw(split).index.to_numpy()])

    def _suppress_small_counts(self) -> None:
        """Leave out of the manifest what would tell of fewer than ten patients."""
        for name in ("rows", "majority_rate"):
            assert isinstance(self.manifest[name], dict)
        rows, rates = dict(self.manifest["rows"]), dict(self.manifest["majority_rate"])  # type: ignore[call-overload]
        few = {key: _is_few(rate, rows[key.partition("/")[0]]) for key, rate in rates.items()}
        digits = 4
        if min(rows.values()) < SMALLEST_SHOWN:
            self.manifest["rows"] = dict(zip(rows, shown_counts(rows.values(), generated=False), strict=True))
            digits = 2  # with more, a rate tells of how many it is
        self.manifest["majority_rate"] = {key: round(rate, digits) for key, rate in rates.items() if not few[key]}


def _is_few(rate: float, total: int) -> bool:
    """Whether so few are among those of the largest class, or among the others, that they are not counted in public."""
    return min(round(rate * total), round((1 - rate) * total)) < SMALLEST_SHOWN


def matched_columns(schema: TableSchema) -> tuple[str, ...]:
    """What partners agree in: arrival and diagnosis chapters, but not marital status, care unit and single codes.

    The last are where the sexes differ; invariance to them is what matching is for.
    """
    return tuple(name for name in schema.names if name in ARRIVAL_MATCHED or name.startswith("chapter_"))


def _generated(num_patients: int, options: CohortOptions) -> tuple[Cohort, Truth]:
    """The cohort of generated files, and what is known of it; without a cache the files are gone afterwards."""
    if options.cache is not None:
        folder = options.cache / f"generated-mimic-{num_patients}{'-events' if options.measurements else ''}"
        if not folder.is_dir():
            generate(folder, num_patients, seed=0, events=options.measurements)
        return build_cohort(folder, options), truth(folder)
    with tempfile.TemporaryDirectory(prefix="generated-mimic-") as parent:
        folder = generate(Path(parent) / "files", num_patients, seed=0, events=options.measurements)
        return build_cohort(folder, options), truth(folder)


def _digests(cohort: Cohort) -> dict[str, str]:
    """SHA-256 of the sorted identifiers and targets of each split: equal for two users who have the same cohort."""
    targets = cohort.frame[list(cohort.classes)].astype(str).agg("|".join, axis=1).to_numpy()
    found = {}
    for split in Split:
        rows = cohort.rows(split).index.to_numpy()
        order = rows[np.argsort(cohort.subjects[rows])]
        lines = (f"{subject}:{target}" for subject, target in zip(cohort.subjects[order], targets[order], strict=True))
        found[str(split)] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return found
