"""UCI Adult: what a census row says about income, with and without knowing sex (protocol 5.3, 5.4; Becker & Kohavi 1996)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from torch import nn

from contextssl.adapter import Split
from domains.tabular.census import generate_census
from domains.tabular.encoders import TabularEncoder
from domains.tabular.origin import Source
from domains.tabular.preprocessing import Categorical, Numeric, TableSchema
from domains.tabular.samplers import Matched, PairSampler
from domains.tabular.sensitive_table import ActionCode, SensitiveAttribute, SensitiveTable, Target
from domains.tabular.sources import INCOMES, MISSING, digests, locate, read_adult

# Attribute -> (value 0, value 1). Alphabetical, so that the index is also the position of the one-hot.
SENSITIVE_VALUES = {"sex": ("Female", "Male"), "race": ("Non-White", "White")}
MARITAL_GROUPS = {
    "Married-civ-spouse": "married", "Married-AF-spouse": "married", "Never-married": "never",
    "Married-spouse-absent": "formerly", "Divorced": "formerly", "Separated": "formerly", "Widowed": "formerly",
}  # fmt: skip
VALIDATION_SEED = 0

TrainTest = tuple[pd.DataFrame, pd.DataFrame]


class Adult(SensitiveTable):
    """Census rows as items; a change of sex (and race) as the transformation.

    Group `sex`: latent 0 Female, 1 Male; group `race`: latent 0 Non-White, 1 White. Two action numbers each, as
    `action_code` says. The rows keep their sensitive columns. Targets: income (1 is >50K) and each attribute.

    Args:
        source: `real` or `generated`.
        root: where the real files are (see `sources.locate`).
        sensitive: `("sex",)` or `("sex", "race")`; a sensitive race is binarised.
        pairs: how partners are drawn; `Matched()` when None.
        action_code: how actions are written.
        encoder: from the input width to a fresh encoder.
        drop_missing: leave out rows with a missing cell (30,162 and 15,060 rows stay); otherwise `?` is a category.
        validation_fraction: share of the official training rows set aside, stratified on sensitive attributes and
            income with a fixed seed; 0 trains on all of them.
        balance_sensitive: draw x evenly over the values of the sensitive attributes, not evenly over rows.
        check_digests: whether real files must be the original ones.
        num_generated: generated training and test rows.
        trajectories: whether every sequence shows one row and then partners of it (for seq-JEPA).
        told_targets: `("income",)` for a group `income` beside the attributes, which contexts can tell.

    Raises:
        ValueError: for an unknown attribute, or data that are not what they should be.
        FileNotFoundError: when the real files cannot be had.
    """

    def __init__(
        self,
        source: Source | str = Source.REAL,
        root: str | Path | None = None,
        sensitive: tuple[str, ...] = ("sex",),
        pairs: PairSampler | None = None,
        action_code: ActionCode | str = ActionCode.TARGET,
        encoder: Callable[[int], nn.Module] = TabularEncoder,
        drop_missing: bool = False,
        validation_fraction: float = 0.1,
        balance_sensitive: bool = False,
        check_digests: bool = True,
        num_generated: tuple[int, int] = (12_000, 6_000),
        trajectories: bool = False,
        told_targets: tuple[str, ...] = (),
    ) -> None:
        if not sensitive or not set(sensitive) <= set(SENSITIVE_VALUES):
            raise ValueError(f"sensitive must name one or both of {list(SENSITIVE_VALUES)}, found {list(sensitive)}")
        if not 0 <= validation_fraction < 1:
            raise ValueError(f"validation_fraction must be at least 0 and below 1, found {validation_fraction}")
        source, folder, sensitive = Source(source), None if root is None else Path(root), tuple(sensitive)
        official = _official_rows(source, folder, check_digests, num_generated)
        super().__init__(
            _split(_clean(official, sensitive, drop_missing), sensitive, validation_fraction),
            adult_schema(sensitive),
            attributes=[SensitiveAttribute(name, SENSITIVE_VALUES[name]) for name in sensitive],
            targets=[Target("income", INCOMES)],
            pairs=Matched() if pairs is None else pairs,
            action_code=action_code,
            encoder=encoder,
            balance_sensitive=balance_sensitive,
            trajectories=trajectories,
            told_targets=told_targets,
            comparable=_comparable,
            manifest=_origin(source, folder, check_digests) | {"drop_missing": drop_missing},
        )


def adult_schema(sensitive: tuple[str, ...] = ("sex",)) -> TableSchema:
    """Adult's input columns: fnlwgt and the education string (a copy of education_num) are left out."""
    return TableSchema(
        (
            Numeric("age"),
            Numeric("education_num", num_bins=16),
            Numeric("capital_gain", log1p=True),
            Numeric("capital_loss", log1p=True),
            Numeric("hours_per_week"),
            *(Categorical(name) for name in ("workclass", "marital_status", "occupation", "relationship")),
            Categorical("race", SENSITIVE_VALUES["race"] if "race" in sensitive else None),
            Categorical("sex", SENSITIVE_VALUES["sex"]),
            Categorical("native_country"),
        ),
        sensitive,
    )


def _official_rows(source: Source, root: Path | None, check_digests: bool, num_generated: tuple[int, int]) -> TrainTest:
    """The official training and test rows, or generated ones."""
    if source is Source.GENERATED:
        return generate_census(num_generated[0], seed=0), generate_census(num_generated[1], seed=1)
    tables = read_adult(root, check_digests)
    return tables["adult.data"], tables["adult.test"]


def _origin(source: Source, root: Path | None, check_digests: bool) -> dict[str, object]:
    """Where the rows come from, for the manifest."""
    real = source is Source.REAL
    return {
        "name": "adult" if real else "generated-census",
        "source": str(locate(root)) if real else "domains.tabular.census (planted structure, not real people)",
        "stand_in": not real,
        "digests": digests(root) if real else {},
        "digests_checked": real and check_digests,
    }


def _clean(official: TrainTest, sensitive: tuple[str, ...], drop_missing: bool) -> TrainTest:
    """Both tables with one running row number, native_country in three categories and, if sensitive, race in two."""
    rows = pd.concat(official, ignore_index=True)
    complete = ~(rows == MISSING).any(axis=1)
    country = rows["native_country"]
    rows["native_country"] = country.where(country.isin(["United-States", MISSING]), "Other")
    if "race" in sensitive:
        rows["race"] = rows["race"].where(rows["race"] == "White", "Non-White")
    train, test = rows.iloc[: len(official[0])], rows.iloc[len(official[0]) :]
    return (train[complete[train.index]], test[complete[test.index]]) if drop_missing else (train, test)


def _split(rows: TrainTest, sensitive: tuple[str, ...], fraction: float) -> dict[Split, pd.DataFrame]:
    """Validation rows are a part of the official training rows; the official test rows stay whole."""
    train, test = rows
    if fraction == 0:
        return {Split.TRAIN: train, Split.TEST: test}
    strata = train[[*sensitive, "income"]].agg("|".join, axis=1)
    kept, validation = train_test_split(train.index.to_numpy(), test_size=fraction, stratify=strata, random_state=VALIDATION_SEED)
    return {Split.TRAIN: train.loc[np.sort(kept)], Split.VALIDATION: train.loc[np.sort(validation)], Split.TEST: test}


def _comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as samplers compare rows: money on a log scale, and marital status in three groups beside seven."""
    money = {name: np.log1p(frame[name].astype(float)) for name in ("capital_gain", "capital_loss")}
    return frame.assign(**money, marital_group=frame["marital_status"].map(MARITAL_GROUPS)).reset_index(drop=True)
