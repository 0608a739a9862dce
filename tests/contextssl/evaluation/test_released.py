"""The released probes against plain torch modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.evaluation.probe import Labels, Parts, initial_network
from contextssl.evaluation.released import ReleasedProbe


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trained(x: Tensor, y: Tensor, hidden_dims: tuple[int, ...], steps: int, rate: float) -> nn.Sequential:
    """A stack of nn.Linear from the same first weights, trained on all rows at once."""
    out_dim = y.shape[1] if y.is_floating_point() else int(y.max()) + 1
    parameters = initial_network(x.unsqueeze(0), (*hidden_dims, out_dim), torch.Generator().manual_seed(0))
    layers: list[nn.Module] = []
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        layer = nn.Linear(*weight.shape[1:])
        layer.weight.data, layer.bias.data = weight[0].detach().T.clone(), bias[0, 0].detach().clone()
        layers += [layer, nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        (F.mse_loss(network(x), y) if y.is_floating_point() else F.cross_entropy(network(x), y)).backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("hidden_dims", [(), (16, 8)])
@pytest.mark.parametrize("classes", [None, 3])
def test_every_cell_is_trained_as_a_plain_module_would_be(hidden_dims: tuple[int, ...], classes: int | None) -> None:
    fit, report = draw(2, 40, 5), draw(2, 10, 5, seed=1)
    values = draw(40, 2, seed=2) + 3 if classes is None else draw(40, 3, seed=2).argmax(1)
    probe = ReleasedProbe(hidden_dims=hidden_dims, epochs=30, batch_size=40, learning_rate=1e-2)
    # What there is to choose on says nothing: it must not be looked at.
    found = probe.outputs(Parts(fit, torch.full((2, 3, 5), torch.nan), report), [Labels(values, values[:3], classes)])[0]
    for cell in range(2):
        expected = trained(fit[cell], values, hidden_dims, 30, 1e-2)(report[cell])
        torch.testing.assert_close(found[cell], expected, rtol=1e-4, atol=1e-4)
    assert not found.requires_grad


def test_one_epoch_sees_every_row() -> None:
    """Rows have no column in common, so the weight of a row that no batch held would stay as it was drawn."""
    x, values = torch.eye(64).unsqueeze(0), draw(64, 1)
    report = torch.cat([x, torch.zeros(1, 1, 64)], dim=1)
    found = ReleasedProbe(epochs=1, batch_size=10).outputs(Parts(x, x, report), [Labels(values, values, None)])[0][0]
    weight, first = found[:64] - found[64:], initial_network(x, (1,), torch.Generator().manual_seed(0))[0][0]
    assert ((weight - first).abs() > 1e-5).all()


def test_names_say_what_it_is() -> None:
    assert [ReleasedProbe().name, ReleasedProbe(hidden_dims=(1024, 1024)).name] == ["linear-released", "mlp-released"]
