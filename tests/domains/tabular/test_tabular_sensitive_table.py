"""What every table with sensitive attributes shares, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from contextssl.adapter import Split
from contextssl.testing import check_adapter
from domains.tabular.preprocessing import Categorical, Numeric, TableSchema
from domains.tabular.samplers import Flip, Matched, PairSampler, ProxySwap
from domains.tabular.sensitive_table import SensitiveAttribute, SensitiveTable, Target, comparable_columns

SCHEMA = TableSchema(
    (Numeric("dose", log1p=True, num_bins=3, impute=True), Categorical("sex", ("f", "m")), Categorical("ward")), ("sex",)
)


def rows(start: int, count: int) -> pd.DataFrame:
    """Rows numbered from `start`; every third one is treated, every second one is a man, the dose tells the row."""
    number = np.arange(start, start + count)
    return pd.DataFrame(
        {"dose": number.astype(float), "sex": np.where(number % 2, "m", "f"), "ward": np.where(number % 5, "a", "b"),
         "treated": number % 3, "patient": number // 2 + 1000},
        index=number,
    )  # fmt: skip


def table(change: Callable[[dict[Split, pd.DataFrame]], object] = lambda frames: None, **settings: Any) -> SensitiveTable:
    frames = {Split.TRAIN: rows(0, 240), Split.VALIDATION: rows(240, 60), Split.TEST: rows(300, 80)}
    change(frames)
    arguments: dict[str, Any] = {
        "attributes": [SensitiveAttribute("sex", ("f", "m"))],
        "targets": [Target("treated", ("0", "1", "2"))],
        "manifest": {"name": "ward", "source": "made up"},
    }
    return SensitiveTable(frames, **({"schema": SCHEMA} | arguments | settings))


def test_it_is_a_domain() -> None:
    check_adapter(table(pairs=Flip()))
    check_adapter(table())


def test_targets_follow_the_order_of_their_classes() -> None:
    data = table().labelled(Split.TEST)
    assert data.target("treated").values.tolist() == [number % 3 for number in range(300, 380)]
    assert data.target("treated").num_classes == 3 and data.target("sex").group == "sex"
    assert data.target("sex").values.tolist() == data.latent[:, 0].tolist() == [number % 2 for number in range(300, 380)]
    turned = table(targets=[Target("treated", ("2", "0", "1"))]).labelled(Split.TEST)
    assert turned.target("treated").values.tolist() == [(number + 1) % 3 for number in range(300, 380)]


TOLD = {"targets": [Target("treated", ("0", "1", "2")), Target("ward_b", ("a", "b"))], "told_targets": ["ward_b"]}


def with_ward_as_target(frames: dict[Split, pd.DataFrame]) -> None:
    frames |= {split: frame.assign(ward_b=np.where(frame.index % 5, "a", "b")) for split, frame in frames.items()}


@pytest.mark.parametrize("trajectories", [False, True])
@pytest.mark.parametrize(
    "pairs", [Flip(corruption=0), Matched(columns=("dose",), num_neighbours=3, corruption=0), ProxySwap(corruption=0)]
)
def test_a_told_target_is_a_group_whose_latents_are_the_labels(pairs: PairSampler, trajectories: bool) -> None:
    told = table(with_ward_as_target, **TOLD, pairs=pairs, trajectories=trajectories)
    check_adapter(told)
    assert told.actions.names == ("sex", "ward_b") and told.manifest["told_targets"] == ["ward_b"]
    data = told.labelled(Split.TEST)
    assert torch.equal(data.latent[:, 1].long(), data.target("ward_b").values) and data.target("ward_b").group is None
    # The dose tells the row wherever it is shown, and nothing but a proxy of sex is ever changed.
    drawn = told.train_sequences(400, 0)[0]
    dose = told.preprocessor.blocks["dose"].start
    known = {round(value, 4): index for index, value in enumerate(told.labelled(Split.TRAIN).inputs[:, dose].tolist())}
    for side, views in enumerate((drawn.state, drawn.next_state)):
        rows = [known[round(value, 4)] for value in views[0, :, dose].tolist()]
        assert drawn.latent[0, :, side, 1].tolist() == [float(row % 5 == 0) for row in rows]
    action = drawn.action[0].unflatten(1, (2, 2))
    assert torch.equal(action[..., 0], drawn.latent[0, :, 1]) and torch.equal(action.sum(-1), torch.ones_like(action[..., 0]))


def test_without_told_targets_nothing_is_different() -> None:
    plain, told = table(with_ward_as_target), table(with_ward_as_target, **TOLD)
    one, other = plain.train_sequences(50, 3)[0], told.train_sequences(50, 3)[0]
    assert torch.equal(one.state, other.state) and torch.equal(one.next_state, other.next_state)
    assert torch.equal(one.latent, other.latent[..., :1]) and "told_targets" not in plain.manifest


def test_items_are_the_index_or_a_column() -> None:
    assert table().labelled(Split.TEST).item.tolist() == list(range(300, 380))
    assert table(item="patient").labelled(Split.TEST).item.tolist() == [number // 2 + 1000 for number in range(300, 380)]


def test_partners_are_near_on_the_scale_of_the_schema() -> None:
    """The wards agree, and the doses differ by less on a log scale than those of rows at random."""
    frames = {Split.TRAIN: rows(0, 240), Split.TEST: rows(300, 80)}
    drawn = table(
        lambda given: (given.clear(), given.update(frames)), pairs=Matched(columns=None, num_neighbours=3, corruption=0)
    )
    pairs = drawn.train_sequences(2000, 0)[0]
    ward, dose = drawn.preprocessor.blocks["ward"], drawn.preprocessor.blocks["dose"].start
    # Every tenth row is a woman of ward b, and so are her nearest neighbours.
    assert torch.equal(pairs.state[..., ward], pairs.next_state[..., ward])
    apart = (pairs.state[..., dose] - pairs.next_state[..., dose]).abs()
    shuffled = (pairs.state[..., dose] - pairs.next_state[..., dose].roll(1, 1)).abs()
    assert apart.mean() < shuffled.mean() / 5


def test_rows_are_compared_as_the_schema_says() -> None:
    frame = rows(0, 5)
    frame.loc[3, "dose"], frame.loc[1, "ward"] = np.nan, None
    compared = comparable_columns(frame, SCHEMA)
    np.testing.assert_allclose(compared["dose"], np.log1p([0, 1, 2, (1 + 2) ** 0.5 * (1 + 1) ** 0.5 - 1, 4]))
    assert compared["ward"].tolist() == ["b", "?", "a", "a", "a"] and list(compared) == ["dose", "sex", "ward"]


def test_the_manifest_adds_what_was_measured() -> None:
    manifest = table(pairs=Flip()).manifest
    assert manifest["name"] == "ward" and manifest["rows"] == {"train": 240, "validation": 60, "test": 80}
    rates = manifest["majority_rate"]
    assert isinstance(rates, dict) and rates["train/treated"] == 0.3333 and rates["test/sex"] == 0.5


def test_without_validation_rows() -> None:
    small = table(lambda frames: frames.pop(Split.VALIDATION))
    with pytest.raises(ValueError, match="no validation rows: this table was given with train, test rows only"):
        small.labelled(Split.VALIDATION)


def set_rows(split: Split, **cells: object) -> Callable[[dict[Split, pd.DataFrame]], object]:
    return lambda frames: frames.update({split: frames[split].assign(**cells)})


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda frames: frames.pop(Split.TEST), {}, "there are no test rows"),
        (set_rows(Split.TEST, sex="f"), {}, r"'sex': the test split has no row with 'm' \(80 rows\)"),
        (set_rows(Split.VALIDATION, sex="m"), {}, "the validation split has no row with 'f'"),
        (set_rows(Split.TRAIN, sex="x"), {}, "'sex': 'x' is none of its values"),
        (set_rows(Split.TEST, treated=1), {}, "target 'treated' has one value only in the test split"),
        (set_rows(Split.TRAIN, treated=7), {}, r"target 'treated': '7' is none of the classes \['0', '1', '2'\]"),
        (lambda frames: None, {"told_targets": ["treated"]}, r"told_targets: 'treated' has the classes \['0', '1', '2'\]; name"),
        (
            lambda frames: None,
            {"told_targets": ["dose"]},
            r"told_targets: 'dose' is no target; name targets of two classes: \[\]",
        ),
        (lambda frames: None, {"attributes": []}, "expected one or more attributes"),
        (
            lambda frames: None,
            {"attributes": [SensitiveAttribute("ward", ("a", "b"))]},
            r"the schema's \['sex'\], found \['ward'\]",
        ),
        (
            lambda frames: None,
            {"attributes": [SensitiveAttribute("sex", ("m", "f"))]},
            r"must declare the categories \['m', 'f'\]",
        ),
        (lambda frames: None, {"targets": [Target("ward", ("a", "b"))]}, "'ward' is both an input and a target"),
        (lambda frames: None, {"targets": [Target("treated", ("0", "1", "2"))] * 2}, "target names must be distinct"),
    ],
)
def test_what_does_not_fit_is_named(
    change: Callable[[dict[Split, pd.DataFrame]], object], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        table(change, **settings)


def test_a_constant_target_of_validation_rows_only_is_no_mistake() -> None:
    assert table(set_rows(Split.VALIDATION, treated=1)).labelled(Split.VALIDATION).target("treated").values.unique().tolist() == [
        1
    ]
