"""From a CSV that nobody prepared to a domain: the same as Adult's own adapter, and every mistake one sentence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from contextssl.adapter import Split
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.probe import LinearProbe
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.testing import check_adapter
from domains.tabular.adult import Adult
from domains.tabular.baselines import FixedRepresentation
from domains.tabular.fairness import GroupFairness
from domains.tabular.own_targets import TableFairness
from domains.tabular.samplers import Flip, ProxySwap
from domains.tabular.schema import described
from domains.tabular.sensitive_table import SensitiveTable
from domains.tabular.table import described_table
from domains.tabular.table_files import read_cells

Change = Callable[[pd.DataFrame], pd.DataFrame]

BASE = {"file": "people.csv", "sensitive": "{sex: }", "targets": "{rich: yes}"}


def people(num_rows: int = 400) -> pd.DataFrame:
    """Rows with one column of every sort; `visits` and `rich` depend on nothing but the row number."""
    rng, rows = np.random.default_rng(0), np.arange(num_rows)
    return pd.DataFrame(
        {
            "id": rows + 1000,
            "sex": np.where(rows % 2, "m", "f"),
            "race": np.array(["w", "b", "a"])[rows % 7 % 3],
            "age": rng.integers(18, 80, num_rows),
            "visits": rows % 5,
            "job": np.array(["cook", "smith", "clerk"])[rng.integers(3, size=num_rows)],
            "note": [f"text {row % 200}" for row in rows],
            "days": rng.gamma(2.0, 3.0, num_rows).round(3),
            "person": rows // 2,
            "rich": np.where(rows % 3, "no", "yes"),
        }
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes the table and a schema of the settings; returns the schema's path."""

    def written(change: Change = lambda rows: rows, num_rows: int = 400, **settings: str) -> Path:
        change(people(num_rows)).to_csv(tmp_path / "people.csv", index=False)
        lines = [f"{name}: {value}" for name, value in (BASE | settings).items() if value]
        (tmp_path / "people.yaml").write_text("\n".join(lines))
        return tmp_path / "people.yaml"

    return written


def all_items(adapter: SensitiveTable) -> list[int]:
    return sorted(torch.cat([adapter.labelled(split).item for split in Split]).tolist())


def test_it_is_a_domain(write: Callable[..., Path]) -> None:
    settings = {"sensitive": "{sex: , white: {column: race, values: [rest, w]}}", "targets": "{rich: yes, job: }"}
    check_adapter(described_table(write(num_rows=900, **settings)))
    check_adapter(described_table(write(num_rows=900, **settings), pairs=Flip(), action_code="relative", trajectories=True))


def test_kinds_are_found_and_said(write: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "contextssl"):
        adapter = described_table(write())
    schema = adapter.manifest["schema"]
    assert isinstance(schema, dict)
    assert {name: rule["kind"] for name, rule in schema["columns"].items()} == {
        "id": "ignore", "sex": "ignore", "race": "categorical", "age": "numeric", "visits": "categorical", "job": "categorical",
        "note": "ignore", "days": "numeric", "person": "numeric", "rich": "ignore",
    }  # fmt: skip
    assert "left out: id (identifiers), note (200 different values)" in caplog.text
    assert set(adapter.preprocessor.blocks) == {"race", "age", "visits", "job", "days", "person", "sex"}
    assert "text 1" not in caplog.text and "smith" not in caplog.text  # no cell of any row


def test_the_schema_of_the_manifest_gives_the_same_domain(write: Callable[..., Path]) -> None:
    path = write(sensitive="{sex: , old: {column: age, above: 40}}", targets="{long: {column: days, above: 7}}")
    first = described_table(path)
    path.write_text(yaml.safe_dump(first.manifest["schema"], sort_keys=False))
    again = described_table(path)
    assert again.manifest == first.manifest and described(again.manifest["schema"]).columns["age"].kind == "ignore"
    for split in Split:
        assert torch.equal(first.labelled(split).inputs, again.labelled(split).inputs)


