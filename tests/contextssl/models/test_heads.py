"""Heads of the pairwise methods: their layers, and what a hypernetwork's linearity means."""

import pytest
import torch
from torch import nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.models.heads import projector
from contextssl.models.hypernetwork import LinearHypernetwork
from contextssl.models.told_action import ToldAction


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_projector_is_normalised_blocks_and_a_linear_map_through_zero():
    torch.manual_seed(0)
    head, x = projector(5, (7, 6, 4)), 3 + noise(20, 5)
    hidden = x
    for weight in (head[0].weight, head[3].weight):
        hidden = hidden @ weight.T
        hidden = ((hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()).relu()
    torch.testing.assert_close(head(x), hidden @ head[6].weight.T, atol=1e-5, rtol=1e-4)
    assert [layer.bias for layer in head if isinstance(layer, nn.Linear)] == [None] * 3
    assert [p.shape for p in projector(5, (4,)).parameters()] == [torch.Size([4, 5])]
    with pytest.raises(ValueError, match="projector_dims: expected at least one width"):
        projector(5, ())


def test_hypernetwork_is_a_matrix_for_every_action():
    torch.manual_seed(0)
    network, z, a, b = LinearHypernetwork(3, 6), noise(4, 6), noise(4, 3, seed=1), noise(4, 3, seed=2)
    for row in range(4):
        matrix = torch.stack([network(torch.eye(6)[[i]], a[[row]])[0] for i in range(6)], dim=1)
        torch.testing.assert_close(network(z, a)[row], matrix @ z[row], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network(z, a + 2 * b), network(z, a) + 2 * network(z, b), atol=1e-5, rtol=1e-4)
    assert not network(z, torch.zeros(4, 3)).any()
    assert network.weight.numel() == 3 * 6 * 6 == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("action_dim", "width"), [(1, 64), (6, 256)])
def test_predictions_of_a_new_hypernetwork_have_the_size_of_embeddings(action_dim, width):
    torch.manual_seed(0)
    predicted = LinearHypernetwork(action_dim, width)(noise(500, width), noise(500, action_dim, seed=1).sign())
    assert predicted.std().item() == pytest.approx(1, rel=0.1)


def test_told_actions_are_columns_in_units_of_their_scale():
    groups = [Group("turn", 2, 2, Kind.REAL, ""), Group("shift", 1, 1, Kind.REAL, "")]
    space = ActionSpace(groups, action_scale=torch.tensor([2.0, 4.0, 8.0]))
    action = torch.tensor([[[2.0, 4.0, 8.0]], [[4.0, -4.0, 16.0]]])
    everything, shift = ToldAction(space), ToldAction(space, ["shift"])
    assert (everything.out_dim, shift.out_dim) == (3, 1)
    assert torch.equal(everything(action), torch.tensor([[[1.0, 1, 1]], [[2, -1, 2]]]))
    assert torch.equal(shift(action), torch.tensor([[[1.0]], [[2]]]))
    # The scale belongs to the weights: read elsewhere, they are told in the same units.
    other = ToldAction(ActionSpace(groups))
    other.load_state_dict(everything.state_dict())
    assert torch.equal(other(action), everything(action))
