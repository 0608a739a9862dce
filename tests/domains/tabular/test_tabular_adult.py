"""The adapter: splits, actions, determinism, targets, and the generated census behind `source=generated`."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from contextssl.adapter import Split
from contextssl.encoder import Encoder
from domains.tabular.adult import ActionCode, Adult
from domains.tabular.census import generate_census
from domains.tabular.encoders import TabularEncoder
from domains.tabular.samplers import Flip
from domains.tabular.sources import COLUMNS

SMALL = (1200, 600)


def test_items_are_disjoint_over_splits_and_number_the_whole_file(census: Adult) -> None:
    items = [census.labelled(split).item for split in Split]
    everything = torch.cat(items)
    assert torch.equal(everything.sort().values, torch.arange(2800))
    assert set(items[2].tolist()) == set(range(2000, 2800))
    assert len(items[1]) == 200


def test_validation_has_the_proportions_of_the_training_rows(census: Adult) -> None:
    for name in ("income", "sex"):
        rates = [census.labelled(split).target(name).values.float().mean().item() for split in (Split.TRAIN, Split.VALIDATION)]
        assert rates[0] == pytest.approx(rates[1], abs=0.006)


def test_training_pairs_come_from_training_rows(census: Adult) -> None:
    batch = census.train_sequences(400, seed=3)[0]
    known = {row.numpy().tobytes() for row in census.labelled(Split.TRAIN).inputs}
    assert all(row.numpy().tobytes() in known for row in batch.state[0])  # x is uncorrupted under Matched
    others = {row.numpy().tobytes() for split in (Split.VALIDATION, Split.TEST) for row in census.labelled(split).inputs}
    held_out = census.held_out(50, 2, seed=0, split=Split.TEST)
    assert held_out.state.shape[:2] == (2, 50)
    assert all(row.numpy().tobytes() in others for row in held_out.state.flatten(0, 1))


def test_items_depend_on_seed_and_index_only(census: Adult) -> None:
    first, again = census.train_sequences(16, seed=1), census.train_sequences(16, seed=1)
    wanted = first[5]
    again[2], again[7]
    assert torch.equal(wanted.next_state, again[5].next_state) and torch.equal(wanted.action, again[5].action)
    for other in (first[6], census.train_sequences(16, seed=2)[5], census.held_out(16, 1, seed=1)):
        assert not torch.equal(wanted.state, other.state)
    assert len(first) == 1800 // 16
    contexts = census.held_out(16, 3, seed=4)
    assert torch.equal(contexts.state[:2], census.held_out(16, 2, seed=4).state)


def test_rebuilding_and_pickling_change_nothing(census: Adult) -> None:
    expected = census.train_sequences(8, seed=0)[1]
    for adapter in (Adult(source="generated", num_generated=(2000, 800)), pickle.loads(pickle.dumps(census))):
        found = adapter.train_sequences(8, seed=0)[1]
        assert torch.equal(found.state, expected.state) and torch.equal(found.next_state, expected.next_state)


def test_latents_are_the_sensitive_columns_of_both_views(census: Adult) -> None:
    batch = census.train_sequences(200, seed=0)[0]
    sex = census.preprocessor.blocks["sex"]
    assert census.preprocessor.categories("sex") == ["Female", "Male"]
    for view, latent in ((batch.state, batch.latent[:, :, 0]), (batch.next_state, batch.latent[:, :, 1])):
        assert torch.equal(view[..., sex].argmax(-1), latent[..., 0].long())


def test_action_codes() -> None:
    s_x, s_y = np.array([[0, 1], [1, 1]]), np.array([[1, 1], [1, 0]])
    assert ActionCode.TARGET.write(s_x, s_y).tolist() == [[1, 0, 1, 0], [1, 0, 0, 1]]
    assert ActionCode.RELATIVE.write(s_x, s_y).tolist() == [[0, 1, 1, 0], [1, 0, 0, 1]]


@pytest.mark.parametrize("code", list(ActionCode))
def test_actions_follow_from_the_latents_and_are_measured(code: ActionCode) -> None:
    adapter = Adult(source="generated", pairs=Flip(), action_code=code, sensitive=("sex", "race"), num_generated=SMALL)
    batch = adapter.train_sequences(300, seed=0)[0]
    latent = batch.latent[0].long().numpy()
    np.testing.assert_array_equal(batch.action[0].numpy(), code.write(latent[:, 0], latent[:, 1]))
    assert adapter.actions.names == ("sex", "race") and adapter.actions.action_dim == 4 and adapter.actions.latent_dim == 2
    expected = batch.action[0].square().mean(0).sqrt()
    assert torch.allclose(adapter.actions.action_scale, expected, atol=0.08)
    assert batch.action.abs().sum(-1).min() == 2  # a code of zeros is left to mean "not told"


def test_race_is_binary_in_inputs_and_targets_when_sensitive() -> None:
    adapter = Adult(source="generated", sensitive=("race",), pairs=Flip(), num_generated=SMALL)
    data = adapter.labelled(Split.TEST)
    white = adapter.raw(Split.TEST)["race"] == "White"
    assert data.target("race").values.tolist() == white.astype(int).tolist()
    assert adapter.preprocessor.categories("race") == ["Non-White", "White"]
    assert {target.name for target in data.targets} == {"income", "race"}


def test_labelled_rows_are_the_raw_rows(census: Adult) -> None:
    data, raw = census.labelled(Split.TEST), census.raw(Split.TEST)
    assert data.item.tolist() == raw.index.tolist()
    assert data.target("income").values.tolist() == (raw["income"] == ">50K").astype(int).tolist()
    assert data.latent[:, 0].tolist() == (raw["sex"] == "Male").astype(float).tolist()
    assert torch.equal(data.inputs, census.preprocessor.transform(raw))
    assert not [name for name in census.preprocessor.column_names if "income" in name or "fnlwgt" in name]


def test_preprocessing_sees_training_rows_only(census: Adult) -> None:
    inputs = census.labelled(Split.TRAIN).inputs
    assert abs(inputs[:, 0].mean()) < 1e-5 and inputs[:, 0].std(unbiased=False) == pytest.approx(1, abs=1e-4)
    assert abs(census.labelled(Split.TEST).inputs[:, 0].mean()) > 1e-4


def test_balanced_rows() -> None:
    adapter = Adult(source="generated", pairs=Flip(), balance_sensitive=True, num_generated=SMALL)
    share = adapter.train_sequences(4000, seed=0)[0].latent[0, :, 0].mean()
    assert share == pytest.approx(0.5, abs=0.03)


def test_training_on_all_rows_and_dropping_missing_ones() -> None:
    adapter = Adult(source="generated", pairs=Flip(), validation_fraction=0, drop_missing=True, num_generated=SMALL)
    assert not (adapter.raw(Split.TRAIN) == "?").to_numpy().any()
    assert 1000 < len(adapter.labelled(Split.TRAIN)) < 1200
    with pytest.raises(ValueError, match="no validation rows"):
        adapter.labelled(Split.VALIDATION)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sensitive": ("age",)}, "sensitive must name"),
        ({"sensitive": ()}, "sensitive must name"),
        ({"validation_fraction": 1.0}, "below 1"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adult(source="generated", num_generated=SMALL, **arguments)  # type: ignore[arg-type]


def test_the_manifest_says_that_it_is_a_stand_in(census: Adult) -> None:
    assert census.manifest["stand_in"] is True and "generated" in str(census.manifest["name"])
    assert census.manifest["rows"] == {"train": 1800, "validation": 200, "test": 800}


def test_encoders(census: Adult) -> None:
    encoder = census.build_encoder().eval()
    assert isinstance(encoder, Encoder) and encoder.out_dim == 64 + census.labelled(Split.TEST).inputs.shape[1]
    rows = census.labelled(Split.TEST).inputs[:9]
    assert torch.allclose(encoder(rows)[:1], encoder(rows[:1]), atol=1e-6)
    protocol = TabularEncoder(rows.shape[1], hidden=(256, 256), num_mixed=128, keep_columns=False)
    assert protocol(rows).shape == (9, 128)
    with pytest.raises(ValueError, match="expected rows"):
        protocol(rows[:, 1:])


def test_kept_columns_are_the_first_features_and_the_rest_have_the_stated_scale() -> None:
    torch.manual_seed(0)
    encoder = TabularEncoder(5, hidden=(7,), num_mixed=3, mixed_scale=0.3)
    x = torch.randn(400, 5)
    features = encoder(x)
    assert torch.equal(features[:, :5], x)
    torch.testing.assert_close(features[:, 5:].std(0, unbiased=False), torch.full((3,), 0.3), atol=1e-2, rtol=0)


def test_generated_census_has_the_planted_structure() -> None:
    rows = generate_census(20_000, seed=5)
    assert tuple(rows.columns) == COLUMNS
    assert rows.equals(generate_census(20_000, seed=5)) and not rows.equals(generate_census(20_000, seed=6))
    man, rich = rows["sex"] == "Male", rows["income"] == ">50K"
    assert 0.2 < rich.mean() < 0.28 and 0.65 < man.mean() < 0.69
    assert rich[man].mean() - rich[~man].mean() > 0.1
    assert not (rows.loc[man, "relationship"] == "Wife").any() and (rows.loc[man, "relationship"] == "Husband").mean() > 0.4
    assert rows.loc[man, "hours_per_week"].mean() - rows.loc[~man, "hours_per_week"].mean() > 3
    # Race has no effect on income.
    white = rows["race"] == "White"
    assert abs(rich[white].mean() - rich[~white].mean()) < 0.03


def test_generated_direct_effect_is_the_gap_left_within_equal_rows() -> None:
    """Among unmarried skilled workers of middling education, hours and no gains, only the direct path is left."""

    def gap(effect: float) -> float:
        rows = generate_census(60_000, seed=0, direct_effect=effect)
        alike = rows[
            (rows["marital_status"] != "Married-civ-spouse") & rows["education_num"].between(9, 13) & (rows["capital_gain"] == 0)
            & rows["hours_per_week"].between(38, 46) & (rows["occupation"] == "Prof-specialty")
        ]  # fmt: skip
        rich = (alike["income"] == ">50K").groupby(alike["sex"]).mean()
        return float(rich["Male"] - rich["Female"])

    assert abs(gap(0.0)) < 0.03
    assert gap(2.0) > 0.15


@pytest.mark.data
def test_real_adult(adult_root: Path) -> None:
    adapter = Adult(root=adult_root, pairs=Flip())
    assert adapter.manifest["rows"] == {"train": 29_304, "validation": 3257, "test": 16_281}
    assert adapter.manifest["stand_in"] is False and adapter.manifest["digests_checked"] is True
    complete = Adult(root=adult_root, pairs=Flip(), drop_missing=True, validation_fraction=0)
    assert complete.manifest["rows"] == {"train": 30_162, "test": 15_060}
    women = adapter.labelled(Split.TEST).target("sex").values == 0
    assert int(women.sum()) == 5421
