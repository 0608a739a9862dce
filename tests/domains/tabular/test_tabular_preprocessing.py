"""Columns to rows of numbers: what they mean, what they are fitted on, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.tabular.preprocessing import Categorical, Numeric, PiecewiseLinearBins, TablePreprocessor, TableSchema

SCHEMA = TableSchema(
    (Numeric("age", num_bins=4), Numeric("gain", log1p=True, num_bins=0), Categorical("job"), Categorical("sex")), ("sex",)
)
TRAIN = pd.DataFrame(
    {"age": [20, 30, 40, 50, 60], "gain": [0, 0, 9, 99, 999], "job": ["a", "b", None, "a", "c"], "sex": ["F", "M", "M", "F", "M"]}
)


def test_each_source_column_owns_a_block_of_named_outputs() -> None:
    fitted = TablePreprocessor(SCHEMA).fit(TRAIN)
    rows = fitted.transform(TRAIN)
    assert rows.dtype == torch.float32
    assert fitted.column_names == (
        "age", "age<=30", "age<=40", "age<=50", "age<=60", "gain", "job=?", "job=a", "job=b", "job=c", "sex=F", "sex=M",
    )  # fmt: skip
    assert fitted.blocks == {"age": slice(0, 5), "gain": slice(5, 6), "job": slice(6, 10), "sex": slice(10, 12)}
    logarithms = np.log1p(TRAIN["gain"])
    expected = (logarithms - logarithms.mean()) / logarithms.std(ddof=0)
    np.testing.assert_allclose(rows[:, 5].numpy(), expected, rtol=1e-5)
    assert rows[2, 6:].tolist() == [1, 0, 0, 0, 0, 1]  # a missing job, M
    assert rows[1, 1:5].tolist() == [1, 0, 0, 0]


def test_fitted_on_training_rows_only() -> None:
    fitted = TablePreprocessor(SCHEMA).fit(TRAIN)
    alone = fitted.transform(TRAIN.iloc[:1])
    with_outlier = fitted.transform(pd.concat([TRAIN.iloc[:1], TRAIN.iloc[:1].assign(age=10_000)]))
    assert torch.equal(alone[0], with_outlier[0])
    assert alone[0, 0] == pytest.approx((20 - 40) / np.sqrt(200))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_bins_are_a_thermometer_that_preserves_order(values: list[int], num_bins: int) -> None:
    column = np.array(values, dtype=float)[:, None]
    bins = PiecewiseLinearBins(num_bins).fit(column)
    grid = np.linspace(-60, 60, 500)[:, None]
    code = bins.transform(grid)
    assert ((code >= 0) & (code <= 1)).all()
    assert (np.diff(code, axis=0) >= 0).all()  # rises with the value
    assert (code[:, 1:] <= code[:, :-1]).all()  # a bin fills only after the one below it ...
    assert ((code[:, 1:] == 0) | (code[:, :-1] == 1)).all()  # ... is full
    inside = (grid >= column.min()) & (grid <= column.max())
    decoded = bins.edges_[0] + code @ np.diff(bins.edges_)
    np.testing.assert_allclose(decoded[inside[:, 0]], grid[inside], atol=1e-9)  # and nothing inside the range is lost


def test_a_value_that_dominates_does_not_swallow_the_bins() -> None:
    column = np.array([0.0] * 90 + list(range(1, 11)))[:, None]
    assert len(PiecewiseLinearBins(5).fit(column).edges_) == 7  # 0 and the six quantiles of 1..10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": [20.0, np.nan, 1, 1, 1]}, r"column 'age', row 1: 'nan' is not a finite number"),
        ({"gain": [0, 0, 0, np.inf, 0]}, r"column 'gain', row 3: 'inf'"),
        ({"age": ["x", "1", "2", "3", "4"]}, r"column 'age', row 0: 'x'"),
        ({"job": ["a", "pilot", "b", "b", "b"]}, r"column 'job': category 'pilot' does not occur in the training rows"),
    ],
)
def test_bad_cells_are_named(change: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TablePreprocessor(SCHEMA).fit(TRAIN).transform(TRAIN.assign(**change))


def test_missing_column_and_bad_schema() -> None:
    with pytest.raises(ValueError, match="no column 'job'"):
        TablePreprocessor(SCHEMA).fit(TRAIN.drop(columns="job"))
    with pytest.raises(ValueError, match="not among the categorical columns"):
        TableSchema((Numeric("age"),), ("age",))
    with pytest.raises(ValueError, match="must be distinct"):
        TableSchema((Numeric("age"), Numeric("age")))


def test_a_declared_vocabulary_admits_categories_without_training_rows() -> None:
    schema = TableSchema((Categorical("job", ("a", "b", "c", "?", "pilot")),))
    rows = TablePreprocessor(schema).fit(TRAIN).transform(TRAIN.assign(job="pilot"))
    assert rows[0].tolist() == [0, 0, 0, 0, 1]


def test_missing_numbers_are_the_median_of_training_rows_and_said() -> None:
    schema = TableSchema((Numeric("age", num_bins=2, impute=True), Numeric("gain", log1p=True, num_bins=0, impute=True)))
    holes = TRAIN.assign(age=[20.0, 30, None, 50, 60], gain=[0.0, None, 9, 99, 999])
    fitted = TablePreprocessor(schema).fit(holes)
    assert fitted.column_names == ("age", "age<=40", "age<=60", "age=?", "gain", "gain=?")
    assert fitted.blocks == {"age": slice(0, 4), "gain": slice(4, 6)}
    rows, filled = fitted.transform(holes), fitted.transform(holes.assign(age=[20, 30, 40, 50, 60], gain=[0, 54, 9, 99, 999]))
    assert rows[:, 3].tolist() == [0, 0, 1, 0, 0] and rows[:, 5].tolist() == [0, 1, 0, 0, 0]
    assert torch.equal(rows[:, [0, 1, 2, 4]], filled[:, [0, 1, 2, 4]]) and not filled[:, [3, 5]].any()
    with pytest.raises(ValueError, match=r"column 'age', row 0: 'x'"):
        fitted.transform(holes.assign(age=["x", None, "3", "4", "5"]))
    with pytest.raises(ValueError, match=r"column 'gain', row 3: 'inf'"):
        fitted.transform(holes.assign(gain=[0, 0, 0, np.inf, 0]))
