"""From a table with named columns to float32 rows, through scikit-learn, fitted on training rows only.

Letters: N rows, D output columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from torch import Tensor

MISSING = "?"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Numeric:
    """A column of numbers: its name, whether log(1 + x) is taken first, and its number of quantile bins (0 for none).

    With `impute` a missing number is the median of the training rows, and one more output, `name=?`, says that it was
    missing; without it a missing number is an error.
    """

    name: str
    log1p: bool = False
    num_bins: int = 12
    impute: bool = False


@dataclass(frozen=True, slots=True)
class Categorical:
    """A column of categories. `categories` declares the vocabulary; when None it is what the training rows hold."""

    name: str
    categories: tuple[str, ...] | None = None


Column = Numeric | Categorical


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The input columns of a table, in order, and the names of those that are sensitive (two categories each)."""

    columns: tuple[Column, ...]
    sensitive: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"column names must be distinct, found {list(self.names)}")
        categorical = [column.name for column in self.columns if isinstance(column, Categorical)]
        if wrong := [name for name in self.sensitive if name not in categorical]:
            raise ValueError(f"sensitive columns {wrong} are not among the categorical columns {categorical}")

    @property
    def names(self) -> tuple[str, ...]:
        """Source column names in order."""
        return tuple(column.name for column in self.columns)


class PiecewiseLinearBins(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Soft thermometer code of one numeric column (Gorishniy et al. 2022, "On embeddings for numerical features").

    Output t is 0 below bin t, 1 above it, and the fraction of the bin passed inside it. Edges are training
    quantiles; where one value holds more than half of the rows (no capital gain), it is an edge of its own and the
    quantiles are those of the other rows, which would otherwise share one bin.
    """

    def __init__(self, num_bins: int = 12) -> None:
        self.num_bins = num_bins

    def fit(self, x: Floats, y: object = None) -> PiecewiseLinearBins:
        """Set `edges_`, at most num_bins + 1 of them, from x [N, 1]."""
        del y
        values = np.asarray(x, dtype=np.float64).ravel()
        distinct, counts = np.unique(values, return_counts=True)
        mode = distinct[counts.argmax()]
        rest = values[values != mode] if counts.max() > len(values) / 2 and len(distinct) > 1 else values
        edges = np.quantile(rest, np.linspace(0, 1, self.num_bins + 1))
        self.edges_ = np.unique(np.append(edges, mode) if len(rest) < len(values) else edges)
        self.n_features_in_ = 1
        return self

    def transform(self, x: Floats) -> Floats:
        """[N, 1] -> [N, number of bins], values in [0, 1]."""
        low, high = self.edges_[:-1], self.edges_[1:]
        passed: Floats = np.clip((np.asarray(x, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
        return passed

    def get_feature_names_out(self, input_features: Sequence[str] = ("x",)) -> npt.NDArray[np.object_]:
        """One name per bin: `column<=value at which it is full`."""
        return np.array([f"{input_features[0]}<={edge:.6g}" for edge in self.edges_[1:]], dtype=object)


class TablePreprocessor:
    """Fit on training rows, then turn any rows into float32 inputs.

    Numeric columns become a standardised value and piecewise-linear bins; categorical columns become one-hots, where
    a missing value written `?` is a category like any other.

    Attributes:
        schema: the source columns.
        column_names: D output column names: `age`, `age<=37`, `workclass=Private`.
        blocks: source column -> slice of output columns.
    """

    column_names: tuple[str, ...]
    blocks: Mapping[str, slice]

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema

    def fit(self, frame: pd.DataFrame) -> TablePreprocessor:
        """Learn means, bin edges and vocabularies from these rows; ValueError for missing columns or numbers."""
        columns = self._read(frame)
        steps = [(column.name, _steps(column, columns), [column.name]) for column in self.schema.columns]
        self._transformer = ColumnTransformer(steps, verbose_feature_names_out=False).fit(columns)
        self.column_names = tuple(self._transformer.get_feature_names_out())
        self.blocks = {name: self._transformer.output_indices_[name] for name in self.schema.names}
        return self

    def transform(self, frame: pd.DataFrame) -> Tensor:
        """[N, D] float32 inputs of these rows.

        Raises:
            ValueError: for a missing column, a missing number (naming column and row), or a category that the
                vocabulary does not hold (naming column and value).
        """
        columns = self._read(frame)
        for column in self.schema.columns:
            if isinstance(column, Categorical):
                self._check_vocabulary(columns[column.name])
        values = np.asarray(self._transformer.transform(columns), dtype=np.float32)
        return torch.from_numpy(np.ascontiguousarray(values))

    def categories(self, name: str) -> list[str]:
        """The vocabulary of a categorical column, in the order of its one-hots."""
        return [str(category) for category in self._transformer.named_transformers_[name].categories_[0]]

    def _read(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The schema's columns as float64 numbers and strings."""
        if missing := [name for name in self.schema.names if name not in frame]:
            raise ValueError(f"the table has no column {missing[0]!r}; its columns are {list(frame.columns)}")
        read = {
            column.name: _numbers(frame[column.name], column.impute)
            if isinstance(column, Numeric)
            else _categories(frame[column.name])
            for column in self.schema.columns
        }
        return pd.DataFrame(read, index=frame.index)

    def _check_vocabulary(self, column: pd.Series) -> None:
        known = self.categories(str(column.name))
        if unknown := sorted(set(column) - set(known)):
            raise ValueError(
                f"column {column.name!r}: category {unknown[0]!r} does not occur in the training rows, which hold {known}; "
                f"map it to one of these, or declare it in Categorical({column.name!r}, categories=...)"
            )


def _numbers(column: pd.Series, may_miss: bool) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    allowed = column.isna().to_numpy() & may_miss
    wrong = np.flatnonzero(~np.isfinite(numbers.to_numpy()) & ~allowed)
    if len(wrong):
        raise ValueError(
            f"column {column.name!r}, row {column.index[wrong[0]]}: {str(column.iloc[wrong[0]])!r} is not a finite number; "
            "fill in the value or drop the row first"
        )
    return numbers


def _categories(column: pd.Series) -> pd.Series:
    return column.astype(object).where(column.notna(), MISSING).astype(str).astype(object)


def _steps(column: Column, columns: pd.DataFrame) -> Pipeline | FeatureUnion | OneHotEncoder:
    """The unfitted scikit-learn steps of one source column."""
    if isinstance(column, Categorical):
        vocabulary = sorted(set(columns[column.name])) if column.categories is None else list(column.categories)
        return OneHotEncoder(categories=[vocabulary], sparse_output=False, feature_name_combiner=_category_name)
    scale = FunctionTransformer(np.log1p if column.log1p else None, feature_names_out="one-to-one")
    codes: list[tuple[str, object]] = [("value", StandardScaler())]
    if column.num_bins:
        codes.append(("bins", PiecewiseLinearBins(column.num_bins)))
    steps = [("scale", scale), ("codes", FeatureUnion(codes, verbose_feature_names_out=False))]
    if not column.impute:
        return Pipeline(steps)
    known = Pipeline([("known", SimpleImputer(strategy="median").set_output(transform="pandas")), *steps])
    missing = FunctionTransformer(np.isnan, feature_names_out=_missing_name)
    return FeatureUnion([("number", known), ("missing", missing)], verbose_feature_names_out=False)


def _missing_name(transformer: FunctionTransformer, columns: Sequence[str]) -> list[str]:
    del transformer
    return [f"{column}={MISSING}" for column in columns]


def _category_name(column: str, category: object) -> str:
    return f"{column}={category}"
