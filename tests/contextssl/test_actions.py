"""ActionSpace and Environment: which coordinate belongs to whom, and what hiding leaves."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from contextssl.actions import ActionSpace, Group, Kind, hide

SPACE = ActionSpace(
    [
        Group("rotation", 4, 4, Kind.QUATERNION, "scalar last"),
        Group("hue", 2, 2, Kind.CIRCULAR, "turns"),
        Group("sex", 2, 1, Kind.SWITCH, "[s, 1 - s]"),
    ]
)


def test_every_coordinate_belongs_to_exactly_one_group():
    for slice_of, width in ((SPACE.action_slice, 8), (SPACE.latent_slice, 7)):
        covered = [index for name in SPACE.names for index in range(width)[slice_of(name)]]
        assert covered == list(range(width))
    assert (SPACE.action_dim, SPACE.latent_dim) == (8, 7)


@pytest.mark.parametrize(
    ("told", "action", "latent"),
    [
        ("none", [0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]),
        ("rotation", [1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0]),
        ("sex", [0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 1]),
        ("sex+rotation", [1, 1, 1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 0, 0, 1]),
        ("all", [1] * 8, [1] * 7),
    ],
)
def test_masks_of_environments(told, action, latent):
    environment = SPACE.environment(told)
    assert SPACE.action_mask(environment).tolist() == action
    assert SPACE.latent_mask(environment).tolist() == latent


def test_environment_names_are_canonical():
    assert SPACE.environment("sex+rotation").name == "rotation+sex"
    assert SPACE.environment("all") == SPACE.environment("hue+sex+rotation")
    assert SPACE.environment("none").name == "none"
    assert [environment.name for environment in SPACE.environments] == ["rotation", "hue", "sex", "none"]
    with pytest.raises(ValueError, match=r"unknown group 'colour': this action space has \['rotation', 'hue', 'sex'\]"):
        SPACE.environment("colour")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.booleans()), min_size=1, max_size=5), st.integers(0, 999))
def test_hiding_keeps_told_coordinates_and_nothing_else(groups, seed):
    space = ActionSpace([Group(f"g{i}", a, t, Kind.REAL, "") for i, (a, t, _) in enumerate(groups)])
    environment = space.environment("+".join(f"g{i}" for i, (_, _, told) in enumerate(groups) if told) or "none")
    action = torch.randn(2, 3, space.action_dim, generator=torch.Generator().manual_seed(seed))
    seen = hide(action, space.action_mask(environment))
    for i, (_, _, told) in enumerate(groups):
        columns = space.action_slice(f"g{i}")
        assert torch.equal(seen[..., columns], action[..., columns] if told else torch.zeros_like(action[..., columns]))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "at least one group"),
        (["a", "a"], "distinct names"),
        (["none"], "may not be empty, 'none'"),
        (["a+b"], "nor contain"),
        (["a.b"], "nor contain"),
    ],
)
def test_bad_names_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        ActionSpace([Group(name, 1, 1, Kind.REAL, "") for name in names])


def test_wrong_widths_are_refused():
    with pytest.raises(ValueError, match=r"action_scale: expected shape \[8\].*found \[7\]"):
        ActionSpace(SPACE.groups, action_scale=torch.ones(7))
    with pytest.raises(ValueError, match=r"action: the groups .* need width 8, found 6 in shape \[5, 6\]"):
        SPACE.check(torch.zeros(5, 6), torch.zeros(5, 7))
    with pytest.raises(ValueError, match=r"latent: .* need width 7, found 8"):
        SPACE.check(torch.zeros(5, 8), torch.zeros(5, 8))


def test_measured_scales_are_root_mean_square_and_standard_deviation():
    action, latent = torch.zeros(2, 2, 8), torch.zeros(2, 2, 7)
    action[..., 0] = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    latent[..., 6] = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    space = SPACE.measured(action, latent)
    assert space.action_scale[0].item() == pytest.approx(math.sqrt(12.5))
    assert space.latent_mean[6].item() == pytest.approx(0.75)
    assert space.latent_scale[6].item() == pytest.approx(math.sqrt(0.75 * 0.25))
    assert space.action_scale[1:].tolist() == [1.0] * 7  # constant coordinates are left alone
    assert SPACE.action_scale[0] == 1


def test_functions_of_a_latent_do_not_change_under_its_symmetry():
    """A hue of h and of h + 1 look the same, and so do the quaternions q and -q."""
    hue = torch.rand(5, 2, generator=torch.Generator().manual_seed(0))
    columns = SPACE.group("hue").functions(hue), SPACE.group("hue").functions(hue + 1)
    torch.testing.assert_close(columns[0][:, 2:], columns[1][:, 2:], atol=1e-5, rtol=0)
    assert columns[0].shape == (5, 6)
    torch.testing.assert_close(columns[0][:, 2:4].square() + columns[0][:, 4:6].square(), torch.ones(5, 2))
    q = torch.nn.functional.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    products = SPACE.group("rotation").functions(q)[:, 4:]
    torch.testing.assert_close(products, SPACE.group("rotation").functions(-q)[:, 4:])
    assert products.shape == (5, 10)
    torch.testing.assert_close(products[:, 0], q[:, 0] ** 2)
    switch = torch.tensor([[0.0], [1.0]])
    assert torch.equal(SPACE.group("sex").functions(switch), switch)


@pytest.mark.parametrize(
    ("names", "columns"),
    [(["hue"], [4, 5]), (["sex", "rotation"], [0, 1, 2, 3, 6, 7]), (SPACE.names, list(range(8))), (["hue", "hue"], [4, 5])],
)
def test_columns_of_groups_stand_in_the_order_of_the_space(names, columns):
    assert SPACE.action_columns(names).tolist() == columns
    assert SPACE.action_columns(names).dtype == torch.int64


def test_columns_of_no_group_or_an_unknown_one_are_refused():
    with pytest.raises(ValueError, match="groups: expected at least one of .*'rotation', 'hue', 'sex'.*, found none"):
        SPACE.action_columns([])
    with pytest.raises(ValueError, match="unknown group 'light'"):
        SPACE.action_columns(["hue", "light"])
