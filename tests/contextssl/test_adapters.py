"""The ready-made adapters: what a pair is, what its action says, and who is in which split."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from scipy.spatial.transform import Rotation
from torch import nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import ProbeTarget, Split
from contextssl.adapters import FlippedColumn, NearestRows, TableAdapter, TransformedItems, ViewsAdapter, relative_action
from contextssl.adapters.items import split_items


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Width(nn.Module):
    def __init__(self, out_dim=3):
        super().__init__()
        self.out_dim = out_dim

    def forward(self, x):
        return x.flatten(1)[:, : self.out_dim]


ONE_REAL = ActionSpace([Group("blur", 1, 1, Kind.REAL, "pixels")])


def test_relative_quaternion_is_the_rotation_from_x_to_y():
    space = ActionSpace([Group("pose", 4, 4, Kind.QUATERNION, "scalar last")])
    x, y = (nn.functional.normalize(noise(50, 4, seed=seed), dim=-1) for seed in (0, 1))
    expected = (Rotation.from_quat(x.double().numpy()).inv() * Rotation.from_quat(y.double().numpy())).as_quat(canonical=False)
    action = relative_action(space, x, y)
    torch.testing.assert_close(action, torch.tensor(expected).float(), atol=1e-5, rtol=0)
    assert (action[:, 3] < 0).any()  # the sign is left alone
    torch.testing.assert_close(relative_action(space, x, x), torch.tensor([0.0, 0, 0, 1]).expand(50, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(relative_action(space, -x, y), -action)


def test_actions_of_the_other_kinds():
    space = ActionSpace(
        [Group("size", 1, 1, Kind.REAL, ""), Group("hue", 1, 1, Kind.CIRCULAR, ""), Group("hat", 2, 1, Kind.SWITCH, "")]
    )
    x, y = torch.tensor([[5.0, 0.9, 1.0], [1.0, 0.1, 0.0]]), torch.tensor([[2.0, 0.1, 0.0], [1.5, 0.9, 0.0]])
    expected = torch.tensor([[-3.0, -0.8, 0.0, 1.0], [0.5, 0.8, 0.0, 1.0]])
    torch.testing.assert_close(relative_action(space, x, y), expected)
    wrong = ActionSpace([Group("hat", 1, 1, Kind.SWITCH, "")])
    with pytest.raises(ValueError, match=r"group 'hat': the action of kind switch has width 2, but 1 is declared"):
        relative_action(wrong, x[:, :1], y[:, :1])


@settings(max_examples=30, deadline=None)
@given(st.integers(10, 60), st.floats(0, 0.4), st.floats(0, 0.4), st.integers(0, 99))
def test_splits_cover_all_items_once(num_items, validation, test, seed):
    splits = split_items(num_items, (validation, test), seed)
    together = torch.cat([splits[split] for split in Split])
    assert sorted(together.tolist()) == list(range(num_items))
    assert abs(len(splits[Split.TEST]) - max(1, test * num_items)) <= 0.5
    assert torch.equal(split_items(num_items, (validation, test), seed)[Split.TEST], splits[Split.TEST])


def test_splits_depend_on_the_seed_and_need_items():
    assert not torch.equal(split_items(50, (0.2, 0.2), 0)[Split.TEST], split_items(50, (0.2, 0.2), 1)[Split.TEST])
    with pytest.raises(ValueError, match="3 items are too few"):
        split_items(3, (0.1, 0.1), 0)
    with pytest.raises(ValueError, match="sum below 1"):
        split_items(30, (0.5, 0.5), 0)


def views_adapter(shape=(2, 3), num_items=20, num_views=4, seed=0):
    """View v of item i holds i and v in all its numbers; its latent is v."""
    item, view = torch.meshgrid(torch.arange(num_items), torch.arange(num_views), indexing="ij")
    views = (10.0 * item + view).view(num_items, num_views, *([1] * len(shape))).expand(num_items, num_views, *shape)
    targets = [ProbeTarget("kind", torch.arange(num_items) % 5, 5)]
    return ViewsAdapter(views, view[..., None].float(), ONE_REAL, targets, encoder=Width, seed=seed)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (3, 4, 4)])
def test_views_of_one_pair_are_two_views_of_one_item(shape):
    adapter = views_adapter(shape)
    batch = adapter.train_sequences(12, seed=0)[0]
    assert batch.state.shape == (1, 12, *shape)
    x, y = batch.state.flatten(2)[..., 0], batch.next_state.flatten(2)[..., 0]
    assert torch.equal(x // 10, y // 10)
    assert not (x == y).any()
    assert torch.equal(torch.stack([x % 10, y % 10], dim=2), batch.latent[..., 0])
    assert torch.equal(batch.action[..., 0], y - x)
    assert len((x // 10).unique()) == 12  # twelve different items, since there are enough
    assert set((x // 10).flatten().long().tolist()) <= set(adapter.items[Split.TRAIN].tolist())


def test_views_of_a_pair_are_in_random_order_and_all_are_used():
    batch = views_adapter().held_out(10, 40, seed=0)
    pairs = {tuple(pair) for pair in batch.latent[..., 0].flatten(0, 1).long().tolist()}
    assert pairs == {(a, b) for a in range(4) for b in range(4) if a != b}


@pytest.mark.parametrize("split", list(Split))
def test_held_out_and_labelled_come_from_their_split(split):
    adapter = views_adapter()
    items = set(adapter.items[split].tolist())
    assert set((adapter.held_out(5, 6, 0, split).state[..., 0, 0] // 10).flatten().long().tolist()) <= items
    data = adapter.labelled(split)
    assert set(data.item.tolist()) == items
    assert torch.equal(data.inputs[:, 0, 0] // 10, data.item.float())
    assert torch.equal(data.inputs[:, 0, 0] % 10, data.latent[:, 0])
    assert torch.equal(data.target("kind").values, data.item % 5)
    assert torch.equal(data.target("blur").values, data.latent)
    assert data.target("blur").group == "blur"


def test_long_sequences_reuse_items_evenly():
    adapter = views_adapter(num_items=8)
    counts = (adapter.train_sequences(13, 0)[0].state[0, :, 0, 0] // 10).long().bincount()
    used = counts[adapter.items[Split.TRAIN]]
    assert used.sum() == 13
    assert used.max() - used.min() <= 1


def test_measured_scales_come_from_training_pairs():
    views, latents = noise(40, 3, 2), 100 + 5 * noise(40, 3, 1, seed=1)
    space = ViewsAdapter(views, latents, ONE_REAL, [], encoder=Width).actions
    assert space.latent_mean.item() == pytest.approx(100, abs=1.5)
    assert space.latent_scale.item() == pytest.approx(5, rel=0.2)
    assert space.action_scale.item() == pytest.approx(5 * math.sqrt(2), rel=0.2)


def test_bytes_are_fractions_of_255():
    views = torch.full((6, 2, 3), 51, dtype=torch.uint8)
    views[..., 0] = 255
    batch = ViewsAdapter(views, noise(6, 2, 1), ONE_REAL, [], encoder=Width).train_sequences(2, 0)[0]
    assert batch.state[0, 0].tolist() == pytest.approx([1.0, 0.2, 0.2])


def test_own_relative_action_replaces_the_default():
    adapter = ViewsAdapter(noise(9, 2, 3), noise(9, 2, 1), ONE_REAL, [], encoder=Width, relative=lambda t_x, t_y: t_y * t_x)
    batch = adapter.train_sequences(4, 0)[0]
    assert torch.equal(batch.action, batch.latent[:, :, 0] * batch.latent[:, :, 1])


def bad_views(**changes):
    arguments = {"views": noise(9, 2, 3), "latents": noise(9, 2, 1), "actions": ONE_REAL, "targets": []}
    return ViewsAdapter(**(arguments | changes), encoder=Width)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": noise(9, 1, 3), "latents": noise(9, 1, 1)}, "with V >= 2"),
        ({"latents": noise(9, 2, 2)}, r"latents \[I, V, 1\], found \[9, 2, 3\] and \[9, 2, 2\]"),
        ({"latents": noise(8, 2, 1)}, r"found \[9, 2, 3\] and \[8, 2, 1\]"),
        ({"targets": [ProbeTarget("age", noise(8, 1))]}, r"one row for each of the 9 items, found {'age': 8}"),
        (
            {"views": noise(9, 2, 3).index_fill(0, torch.tensor([4]), torch.nan)},
            r"views: found a nan or infinite number at \[4, 0, 0\]",
        ),
        ({"latents": noise(9, 2, 1).index_fill(0, torch.tensor([2]), torch.inf)}, r"latents: found a nan .* at \[2, 0, 0\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        bad_views(**changes)


def shift(items, draws):
    """Adds a number of its own to every item and says which."""
    amount = torch.randint(1, 1000, (len(items), 1), generator=draws).float()
    return items + amount.view(-1, *([1] * (items.ndim - 1))), amount


def test_parameters_of_the_transform_become_actions():
    items = 10_000.0 * torch.arange(30)[:, None, None].expand(30, 2, 2)
    adapter = TransformedItems(items, shift, ONE_REAL, [], encoder=Width, views_per_item=3)
    batch = adapter.train_sequences(8, seed=3)[0]
    x, y = batch.state[..., 0, 0], batch.next_state[..., 0, 0]
    assert torch.equal(x // 10_000, y // 10_000)
    assert torch.equal(batch.latent[..., 0], torch.stack([x % 10_000, y % 10_000], dim=2))
    assert torch.equal(batch.action[..., 0], y - x)
    data = adapter.labelled(Split.TEST)
    assert len(data) == 3 * len(adapter.items[Split.TEST])
    assert torch.equal(data.inputs[:, 0, 0] % 10_000, data.latent[:, 0])
    assert torch.equal(data.inputs[:, 0, 0] // 10_000, data.item.float())
    assert len(data.latent.unique()) > 3  # every view has a transformation of its own


def test_transform_with_the_wrong_number_of_parameters_is_refused():
    two = ActionSpace([Group("blur", 1, 1, Kind.REAL, ""), Group("hue", 1, 1, Kind.CIRCULAR, "")])
    with pytest.raises(ValueError, match=r"latents: the groups \['blur', 'hue'\] need width 2, found 1"):
        TransformedItems(noise(9, 2), shift, two, [], encoder=Width)


def test_circular_targets_are_cosine_and_sine():
    space = ActionSpace([Group("hue", 1, 1, Kind.CIRCULAR, "turns")])
    data = ViewsAdapter(
        noise(9, 2, 3), torch.rand(9, 2, 1, generator=torch.Generator().manual_seed(0)), space, [], encoder=Width
    ).labelled(Split.TRAIN)
    cosine, sine = data.target("hue").values.T
    torch.testing.assert_close(torch.atan2(sine, cosine) / (2 * math.pi) % 1, data.latent[:, 0], atol=1e-5, rtol=0)


def table_adapter(pairing=None, num_rows=120):
    table = noise(num_rows, 4)
    table[:, 1] = (noise(num_rows, seed=5) > 0).float()
    return TableAdapter(
        table, 1, [ProbeTarget("row", torch.arange(num_rows), num_rows)], encoder=Width, pairing=pairing, name="sex"
    ), table


def test_partners_in_a_table_are_near_rows_of_the_same_split_with_a_fair_coin():
    adapter, table = table_adapter(NearestRows(num_neighbours=3))
    train = table[adapter.items[Split.TRAIN]]
    scaled = train[:, [0, 2, 3]] / train[:, [0, 2, 3]].std(0)
    batch = adapter.held_out(60, 6, seed=0)
    code = batch.action.flatten(0, 1)
    assert torch.equal(code, torch.stack([batch.next_state[..., 1], 1 - batch.next_state[..., 1]], dim=-1).flatten(0, 1))
    assert 0.4 < code[:, 0].mean() < 0.6
    for x, y in zip(*(part.flatten(0, 1)[:40] for part in (batch.state, batch.next_state)), strict=True):
        own, partner = ((train == row).all(1).nonzero().item() for row in (x, y))
        assert own != partner
        distances = (scaled - scaled[own]).square().sum(1)
        others = (train[:, 1] == y[1]) & (torch.arange(len(train)) != own)
        assert (distances[others] < distances[partner] - 1e-5).sum() < 3


def test_flipped_partners_differ_from_the_row_in_what_was_flipped_or_replaced():
    batch = table_adapter(FlippedColumn(corruption=0.0))[0].held_out(80, 2, seed=0)
    assert torch.equal(batch.state[..., [0, 2, 3]], batch.next_state[..., [0, 2, 3]])
    assert 0.35 < (batch.state[..., 1] != batch.next_state[..., 1]).float().mean() < 0.65
    batch = table_adapter(FlippedColumn(corruption=0.3))[0].held_out(80, 4, seed=0)
    assert 0.2 < (batch.state[..., [0, 2, 3]] != batch.next_state[..., [0, 2, 3]]).float().mean() < 0.4


def test_rows_of_a_table_are_their_own_labelled_views():
    adapter, table = table_adapter()
    data = adapter.labelled(Split.VALIDATION)
    assert torch.equal(data.inputs, table[data.item])
    assert torch.equal(data.target("row").values, data.item)
    assert torch.equal(data.target("sex").values, table[data.item, 1].long())
    assert data.target("sex").num_classes == 2


def test_a_sensitive_column_of_other_values_is_refused():
    with pytest.raises(ValueError, match="expected zeros and ones in the sensitive column 0"):
        TableAdapter(noise(20, 3), 0, [], encoder=Width)
    with pytest.raises(ValueError, match="one value only in the sensitive column 0"):
        TableAdapter(torch.cat([torch.ones(20, 1), noise(20, 2)], dim=1), 0, [], encoder=Width)
