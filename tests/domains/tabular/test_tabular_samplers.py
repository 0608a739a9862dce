"""What pairs must and must not change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.adapter import Split
from domains.tabular.adult import Adult
from domains.tabular.neighbours import distance_columns, nearest_rows
from domains.tabular.samplers import (
    Flip,
    Matched,
    PairSampler,
    ProxySwap,
    Table,
    attribute_cell,
    cell_attributes,
    mutual_information,
)


@pytest.fixture(scope="module")
def table(census: Adult) -> Table:
    return census.table(Split.VALIDATION)  # 200 rows, small enough for slow comparisons


@pytest.fixture(scope="module")
def two(census: Adult) -> Table:
    del census
    return Adult(source="generated", sensitive=("sex", "race"), pairs=Flip(), num_generated=(1500, 100)).table(Split.TRAIN)


def some_rows(table: Table, count: int = 3000) -> np.ndarray:
    return np.random.default_rng(0).integers(len(table), size=count)


def changed_blocks(table: Table, a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    return {name: (a[:, block] != b[:, block]).any(1) for name, block in table.blocks.items()}


@pytest.mark.parametrize("sampler", [Flip(), Matched(corruption=0.3, corrupt_x=True), ProxySwap()])
def test_sensitive_blocks_say_what_the_attributes_say_and_half_change(sampler: PairSampler, two: Table) -> None:
    rows = some_rows(two)
    pairs = sampler.fit(two).draw(rows, np.random.default_rng(1))
    for k, name in enumerate(two.sensitive_names):
        for values, s in ((pairs.x, pairs.sensitive_x), (pairs.y, pairs.sensitive_y)):
            np.testing.assert_array_equal(values[:, two.blocks[name]].argmax(1), s[:, k])
        change = (pairs.sensitive_x != pairs.sensitive_y)[:, k]
        assert abs(change.mean() - 0.5) < 0.04
    np.testing.assert_array_equal(pairs.sensitive_x, two.sensitive[rows])
    # The two attributes change independently.
    both = (pairs.sensitive_x != pairs.sensitive_y).all(1).mean()
    assert abs(both - 0.25) < 0.04


def test_flip_without_corruption_changes_only_the_attribute(table: Table) -> None:
    rows = some_rows(table)
    pairs = Flip(corruption=0).fit(table).draw(rows, np.random.default_rng(1))
    np.testing.assert_array_equal(pairs.x, table.values[rows])
    flipped = pairs.sensitive_x[:, 0] != pairs.sensitive_y[:, 0]
    for name, changed in changed_blocks(table, pairs.x, pairs.y).items():
        np.testing.assert_array_equal(changed, flipped if name == "sex" else np.zeros_like(flipped))


def test_corruption_moves_whole_source_columns_at_the_stated_rate(table: Table) -> None:
    rows = some_rows(table, 20_000)
    corrupted = table.corrupted(table.values[rows], 0.3, np.random.default_rng(1))
    for name, block in table.blocks.items():
        before, after = table.values[rows][:, block], corrupted[:, block]
        if name == "sex":
            np.testing.assert_array_equal(before, after)
            continue
        present = {row.tobytes() for row in np.ascontiguousarray(table.values[:, block])}
        assert all(row.tobytes() in present for row in np.ascontiguousarray(after))
        codes = pd.factorize(pd.Series([row.tobytes() for row in np.ascontiguousarray(table.values[:, block])]))[0]
        same_by_chance = (np.bincount(codes) / len(codes)) ** 2
        expected = 0.3 * (1 - same_by_chance.sum())
        assert (before != after).any(1).mean() == pytest.approx(expected, abs=0.02)


def gower(frame: pd.DataFrame, a: int, b: int) -> float:
    """Gower's distance as its definition reads, one column at a time."""
    parts = []
    for name in frame.columns:
        left, right = frame[name].iloc[a], frame[name].iloc[b]
        if isinstance(left, str):
            parts.append(float(left != right))
        else:
            parts.append(abs(left - right) / max(frame[name].max() - frame[name].min(), 1e-9))
    return float(np.mean(parts))


def test_neighbours_are_exact_under_gowers_distance(table: Table) -> None:
    frame = table.frame[["age", "hours_per_week", "workclass", "marital_group"]]
    members = np.flatnonzero(table.sensitive[:, 0] == 0)
    found = nearest_rows(distance_columns(frame), members, 5)
    for row in range(0, len(table), 17):
        distances = sorted(gower(frame, row, other) for other in members if other != row)[:5]
        np.testing.assert_allclose(sorted(gower(frame, row, other) for other in found[row]), distances, atol=1e-6)
        assert len(set(found[row].tolist())) == 5


@given(seed=st.integers(0, 1000), num_categories=st.integers(1, 3), num_numbers=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_neighbours_are_exact_where_numbers_outweigh_categories(seed: int, num_categories: int, num_numbers: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"n{k}": rng.integers(0, 2, 60).astype(float) for k in range(num_numbers)}, index=range(60))
    frame["job"] = np.array(["a", "b", "c"])[rng.integers(num_categories, size=60)].astype(object)
    members = np.flatnonzero(rng.random(60) < 0.6)
    found = nearest_rows(distance_columns(frame), members, 4)
    for row in range(0, 60, 7):
        expected = sorted(gower(frame, row, other) for other in members if other != row)[:4]
        np.testing.assert_allclose(sorted(gower(frame, row, other) for other in found[row]), expected, atol=1e-6)


