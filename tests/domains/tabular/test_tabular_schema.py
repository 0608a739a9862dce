"""The YAML that describes a table: what it means, and every way to get it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextssl.adapter import Split
from domains.tabular.schema import (
    MISSING_MARKS,
    ClassRule,
    ColumnKind,
    ColumnRule,
    SplitRule,
    TableDescription,
    described,
    read_schema,
)

TEXT = """
file: people.csv
separator: tab
missing: ["-", unknown]
columns:
  gain: {kind: numeric, log1p: true, num_bins: 4}
  yes: categorical
  fnlwgt: ignore
sensitive:
  sex:
  white: {column: race, values: [rest, White]}
  old: {column: age, above: 40}
targets:
  income: ">50K"
  smoker: [no, yes]
split: {shares: [0.2, 0.1], seed: 3, stratified: false, group: person}
"""


def read(text: str, folder: Path) -> TableDescription:
    path = folder / "table.yaml"
    path.write_text(text, encoding="utf-8")
    return read_schema(path)


def test_everything_that_a_schema_may_say(tmp_path: Path) -> None:
    assert read(TEXT, tmp_path) == TableDescription(
        file="people.csv",
        separator="\t",
        missing=("-", "unknown"),
        columns={
            "gain": ColumnRule(ColumnKind.NUMERIC, log1p=True, num_bins=4),
            "yes": ColumnRule(ColumnKind.CATEGORICAL),  # no boolean, although YAML would have it so
            "fnlwgt": ColumnRule(ColumnKind.IGNORE),
        },
        sensitive={"sex": ClassRule("sex"), "white": ClassRule("race", ("rest", "White")), "old": ClassRule("age", above=40)},
        targets={"income": ClassRule("income", ("rest", ">50K")), "smoker": ClassRule("smoker", ("no", "yes"))},
        split=SplitRule(shares=(0.2, 0.1), seed=3, stratified=False, group="person"),
    )


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    found = read("{file: a.csv, sensitive: {sex: }, targets: {y: }}", tmp_path)
    assert found == TableDescription("a.csv", {"sex": ClassRule("sex")}, {"y": ClassRule("y")})
    assert found.missing == MISSING_MARKS and found.split == SplitRule() and found.separator is None
    by_column = read("{file: a.csv, sensitive: {sex: }, targets: {y: }, split: {column: part, test: [late, later]}}", tmp_path)
    assert by_column.split.names == {Split.TRAIN: ("train",), Split.VALIDATION: ("validation",), Split.TEST: ("late", "later")}


WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6)
COLUMN_RULES = st.one_of(
    st.builds(ColumnRule, st.just(ColumnKind.NUMERIC), st.booleans(), st.integers(0, 30)),
    st.builds(ColumnRule, st.sampled_from([ColumnKind.CATEGORICAL, ColumnKind.IGNORE])),
)
PAIRS = st.lists(WORDS, min_size=2, max_size=2, unique=True).map(tuple)
LISTS = st.lists(WORDS, min_size=2, max_size=5, unique=True).map(tuple)


def class_rules(values: st.SearchStrategy[tuple[str, ...]]) -> st.SearchStrategy[ClassRule]:
    limits = st.floats(-1e6, 1e6)
    return st.one_of(st.builds(ClassRule, WORDS, st.one_of(st.none(), values)), st.builds(ClassRule, WORDS, st.none(), limits))


SPLITS = st.builds(
    SplitRule,
    names=st.just(SplitRule().names),
    shares=st.tuples(st.floats(0.01, 0.4), st.floats(0.01, 0.4)),
    seed=st.integers(0, 99),
    stratified=st.booleans(),
    group=st.one_of(st.none(), WORDS),
)
COLUMN_SPLITS = st.builds(SplitRule, WORDS, st.fixed_dictionaries(dict.fromkeys(Split, LISTS)), seed=st.integers(0, 99))


@given(
    st.dictionaries(WORDS, COLUMN_RULES, max_size=4),
    st.dictionaries(WORDS.map("s{}".format), class_rules(PAIRS), min_size=1, max_size=3),
    st.dictionaries(WORDS.map("t{}".format), class_rules(LISTS), min_size=1, max_size=3),
    st.one_of(SPLITS, COLUMN_SPLITS),
    st.one_of(st.none(), st.sampled_from(",;|\t")),
    LISTS,
)
@settings(max_examples=60, deadline=None)
def test_settings_say_all_that_there_is(columns, sensitive, targets, split, separator, missing) -> None:  # type: ignore[no-untyped-def]
    description = TableDescription("people.csv", sensitive, targets, columns, split, separator, missing)
    assert described(description.settings()) == description


GOOD = "{file: a.csv, sensitive: {sex: }, targets: {y: }, "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file: [a", r"table\.yaml:1: .*quote values"),
        ("targets: {income: >50K}", r"table\.yaml:1"),
        ("a: 1\nb: 2\na: 3\n", r"table\.yaml:3: 'a' stands here for the second time"),
        ("- a", "the schema: expected `name: value` lines"),
        ("sensitive: {sex: }", "file: no table is named"),
        ("{file: a.csv, targets: {y: }}", "sensitive: at least one column"),
        ("{file: a.csv, sensitive: {sex: }}", "targets: at least one column"),
        (GOOD + "colums: {}}", "unknown setting 'colums'; did you mean 'columns'"),
        (GOOD + "columns: {age: number}}", "columns.age: kind 'number' is none of numeric, categorical, ignore"),
        (GOOD + "columns: {age: {kind: numeric, log: true}}}", "unknown setting 'log'; did you mean 'log1p'"),
        (GOOD + "columns: {age: {kind: numeric, log1p: maybe}}}", "columns.age.log1p: expected true or false, found 'maybe'"),
        (GOOD + "columns: {age: {kind: numeric, num_bins: 1.5}}}", "expected a whole number"),
        (GOOD + "columns: {job: {kind: categorical, log1p: true}}}", "this one is categorical"),
        (GOOD + "separator: ';;'}", "expected one character"),
        (GOOD + "split: {shares: [0.5, 0.5]}}", "sum below 1"),
        (GOOD + "split: {shares: [0.1]}}", "two numbers"),
        (GOOD + "split: {shares: [a, b]}}", "expected a number, found 'a'"),
        (GOOD + "split: {train: early}}", "name it as split.column"),
        ("{file: a.csv, sensitive: {sex: [a, b, c]}, targets: {y: }}", r"sensitive.sex: expected two values, found a, b, c"),
        ("{file: a.csv, sensitive: {sex: [a, a]}, targets: {y: }}", "listed twice"),
        ("{file: a.csv, sensitive: {sex: {above: 3, values: [a, b]}}, targets: {y: }}", "exclude each other"),
        ("{file: a.csv, sensitive: {sex: {above: young}}, targets: {y: }}", "sensitive.sex.above: expected a number"),
        ("{file: a.csv, sensitive: {sex: }, targets: {sex: }}", "'sex' is both sensitive and a target"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(text, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_schema_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml: no such schema"):
        read_schema(tmp_path / "nowhere.yaml")
