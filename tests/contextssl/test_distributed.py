"""Two processes train as one process with both their batches would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from two_processes import LOSSES, METHODS, NORMS, TRAININGS, everything, work

from contextssl.distributed import (
    SynchronisedBatchNorm1d,
    SynchronisedBatchNorm2d,
    gather,
    num_processes,
    synchronise_batch_norms,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict, dict]:
    """Of one process, and of either of two."""
    folder: Path = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(work, args=(2, folder), nprocs=2)
    return everything(), torch.load(folder / "0.pt"), torch.load(folder / "1.pt")


def same(first, second, tolerance: float = 1e-5) -> None:
    assert first.keys() == second.keys() and first
    for name in first:
        scale = max(1.0, float(first[name].abs().max())) if first[name].numel() else 1.0
        # An adversary learns by Adam, which turns roundings of gradients near zero into steps.
        allowed = scale * (1e-3 if "adversary" in name else tolerance)
        torch.testing.assert_close(second[name], first[name], atol=allowed, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


def tolerance(name: str) -> float:
    """The penalty solves nearly singular systems in single precision."""
    return 1e-4 if name == "context_ssl, default" else 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_make_the_step_of_one(name, results) -> None:
    one, first, second = (found[f"method {name}"] for found in results)
    for kind in ("terms", "gradients", "buffers"):
        same(one[kind], first[kind], tolerance(name))
        same(one[kind], second[kind], tolerance(name))
    assert max(gradient.abs().max() for gradient in one["gradients"].values()) > 1e-3


@pytest.mark.parametrize("case", TRAININGS, ids=str)
def test_two_processes_train_as_one_with_the_same_batch(case, results) -> None:
    one, first, second = (found[f"training {case}"] for found in results)
    for kind in ("terms", "state"):
        same(one[kind], first[kind], tolerance(case[0]))
    assert all(torch.equal(first["state"][name], second["state"][name]) for name in first["state"])  # to the bit


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_do_not_see_the_border_between_processes(name, results) -> None:
    for found in results[1:]:
        same(results[0][f"loss {name}"], found[f"loss {name}"])
    assert results[0][f"loss {name}"]["rows"].abs().max() > 1e-4


@pytest.mark.parametrize("name", NORMS)
def test_batch_statistics_are_those_of_all_processes(name, results) -> None:
    for found in results[1:]:
        same(results[0][f"norm {name}"], found[f"norm {name}"])


@pytest.mark.parametrize("rank", [0, 1])
def test_what_processes_make_together(rank, results) -> None:
    found = results[1 + rank]["together"]
    first, second, never, late = found["gradients"]
    assert torch.equal(first, torch.full((2, 3), 1.5)) and torch.equal(second, torch.full((2, 3), 1.5).double())
    assert never is None and torch.equal(late, torch.tensor([[0.0], [0.5], [1.0], [1.5]]))
    assert {name: float(value) for name, value in found["terms"].items()} == {"a": 1.5, "b": 2.0}
    assert found["highest"] == 7 and found["from first"] == "made by 0"
    assert found["own"][0].tolist() == [[0, 1, 2], [3, 4, 5]][rank] and found["own"][1] == [[10, 11], [12, 13]][rank]
    assert found["total"].tolist() == [3.0] and float(found["average"]) == 1.5


def test_one_process_is_left_alone() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert num_processes() == 1
    assert gather(rows) is rows


def test_layers_stay_the_same_objects_and_do_the_same_alone() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Unflatten(1, (4, 1, 1)), nn.BatchNorm2d(4), nn.LayerNorm([4, 1, 1])
    )
    rows = torch.randn(6, 3)
    expected, parameters, keys = network(rows), list(network.parameters()), list(network.state_dict())
    for norm in (network[1], network[3]):
        norm.reset_running_stats()
    synchronise_batch_norms(network)
    assert [type(layer) for layer in network] == [
        nn.Linear, SynchronisedBatchNorm1d, nn.Unflatten, SynchronisedBatchNorm2d, nn.LayerNorm,
    ]  # fmt: skip
    assert isinstance(network[1], nn.BatchNorm1d)
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True)) and list(network.state_dict()) == keys
    assert torch.equal(network(rows), expected)
