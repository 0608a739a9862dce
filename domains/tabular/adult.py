"""UCI Adult: what a census row says about income, with and without knowing sex (protocol 5.3, 5.4; Becker & Kohavi 1996)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.batch import Transitions, stack
from domains.tabular.census import generate_census
from domains.tabular.encoders import TabularEncoder
from domains.tabular.preprocessing import Categorical, Numeric, TablePreprocessor, TableSchema
from domains.tabular.samplers import FittedSampler, Matched, PairSampler, Table, attribute_cell
from domains.tabular.sources import INCOMES, MISSING, digests, locate, read_adult

# Attribute -> (value 0, value 1). Alphabetical, so that the index is also the position of the one-hot.
SENSITIVE_VALUES = {"sex": ("Female", "Male"), "race": ("Non-White", "White")}
MARITAL_GROUPS = {
    "Married-civ-spouse": "married", "Married-AF-spouse": "married", "Never-married": "never",
    "Married-spouse-absent": "formerly", "Divorced": "formerly", "Separated": "formerly", "Widowed": "formerly",
}  # fmt: skip
VALIDATION_SEED = 0
NUM_MEASURED = 4096  # training pairs that the scales of actions and latents are measured on

TrainTest = tuple[pd.DataFrame, pd.DataFrame]


class Source(StrEnum):
    """Where the rows come from: the real files, or a generated census with the same columns."""

    REAL = "real"
    GENERATED = "generated"


class ActionCode(StrEnum):
    """How a pair's action is written, two numbers per sensitive attribute; (0, 0) always means "not told"."""

    TARGET = "target"  # the value of y: (s_y, 1 - s_y)
    RELATIVE = "relative"  # what happens to x: unchanged (1, 0), flipped (0, 1)

    def write(self, sensitive_x: npt.NDArray[np.int64], sensitive_y: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """[..., K] attributes of x and y -> [..., 2K] actions."""
        first = sensitive_y == 1 if self is ActionCode.TARGET else sensitive_y == sensitive_x
        return np.stack([first, ~first], axis=-1).reshape(*first.shape[:-1], -1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class CensusSequences:
    """Training sequences; item i is a function of (seed, i). One pass shows about as many pairs as there are rows."""

    adapter: Adult
    length: int
    seed: int

    def __len__(self) -> int:
        return max(1, len(self.adapter.table(Split.TRAIN)) // self.length)

    def __getitem__(self, index: int) -> Transitions:
        return self.adapter.draw(Split.TRAIN, self.length, np.random.default_rng((self.seed, 0, index)))


class Adult(DomainAdapter):
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
    ) -> None:
        if not sensitive or not set(sensitive) <= set(SENSITIVE_VALUES):
            raise ValueError(f"sensitive must name one or both of {list(SENSITIVE_VALUES)}, found {list(sensitive)}")
        if not 0 <= validation_fraction < 1:
            raise ValueError(f"validation_fraction must be at least 0 and below 1, found {validation_fraction}")
        self.sensitive = tuple(sensitive)
        self.sampler = Matched() if pairs is None else pairs
        self.action_code = ActionCode(action_code)
        self.balance_sensitive = balance_sensitive
        self._encoder = encoder
        self._root = None if root is None else Path(root)
        official = _official_rows(Source(source), self._root, check_digests, num_generated)
        self._frames = _split(_clean(official, self.sensitive, drop_missing), self.sensitive, validation_fraction)
        self.preprocessor = TablePreprocessor(adult_schema(self.sensitive)).fit(self._frames[Split.TRAIN])
        self._inputs = {split: self.preprocessor.transform(frame) for split, frame in self._frames.items()}
        self._fitted: dict[Split, FittedSampler] = {}
        units = {ActionCode.TARGET: "one-hot of y's value (1, 0)", ActionCode.RELATIVE: "one-hot (unchanged, flipped)"}
        groups = [Group(name, 2, 1, Kind.SWITCH, units[self.action_code]) for name in self.sensitive]
        sample = self.draw(Split.TRAIN, NUM_MEASURED, np.random.default_rng((0, len(Split))))
        self.actions = ActionSpace(groups).measured(sample.action, sample.latent)
        self.manifest = self._manifest(Source(source), check_digests, drop_missing)

    def build_encoder(self) -> nn.Module:
        """A fresh encoder of the preprocessed rows."""
        return self._encoder(self._inputs[Split.TRAIN].shape[1])

    def train_sequences(self, length: int, seed: int) -> CensusSequences:
        """Sequences of pairs of training rows."""
        return CensusSequences(self, length, seed)

    def held_out(self, length: int, count: int, seed: int, split: Split = Split.TRAIN) -> Transitions:
        """`count` sequences of pairs drawn from the split's rows, partners and corruption included."""
        stream = 1 + list(Split).index(Split(split))
        return stack([self.draw(split, length, np.random.default_rng((seed, stream, index))) for index in range(count)])

    def labelled(self, split: Split) -> LabelledData:
        """Every row of the split, uncorrupted, with income and the sensitive attributes."""
        frame = self.raw(split)
        latent = self._sensitive_values(frame)
        income = torch.from_numpy((frame["income"] == INCOMES[1]).to_numpy(dtype=np.int64))
        attributes = [ProbeTarget(name, torch.from_numpy(latent[:, k].copy()), 2, name) for k, name in enumerate(self.sensitive)]
        targets = (ProbeTarget("income", income, 2), *attributes)
        item = torch.from_numpy(frame.index.to_numpy(dtype=np.int64, copy=True))
        return LabelledData(self._inputs[Split(split)], item, torch.from_numpy(latent).float(), targets)

    def raw(self, split: Split) -> pd.DataFrame:
        """The split's rows before preprocessing; the index is the row number, test rows counted after training rows."""
        if Split(split) not in self._frames:
            raise ValueError("there are no validation rows: validation_fraction is 0")
        return self._frames[Split(split)]

    def table(self, split: Split) -> Table:
        """The split's rows as the pair samplers see them."""
        return self._tables[Split(split)]

    def draw(self, split: Split, length: int, rng: np.random.Generator) -> Transitions:
        """One sequence of `length` pairs of the split's rows, with no randomness but rng's."""
        if split not in self._fitted:
            self._fitted[split] = self.sampler.fit(self.table(split))
        pairs = self._fitted[split].draw(self._draw_rows(split, length, rng), rng)
        latent = np.stack([pairs.sensitive_x, pairs.sensitive_y], axis=1).astype(np.float32)
        as_batch: Callable[[npt.NDArray[np.float32]], Tensor] = lambda array: torch.from_numpy(array)[None]  # noqa: E731
        action = self.action_code.write(pairs.sensitive_x, pairs.sensitive_y)
        return Transitions(as_batch(pairs.x), as_batch(action), as_batch(pairs.y), as_batch(latent))

    def _draw_rows(self, split: Split, length: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        if not self.balance_sensitive:
            return rng.integers(len(self.table(split)), size=length)
        cells = self._cells[split]
        chosen = rng.integers(len(cells), size=length)
        place = rng.random(length)
        return np.array([cells[c][int(p * len(cells[c]))] for c, p in zip(chosen, place, strict=True)], dtype=np.int64)

    @cached_property
    def _tables(self) -> dict[Split, Table]:
        blocks, frames = self.preprocessor.blocks, self._frames
        return {
            split: Table(
                inputs.numpy(), blocks, self._sensitive_values(frames[split]), self.sensitive, _comparable(frames[split])
            )
            for split, inputs in self._inputs.items()
        }

    @cached_property
    def _cells(self) -> dict[Split, list[npt.NDArray[np.int64]]]:
        """Per split, the rows of each combination of sensitive values."""
        cells = {split: attribute_cell(table.sensitive) for split, table in self._tables.items()}
        return {split: [np.flatnonzero(cell == value) for value in np.unique(cell)] for split, cell in cells.items()}

    def _sensitive_values(self, frame: pd.DataFrame) -> npt.NDArray[np.int64]:
        columns = [(frame[name] == SENSITIVE_VALUES[name][1]).to_numpy(dtype=np.int64) for name in self.sensitive]
        return np.stack(columns, axis=1)

    def _manifest(self, source: Source, check_digests: bool, drop_missing: bool) -> dict[str, object]:
        real = source is Source.REAL
        majority = {}
        for split in self._frames:
            for target in self.labelled(split).targets:
                majority[f"{split}/{target.name}"] = round(torch.bincount(target.values).max().item() / len(target.values), 4)
        return {
            "name": "adult" if real else "generated-census",
            "source": str(locate(self._root)) if real else "domains.tabular.census (planted structure, not real people)",
            "stand_in": not real,
            "digests": digests(self._root) if real else {},
            "digests_checked": real and check_digests,
            "rows": {str(split): len(frame) for split, frame in self._frames.items()},
            "drop_missing": drop_missing,
            "input_dim": self._inputs[Split.TRAIN].shape[1],
            "sensitive": list(self.sensitive),
            "pairs": repr(self.sampler),
            "action_code": str(self.action_code),
            "majority_rate": majority,
        }


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