def test_classes_are_what_the_rows_say(write: Callable[..., Path]) -> None:
    adapter = described_table(
        write(
            sensitive="{sex: [m, f], old: {column: age, above: 40}}",
            targets="{rich: yes, job: [smith, cook, clerk], long: {column: days, above: 7}}",
        )
    )
    rows = people()
    for split in Split:
        data = adapter.labelled(split)
        own = rows.iloc[data.item.numpy()]
        assert data.target("sex").values.tolist() == (own["sex"] == "f").astype(int).tolist()
        assert data.target("old").values.tolist() == (own["age"] > 40).astype(int).tolist()
        assert data.target("rich").values.tolist() == (own["rich"] == "yes").astype(int).tolist()
        assert data.target("job").values.tolist() == own["job"].map({"smith": 0, "cook": 1, "clerk": 2}).tolist()
        assert data.target("long").values.tolist() == (own["days"] > 7).astype(int).tolist()
        sex = adapter.preprocessor.blocks["sex"]
        assert torch.equal(data.inputs[:, sex].argmax(1), data.target("sex").values)
    assert all_items(adapter) == list(range(400))
    # What a class was read from is no input any more.
    assert {"age", "days", "job", "rich"}.isdisjoint(adapter.preprocessor.blocks)


def test_rest_is_every_other_value(write: Callable[..., Path]) -> None:
    adapter = described_table(write(sensitive="{race: [rest, w]}", targets="{rich: yes}"))
    own = people().iloc[adapter.labelled(Split.TEST).item.numpy()]
    assert adapter.labelled(Split.TEST).target("race").values.tolist() == (own["race"] == "w").astype(int).tolist()
    assert adapter.preprocessor.categories("race") == ["rest", "w"]
    assert adapter.targets[0].classes == ("no", "yes")  # one other value keeps its name


