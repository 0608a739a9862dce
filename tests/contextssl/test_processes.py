"""How processes are told apart, and what is said when they cannot meet; what they do together is in test_distributed."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch
from torch import distributed, nn

from contextssl import processes
from contextssl.commands.main import main
from contextssl.processes import _who_is_lost, average_gradients, average_terms, from_first, highest, launched, process_group


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that torchrun sets; nobody is there to be met."""
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)


def test_alone_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    gradient, terms = layer.weight.grad, {"a": torch.tensor(2.0)}
    for environment in ({}, {"RANK": "0", "WORLD_SIZE": "1"}, {"WORLD_SIZE": "4"}):  # some machines set the last for all programs
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert launched() == (0, 1)
        with process_group("cpu"):
            assert not distributed.is_initialized()
            average_gradients(layer.parameters())
            assert highest(3) == 3 and from_first(lambda: "made") == "made" and average_terms(terms) == terms
            assert layer.weight.grad is gradient
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("device", "seconds", "reason"),
    [
        ("cuda:1", "600", "device=cuda:1 is one device, for one process"),
        ("cpu", "soon", "CONTEXTSSL_PROCESS_TIMEOUT: expected a number of seconds, found 'soon'"),
        ("cpu", "0", "CONTEXTSSL_PROCESS_TIMEOUT: expected a number of seconds, found '0'"),
    ],
)
def test_what_cannot_work_is_said_before_others_are_waited_for(second_of_two, monkeypatch, device, seconds, reason) -> None:
    monkeypatch.setenv("CONTEXTSSL_PROCESS_TIMEOUT", seconds)
    with pytest.raises(ValueError, match=reason), process_group(device):
        raise AssertionError("unreachable")


def test_every_process_needs_a_device_of_its_own(second_of_two, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert processes._take_device("auto") and processes._take_device("cuda") and taken == [1, 1]
    assert not processes._take_device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=r"process 1 of this machine has no CUDA device, there are 1: .*device=cpu"):
        processes._take_device("auto")


def test_other_verbs_and_sweeps_are_refused_once(second_of_two, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert main(["demo"]) == 2 and main(["train", "-m", "seed=0,1"]) == 2
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    assert main(["demo"]) == 2 and main(["train", "-m", "seed=0,1"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "contextssl demo, rank 0 of 2: only train runs in several processes; leave out torchrun",
        "contextssl train, rank 0 of 2: a sweep trains in one process: start several processes for one run at a time",
    ]


def test_those_who_say_nothing_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LAST_WORD", 0.2)
    store = distributed.HashStore()
    store.set_timeout(timedelta(seconds=1))
    store.set("lives/0", "")
    store.set("lives/2", "")
    assert _who_is_lost(store, 4) == "rank 1, 3 of 4 does not answer (killed, out of memory, or hanging)"
    store.set("lives/1", "")
    store.set("lives/3", "")
    assert _who_is_lost(store, 4) == "the 4 processes live, but no longer reach each other"