def test_matched_partners_have_the_required_attribute_and_are_never_the_row_itself(two: Table) -> None:
    fitted = Matched(corruption=0).fit(two)
    itself = np.arange(len(two))[:, None]
    for cell, neighbours in enumerate(fitted.neighbours):
        assert (attribute_cell(two.sensitive)[neighbours] == cell).all()
        assert (neighbours != itself).all()
    rows = some_rows(two)
    pairs = fitted.draw(rows, np.random.default_rng(1))
    allowed = fitted.neighbours[attribute_cell(pairs.sensitive_y), rows]
    assert all((two.values[choices] == y).all(1).any() for choices, y in zip(allowed[:200], pairs.y[:200], strict=True))


def test_matched_corrupts_y_alone_unless_asked(table: Table) -> None:
    rows = some_rows(table)
    np.testing.assert_array_equal(Matched().fit(table).draw(rows, np.random.default_rng(1)).x, table.values[rows])
    assert (Matched(corrupt_x=True).fit(table).draw(rows, np.random.default_rng(1)).x != table.values[rows]).any()


def test_matching_brings_partners_closer_in_matched_columns_only(table: Table) -> None:
    rows = some_rows(table)
    pairs = Matched(columns=("age", "marital_group"), corruption=0).fit(table).draw(rows, np.random.default_rng(1))
    age = table.blocks["age"].start
    at_random = np.abs(table.values[rows, age] - table.values[np.random.default_rng(2).permutation(rows), age]).mean()
    assert np.abs(pairs.x[:, age] - pairs.y[:, age]).mean() < 0.5 * at_random
    assert changed_blocks(table, pairs.x, pairs.y)["relationship"].mean() > 0.2


def test_matched_refuses_too_few_rows_and_unknown_columns(table: Table) -> None:
    with pytest.raises(ValueError, match=r"more than 500 rows with \['sex'\] = \[0\], found"):
        Matched(num_neighbours=500).fit(table)
    with pytest.raises(ValueError, match=r"cannot match on \['shoe_size'\]"):
        Matched(columns=("age", "shoe_size")).fit(table)


def test_proxies_are_swapped_jointly_from_one_donor_of_the_other_sex(table: Table) -> None:
    fitted = ProxySwap(corruption=0).fit(table)
    assert set(fitted.proxies[0]) >= {"relationship", "marital_status", "occupation"}
    assert not {"age", "workclass", "native_country"} & set(fitted.proxies[0])
    rows = some_rows(table)
    pairs = fitted.draw(rows, np.random.default_rng(1))
    flipped = pairs.sensitive_x[:, 0] != pairs.sensitive_y[:, 0]
    for name, changed in changed_blocks(table, pairs.x, pairs.y).items():
        if name not in (*fitted.proxies[0], "sex"):
            assert not changed.any(), name
        assert not changed[~flipped].any(), name
    outputs = np.concatenate([np.arange(table.values.shape[1])[table.blocks[name]] for name in (*fitted.proxies[0], "sex")])
    present = {row.tobytes() for row in np.ascontiguousarray(table.values[:, outputs])}
    assert all(row.tobytes() in present for row in np.ascontiguousarray(pairs.y[:, outputs]))


def test_proxies_of_two_attributes_come_from_one_donor_with_the_values_of_both(two: Table) -> None:
    fitted = ProxySwap(threshold=0.002, corruption=0).fit(two)
    assert set(fitted.proxies[0]) & set(fitted.proxies[1]), "a column is a proxy of both"
    pairs = fitted.draw(some_rows(two), np.random.default_rng(1))
    flipped = pairs.sensitive_x != pairs.sensitive_y
    outputs = np.arange(two.values.shape[1])
    for change in ((True, False), (False, True), (True, True)):
        names = {name for own, says in zip(fitted.proxies, change, strict=True) if says for name in own} | set(
            two.sensitive_names
        )
        columns = np.concatenate([outputs[two.blocks[name]] for name in sorted(names)])
        present = {row.tobytes() for row in np.ascontiguousarray(two.values[:, columns])}
        drawn = np.ascontiguousarray(pairs.y[(flipped == change).all(1)][:, columns])
        assert len(drawn) > 500 and all(row.tobytes() in present for row in drawn)


def test_proxy_swap_needs_every_combination_of_values(two: Table) -> None:
    sensitive = two.sensitive.copy()
    sensitive[sensitive[:, 0] == 0, 1] = 1
    with pytest.raises(ValueError, match=r"none has \['sex', 'race'\] = \[0, 0\]; give more rows"):
        ProxySwap().fit(Table(two.values, two.blocks, sensitive, two.sensitive_names, two.frame))


def test_proxy_swap_needs_both_values(table: Table) -> None:
    men = Table(table.values, table.blocks, np.ones_like(table.sensitive), table.sensitive_names, table.frame)
    with pytest.raises(ValueError, match="'sex' has one value only"):
        ProxySwap().fit(men)


def test_mutual_information_of_a_copy_and_of_noise() -> None:
    s = np.arange(1000) % 2
    assert mutual_information(pd.Series(np.where(s, "m", "f")), s) == pytest.approx(np.log(2))
    assert mutual_information(pd.Series(np.arange(1000.0)), s) < 0.01
    assert mutual_information(pd.Series(s + np.random.default_rng(0).random(1000) / 2), s) == pytest.approx(np.log(2))


def test_attribute_cells_are_a_bijection() -> None:
    cells = np.arange(8)
    np.testing.assert_array_equal(attribute_cell(cell_attributes(cells, 3)), cells)
    np.testing.assert_array_equal(cell_attributes(np.array([2]), 2), [[1, 0]])