def test_rows_without_a_class_are_left_out_and_others_are_filled(
    write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    def holes(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.astype(object)
        rows.loc[[0, 1], "sex"], rows.loc[[1, 2], "rich"], rows.loc[:40, "age"], rows.loc[:50, "job"] = "?", "NA", "", "null"
        return rows

    with caplog.at_level(logging.INFO, "contextssl"):
        adapter = described_table(write(holes))
    assert adapter.manifest["rows_left_out"] == 3 and all_items(adapter) == list(range(3, 400))
    assert "3 left out for want of a class" in caplog.text
    column = adapter.preprocessor.column_names.index("age=?")
    job = adapter.preprocessor.blocks["job"].start + adapter.preprocessor.categories("job").index("?")
    for split in Split:
        data = adapter.labelled(split)
        assert data.inputs[:, column].tolist() == (data.item <= 40).float().tolist()
        assert data.inputs[:, job].tolist() == (data.item <= 50).float().tolist()
    train = adapter.labelled(Split.TRAIN)
    ages = adapter.raw(Split.TRAIN)["age"]
    filled = train.inputs[train.item <= 40, adapter.preprocessor.blocks["age"].start]
    whole = ages.fillna(ages.median())
    np.testing.assert_allclose(filled, (ages.median() - whole.mean()) / whole.std(ddof=0), atol=1e-5)


def test_rows_of_one_person_stay_together(write: Callable[..., Path]) -> None:
    adapter = described_table(write(split="{group: person}"))
    persons = [set((people()["person"])[adapter.raw(split).index]) for split in Split]
    assert sum(map(len, persons)) == 200 and len(set.union(*persons)) == 200
    assert [len(adapter.labelled(split).item.unique()) for split in Split] == [140, 30, 30]
    assert "person" not in adapter.preprocessor.blocks


def part(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(part=np.where(rows["id"] < 1300, "early", "late"))


def test_a_column_may_say_the_split(write: Callable[..., Path]) -> None:
    adapter = described_table(write(part, split="{column: part, train: early, test: late}"))
    assert sorted(adapter.labelled(Split.TEST).item.tolist()) == list(range(300, 400))
    assert len(adapter.labelled(Split.VALIDATION)) == 45 and all_items(adapter) == list(range(400))

    def three(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(part=np.array(["train", "validation", "test", "train"])[(rows["id"] // 2) % 4])

    adapter = described_table(write(three, split="{column: part}"))
    assert [len(adapter.labelled(split)) for split in Split] == [200, 100, 100]


def test_categories_that_training_does_not_have_are_read_as_missing(
    write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    def late_pilots(rows: pd.DataFrame) -> pd.DataFrame:
        return part(rows).assign(job=np.where(rows["id"] < 1390, rows["job"], "pilot"))

    with caplog.at_level(logging.INFO, "contextssl"):
        adapter = described_table(write(late_pilots, split="{column: part, train: early, test: late}"))
    assert adapter.preprocessor.categories("job") == ["?", "clerk", "cook", "smith"]
    test = adapter.labelled(Split.TEST)
    assert torch.equal(test.inputs[:, adapter.preprocessor.blocks["job"].start] == 1, test.item >= 390)
    assert "column job: 1 categories that no training row has" in caplog.text


def test_splits_have_the_proportions_of_the_table(write: Callable[..., Path]) -> None:
    adapter = described_table(write(num_rows=1000, targets="{rich: yes, job: }"))
    for name in ("sex", "rich", "job"):
        shares = [torch.bincount(adapter.labelled(split).target(name).values).float() for split in Split]
        for share in shares[1:]:
            torch.testing.assert_close(share / share.sum(), shares[0] / shares[0].sum(), atol=0.03, rtol=0)


@pytest.mark.parametrize("pairs", [Flip(), ProxySwap()])
def test_other_pairs_are_drawn_from_any_table(write: Callable[..., Path], pairs: Flip | ProxySwap) -> None:
    adapter = described_table(write(), pairs=pairs, balance_sensitive=True)
    batch = adapter.train_sequences(500, seed=0)[0]
    assert batch.latent.mean(1).tolist()[0] == [[pytest.approx(0.5, abs=0.07)], [pytest.approx(0.5, abs=0.07)]]
    assert adapter.manifest["pairs"] == repr(pairs)


def set_cell(column: str, value: object, row: int = 9) -> Change:
    return lambda rows: rows.astype(object).where(~((rows.index.to_numpy() == row)[:, None] & (rows.columns == column)), value)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (
            None,
            {"sensitive": "{sez: }"},
            r"people\.csv: sensitive.sez: there is no column 'sez'; did you mean 'sex'\? The table has id",
        ),
        (None, {"columns": "{Age: numeric}"}, "columns.Age: there is no column 'Age'; did you mean 'age'"),
        (None, {"split": "{group: patient}"}, "split.group: there is no column 'patient'"),
        (None, {"sensitive": "{race: }"}, "sensitive.race: more than two values, a, b, w; say which one counts"),
        (None, {"sensitive": "{race: [w, b]}"}, "column 'race' also holds a; list them too"),
        (None, {"sensitive": "{sex: [m, w]}"}, "sensitive.sex: 'w' does not occur in column 'sex', which holds f, m"),
        (None, {"sensitive": "{old: {column: age, above: 99}}"}, "all numbers are on one side of 99"),
        (None, {"targets": "{rich: Yes}"}, "targets.rich: 'Yes' does not occur.*did you mean 'yes'"),
        (None, {"targets": "{days: }"}, "targets.days: column 'days' holds 3.. different values; give the one that counts"),
        (lambda rows: rows.assign(rich="no"), {"targets": "{rich: }"}, "column 'rich' holds no and nothing else"),
        (None, {"columns": "{rich: categorical}"}, "columns.rich: this is targets.rich and can be no input"),
        (None, {"columns": "{age: numeric}", "sensitive": "{old: {column: age, above: 40}}"}, "this is sensitive.old"),
        (None, {"sensitive": "{job: {column: age, above: 40}}"}, "another column has this name; call it otherwise"),
        (None, {"sensitive": "{a.b: {column: sex}}"}, "group names may not"),
        (set_cell("age", "old"), {"columns": "{age: numeric}"}, r"people\.csv:11: age is 'old', which is not a finite number"),
        (set_cell("days", "7,5"), {}, r"people\.csv:11: days is '7,5' where most cells are numbers"),
        (set_cell("age", "-1"), {"columns": "{age: {kind: numeric, log1p: true}}"}, r"csv:11: age is '-1'; log1p needs"),
        (set_cell("person", ""), {"split": "{group: person}"}, r"people\.csv:11: person is missing, so nobody knows whose row"),
        (None, {"columns": "{note: numeric}"}, r"people\.csv:2: note is 'text 0'"),
        (lambda rows: rows.assign(job=""), {"columns": "{job: categorical}"}, "columns.job: all cells are missing"),
        (lambda rows: rows.assign(sex=["m", *["f"] * 399]), {}, "sensitive attribute 'sex': the .* split has no row with 'm'"),
        (lambda rows: rows.assign(rich=["yes", *["no"] * 399]), {}, "target 'rich' has one value only in the t.* split"),
        (part, {"split": "{column: part}"}, "'part' holds early, late, expected train, validation, test"),
        (part, {"split": "{column: part, train: [early, late]}"}, "there are no test rows"),
        (
            lambda rows: part(rows).assign(person=1),
            {"split": "{column: part, train: early, test: late, group: person}"},
            "1 values of 'person' have rows in several splits",
        ),
        (None, {"separator": "';'"}, "the header has one column between ';'; it seems that ',' separates them"),
        (None, {"missing": "[m, f]"}, "column 'sex' holds nothing and nothing else"),
        (lambda rows: rows.head(60), {}, "matching needs more than 20 rows"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    write: Callable[..., Path], change: Change | None, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        described_table(write(change or (lambda rows: rows), **settings))
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(write: Callable[..., Path]) -> None:
    with pytest.raises(FileNotFoundError, match=r"other\.csv: no such table"):
        described_table(write(file="other.csv"))


ADULT_SCHEMA = """
file: adult.csv
columns:
  age: numeric
  education: ignore
  education_num: {kind: numeric, num_bins: 16}
  capital_gain: {kind: numeric, log1p: true}
  capital_loss: {kind: numeric, log1p: true}
  hours_per_week: numeric
  fnlwgt: ignore
missing: ["-"]
sensitive: {sex: , race: [Non-White, White]}
targets: {income: ">50K"}
split: {column: part}
"""


def same_as_adult(adult: Adult, folder: Path) -> Iterator[tuple[Split, str]]:
    """Every split and column in which the described table has the same inputs as the adapter; and the same targets."""
    rows = pd.concat([adult.raw(split).assign(part=str(split)) for split in Split])
    rows.to_csv(folder / "adult.csv", index=False)
    (folder / "adult.yaml").write_text(ADULT_SCHEMA)
    table = described_table(folder / "adult.yaml", pairs=Flip())
    assert set(table.preprocessor.blocks) == set(adult.preprocessor.blocks)
    assert table.actions.names == adult.actions.names
    for split in Split:
        mine, own = table.labelled(split), adult.labelled(split)
        assert rows.index[mine.item.numpy()].tolist() == own.item.tolist()
        for name in ("income", "sex", "race"):
            assert torch.equal(mine.target(name).values, own.target(name).values)
        for name, block in adult.preprocessor.blocks.items():
            if torch.equal(mine.inputs[:, table.preprocessor.blocks[name]], own.inputs[:, block]):
                yield split, name


def test_adult_described_by_a_schema_is_adult(tmp_path: Path) -> None:
    adult = Adult(source="generated", num_generated=(2000, 800), sensitive=("sex", "race"), pairs=Flip())
    assert len(list(same_as_adult(adult, tmp_path))) == 3 * 12


@pytest.mark.data
def test_real_adult_described_by_a_schema_is_adult(tmp_path: Path, adult_root: Path) -> None:
    adult = Adult(root=adult_root, sensitive=("sex", "race"), pairs=Flip())
    assert len(list(same_as_adult(adult, tmp_path))) == 3 * 12
    assert read_cells(tmp_path / "adult.csv", None, ()).lines is not None


def test_fairness_of_whatever_there_is(write: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    """As if each target had been named; a pair of which a group lacks a class is left out."""

    def never_rich(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(race=np.where(rows["rich"] == "yes", "w", rows["race"]))

    settings = {"sensitive": "{sex: , race: [rest, w]}", "targets": "{job: , rich: yes, long: {column: days, above: 7}}"}
    adapter = described_table(write(never_rich, num_rows=900, **settings))
    bank = EmbeddingBank(FixedRepresentation(lambda rows: rows, adapter.actions), adapter, method_name="columns")
    readout = ReadoutProtocol(probes=(LinearProbe(standardised=True),))
    found = list(TableFairness(readout, 50)(bank))
    expected = [*GroupFairness("rich", ("sex",), readout, 50)(bank), *GroupFairness("long", ("sex", "race"), readout, 50)(bank)]
    assert found == expected and len(found) > 10
    assert "fairness of rich by race is left out" in caplog.text
