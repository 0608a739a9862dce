"""Divided rows: whole units, equal shares of every stratum, one split for each row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.adapter import Split
from domains.tabular.splits import drawn_splits, every


@given(
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 4)), min_size=1, max_size=120),
    st.tuples(st.floats(0.01, 0.45), st.floats(0.01, 0.45)),
    st.integers(0, 5),
)
@settings(max_examples=100, deadline=None)
def test_units_stay_whole_and_strata_are_divided_alike(
    rows: list[tuple[int, int]], shares: tuple[float, float], seed: int
) -> None:
    units, strata = (np.array(column) for column in zip(*rows, strict=True))
    split = drawn_splits(units, strata, shares, seed)
    assert len(split) == len(rows) and set(split) <= set(Split)
    of_unit = {}
    for unit, name in zip(units, split, strict=True):
        assert of_unit.setdefault(unit, name) == name
    first = dict(reversed(rows))
    for stratum in set(first.values()):
        members = [of_unit[unit] for unit in of_unit if first[unit] == stratum]
        assert abs(members.count(Split.TEST) - shares[1] * len(members)) < 1 + 1e-6
        # Validation is drawn from what is left, whose number is itself known to within one.
        assert abs(members.count(Split.VALIDATION) - shares[0] * len(members)) < 2
    assert abs(list(of_unit.values()).count(Split.TEST) - shares[1] * len(of_unit)) < 1 + 1e-6
    np.testing.assert_array_equal(split, drawn_splits(units, strata, shares, seed))


def test_the_seed_decides_and_every_row_may_be_tested() -> None:
    rows = np.arange(40)
    draws = [drawn_splits(rows, np.zeros(40, dtype=np.int64), (0.2, 0.3), seed) for seed in range(60)]
    tested = np.stack([split == Split.TEST for split in draws])
    assert (tested.sum(1) == 12).all() and len({row.tobytes() for row in tested}) > 50
    np.testing.assert_allclose(tested.mean(0), 0.3, atol=0.25)


@pytest.mark.parametrize("offset", [0.0, 0.5, 0.99])
def test_every_so_many(offset: float) -> None:
    assert every(0.25, 12, offset).reshape(3, 4).sum(1).tolist() == [1, 1, 1]
    assert not every(0.0, 12, offset).any()
