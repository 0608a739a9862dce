"""The cohort of protocol 5.4 from a folder of MIMIC-III's CSV files: one row per patient, and the flow that led to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from contextssl.adapter import Split
from domains.tabular.mimic import codes, features
from domains.tabular.mimic.flow import Exclusion, Flow, shown_counts, shown_rates
from domains.tabular.mimic.measurements import measure, summary_columns
from domains.tabular.mimic.tables import read_table
from domains.tabular.preprocessing import Column, TableSchema

GENERATED_MARK = "GENERATED"  # a file of this name says that no real person is in the folder
TARGETS = {"long_stay_7d": 7, "long_stay_3d": 3, "mortality": None, "treatment": None, "ventilation": None}


@dataclass(frozen=True, slots=True)
class CohortOptions:
    """The choices of a cohort.

    Attributes:
        minimum_age: in years, at admission.
        maximum_stay: stays of that many days or more are left out.
        sensitive: of `features.SENSITIVE_VALUES`; ethnicity and insurance are then binarised, unknown ones left out.
        targets: of `TARGETS`, which must differ among the training rows.
        diagnoses: whether discharge diagnoses are inputs.
        num_codes: three-digit ICD-9 codes among the inputs, beside the chapters.
        measurements: whether vital signs and laboratory values of the first 24 hours are inputs.
        cache: folder where measurements are kept between runs; None keeps nothing.
        split_seed: of the split by patient.
    """

    minimum_age: int = 18
    maximum_stay: float = 30
    sensitive: tuple[str, ...] = ("sex",)
    targets: tuple[str, ...] = tuple(TARGETS)
    diagnoses: bool = True
    num_codes: int = 100
    measurements: bool = False
    cache: Path | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        if not self.sensitive or not set(self.sensitive) <= set(features.SENSITIVE_VALUES):
            raise ValueError(f"sensitive must name some of {list(features.SENSITIVE_VALUES)}, found {list(self.sensitive)}")
        if not self.targets or not set(self.targets) <= set(TARGETS):
            raise ValueError(f"targets must name some of {list(TARGETS)}, found {list(self.targets)}")


@dataclass(frozen=True, slots=True)
class Cohort:
    """One row per patient. Rows and identifiers are not part of its repr.

    Attributes:
        frame: the inputs (with the sensitive columns), the targets, and `split`; the index is a running number in
            shuffled order, so it says nothing about the identifier.
        subjects: [N] SUBJECT_ID of each row, to be joined with other tables in memory; never written or shown.
        schema: of the inputs.
        classes: target -> its classes; 0 and 1 mean no and yes.
        flow: from the tables to these rows.
    """

    frame: pd.DataFrame = field(repr=False)
    subjects: npt.NDArray[np.int64] = field(repr=False)
    schema: TableSchema
    classes: Mapping[str, tuple[str, ...]]
    flow: Flow

    def rows(self, split: Split) -> pd.DataFrame:
        """The rows of a split."""
        return self.frame[self.frame["split"] == str(Split(split))]

    def lines(self) -> list[str]:
        """The flow, the sizes of splits and groups, and the share of each yes-or-no target overall and by group."""
        return [*self.flow.lines(), *_group_lines(self)]


def build_cohort(root: str | Path, options: CohortOptions | None = None) -> Cohort:
    """The cohort of a folder of CSV files (protocol 5.4).

    Raises:
        FileNotFoundError, ValueError: for tables that cannot be read, see `tables.read_table`; ValueError for a cohort
            with no row of some sensitive group in some split, or with a target that is constant on the training rows.
    """
    root, options = Path(root), CohortOptions() if options is None else options
    selection = _Selection.of(root)
    selection.keep_first_admissions()
    windows = selection.rows.set_index("SUBJECT_ID")["INTIME"].dropna()
    selection.apply_rules(options)
    if selection.rows.empty:
        raise ValueError(f"no admission in {root} is left: {'; '.join(selection.flow(root).lines())}")
    rows = selection.rows.assign(place=features.shuffled(selection.rows["SUBJECT_ID"].to_numpy(), options.split_seed))
    rows = rows.sort_values("place").set_index("HADM_ID")
    frame, columns = _inputs(root, rows, windows, options, selection.notes)
    frame = frame.assign(
        **_targets(root, rows, selection.notes, options.targets), split=features.splits(rows["place"].to_numpy())
    )
    frame = frame.reset_index(drop=True)
    classes = {name: ("0", "1") if name != "treatment" else tuple(sorted(set(frame[name]))) for name in options.targets}
    cohort = Cohort(
        frame, rows["SUBJECT_ID"].to_numpy(), TableSchema(tuple(columns), options.sensitive), classes, selection.flow(root)
    )
    _check(cohort, options)
    return cohort


class _Selection:
    """Admissions that are still in, and the rules that took others away."""

    def __init__(self, rows: pd.DataFrame, num_patients: int) -> None:
        self.rows = rows
        self.num_patients, self.num_admissions = num_patients, len(rows)
        self.exclusions = [Exclusion("without an admission", num_patients - self._patients(), 0)]
        self.notes: dict[str, int] = {}

    @classmethod
    def of(cls, root: Path) -> _Selection:
        """All admissions, with what PATIENTS says of the patient."""
        patients = read_table(root, "PATIENTS").assign(known=True)
        rows = read_table(root, "ADMISSIONS").merge(patients, on="SUBJECT_ID", how="left")
        selection = cls(rows.assign(known=rows["known"].notna()), len(patients))
        selection._add_intensive_care(read_table(root, "ICUSTAYS"))
        return selection

    def _patients(self) -> int:
        return int(self.rows.loc[self.rows["known"], "SUBJECT_ID"].nunique())

    def _add_intensive_care(self, stays: pd.DataFrame) -> None:
        """First care unit and beginning of the first stay in intensive care that begins before the discharge."""
        joined = stays.dropna(subset=["INTIME"]).merge(self.rows[["HADM_ID", "DISCHTIME"]], on="HADM_ID")
        late = joined["INTIME"] > joined["DISCHTIME"]
        self.notes["stays in intensive care that begin after the discharge, left out"] = int(late.sum())
        first = joined[~late].sort_values(["INTIME", "ICUSTAY_ID"]).drop_duplicates("HADM_ID")
        self.rows = self.rows.merge(first[["HADM_ID", "FIRST_CAREUNIT", "INTIME"]], on="HADM_ID", how="left")

    def drop(self, reason: str, out: pd.Series | npt.NDArray[np.bool_]) -> None:
        """Take away the rows marked `out`, for this reason."""
        patients, admissions = self._patients(), len(self.rows)
        self.rows = self.rows[~np.asarray(out, dtype=bool)]
        self.exclusions.append(Exclusion(reason, patients - self._patients(), admissions - len(self.rows)))

    def keep_first_admissions(self) -> None:
        """One row per patient."""
        self.drop("of nobody in PATIENTS", ~self.rows["known"])
        self.drop("without a time of admission", self.rows["ADMITTIME"].isna())
        self.rows = self.rows.sort_values(["SUBJECT_ID", "ADMITTIME", "HADM_ID"])
        self.drop("not the patient's first", self.rows["SUBJECT_ID"].duplicated())

    def apply_rules(self, options: CohortOptions) -> None:
        """The rules on single admissions."""
        self.drop("of a newborn", self.rows["ADMISSION_TYPE"] == "NEWBORN")
        self.drop("with no time of birth, or one after the admission", ~(self.rows["DOB"] <= self.rows["ADMITTIME"]))
        self.rows = self.rows.assign(AGE=features.ages(self.rows["DOB"], self.rows["ADMITTIME"]))
        self.drop(f"younger than {options.minimum_age}", self.rows["AGE"] < options.minimum_age)
        self.drop("without a time of discharge", self.rows["DISCHTIME"].isna())
        self.rows = self.rows.assign(STAY=(self.rows["DISCHTIME"] - self.rows["ADMITTIME"]).dt.total_seconds() / 86_400)
        self.drop("discharged before the admission", self.rows["STAY"] < 0)
        self.drop(f"staying {options.maximum_stay:g} days or more", self.rows["STAY"] >= options.maximum_stay)
        self.drop("with a sex other than F and M", ~self.rows["GENDER"].isin(list(features.SEXES)))
        if "ethnicity" in options.sensitive:
            self.drop("with an unknown ethnicity", codes.ethnicity_groups(self.rows["ETHNICITY"]).isna())
        if "insurance" in options.sensitive:
            self.drop("with an unknown insurance", ~self.rows["INSURANCE"].isin(codes.PUBLISHED["INSURANCE"]))
        self.notes["in the cohort, without a stay in intensive care"] = int(self.rows["INTIME"].isna().sum())
        self.notes["in the cohort, without charted events"] = int((self.rows["HAS_CHARTEVENTS_DATA"] == 0).sum())
        self.notes["in the cohort, died after the recorded discharge"] = int(
            (self.rows["DEATHTIME"] > self.rows["DISCHTIME"]).sum()
        )

    def flow(self, root: Path) -> Flow:
        """What was counted so far."""
        generated = (root / GENERATED_MARK).is_file()
        return Flow(self.num_patients, self.num_admissions, tuple(self.exclusions), dict(self.notes), generated)


def _inputs(
    root: Path, rows: pd.DataFrame, windows: pd.Series, options: CohortOptions, notes: dict[str, int]
) -> tuple[pd.DataFrame, list[Column]]:
    """The input columns of these rows, and their schema; what was counted on the way goes into `notes`."""
    train = rows["place"].to_numpy() < features.SHARES[Split.TRAIN]
    known, foreign = features.arrival(rows)
    notes.update(foreign)
    frames, columns = [features.binarised(known, options.sensitive)], features.arrival_columns(options.sensitive)
    if options.diagnoses:
        flags, noted = features.diagnoses(root, rows.index, train, options.num_codes)
        notes.update(noted)
        frames.append(flags)
        columns += features.flag_columns(flags)
    if options.measurements:
        found = measure(root, windows, options.cache)
        notes.update(found.notes)
        measured = summary_columns(found, pd.Index(rows["SUBJECT_ID"])).set_axis(rows.index)
        frames.append(measured)
        columns += features.measurement_columns(measured, train)
    return pd.concat(frames, axis=1), columns


def _targets(root: Path, rows: pd.DataFrame, notes: dict[str, int], wanted: tuple[str, ...]) -> dict[str, pd.Series]:
    train = rows["place"].to_numpy() < features.SHARES[Split.TRAIN]
    treated, noted = features.treatments(root, rows.index, train)
    notes.update(noted)
    stays = {name: (rows["STAY"] > days).astype("int64") for name, days in TARGETS.items() if days is not None}
    found = stays | {"mortality": rows["HOSPITAL_EXPIRE_FLAG"]} | dict(treated.items())
    return {name: found[name] for name in wanted}


def _check(cohort: Cohort, options: CohortOptions) -> None:
    for split in Split:
        rows = cohort.rows(split)
        for name in options.sensitive:
            for value in features.SENSITIVE_VALUES[name]:
                if not (rows[name] == value).any():
                    raise ValueError(
                        f"the {split} rows hold nobody with {name} {value}; choose another split_seed, or take a larger copy"
                    )
    for name in options.targets:
        if cohort.rows(Split.TRAIN)[name].nunique() == 1:
            raise ValueError(f"target {name} is the same for all training rows; leave it out of targets")


def _group_lines(cohort: Cohort) -> list[str]:
    frame, generated = cohort.frame, cohort.flow.generated
    binary = [name for name, classes in cohort.classes.items() if classes == ("0", "1")]
    groups = {"all": [("all", frame)]} | {
        name: [(f"{name} {value}", frame[frame[name] == value]) for value in features.SENSITIVE_VALUES[name]]
        for name in cohort.schema.sensitive
    }
    every = [group for attribute in groups.values() for group in attribute]
    shown = shown_counts([int((rows["split"] == str(split)).sum()) for _, rows in every for split in Split], generated)
    coarse = any(count.startswith("~") for count in shown)
    rates = {
        target: [
            rate
            for attribute in groups.values()
            for rate in shown_rates([(int(rows[target].sum()), len(rows)) for _, rows in attribute], generated, coarse)
        ]
        for target in binary
    }
    width = max(len(name) for name, _ in every)
    lines = [f"{'':{width}}  {'train':>10}  {'validation':>10}  {'test':>10}  " + "  ".join(f"{name:>12}" for name in binary)]
    for number, (name, _) in enumerate(every):
        sizes = "  ".join(f"{count:>10}" for count in shown[3 * number : 3 * number + 3])
        lines.append(f"{name:{width}}  {sizes}  " + "  ".join(f"{rates[target][number]:>12}" for target in binary))
    return lines
