"""Contestants of the speed benchmark: turns, processes, environments, and that they do the same."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from averaging_encoder import Pixels
from torch import Tensor, nn


def test_everyone_takes_a_turn_in_every_round_and_the_first_round_does_not_count(turns: ModuleType) -> None:
    called: list[str] = []

    def contestant(name: str) -> Callable[[], float]:
        return lambda: called.append(name) or float(len(called))

    found = turns.in_turns({"a": contestant("a"), "b": contestant("b")}, turns.Effort(2, 3, 1000.0))
    assert "".join(called) == "ab" * 4
    assert found == {"a": [3.0, 5.0, 7.0], "b": [4.0, 6.0, 8.0]}


def test_rounds_end_with_the_time_but_not_before_the_least(turns: ModuleType) -> None:
    for least, most in ((3, 9), (0, 9), (2, 2)):
        found = turns.in_turns({"a": lambda: 1.0}, turns.Effort(least, most, 0.0), warm_up=False)
        assert len(found["a"]) == least
    found = turns.in_turns({"a": lambda: 1.0}, turns.Effort(1, 5, 1000.0), warm_up=False)
    assert len(found["a"]) == 5


def test_numbers_are_medians_and_ratios_of_medians(turns: ModuleType) -> None:
    assert turns.summary([0.003, 0.001, 0.1]) == {"ms": 3.0, "fastest_ms": 1.0, "slowest_ms": 100.0, "rounds": 3}
    assert turns.ratio([9.0, 3.0, 3.0], [1.0, 2.0, 100.0]) == 1.5


def slow_nt_xent(x: Tensor, y: Tensor, temperature: float = 0.1) -> float:
    """The formula of lightly's and solo-learn's documentation, number by number."""
    rows = [row / row.norm() for row in (*x.double(), *y.double())]
    total = 0.0
    for i, row in enumerate(rows):
        scores = [float(row @ other) / temperature for other in rows]
        others = [score for j, score in enumerate(scores) if j != i]
        partner = (i + len(x)) % len(rows)
        total -= scores[partner] - float(torch.tensor(others, dtype=torch.float64).logsumexp(0))
    return total / len(rows)


def test_our_loss_is_the_peers_formula_on_the_same_numbers(speed: ModuleType) -> None:
    from peers.contestant import Settings, planted_embeddings, simclr
    from peers.our_steps import whole_step

    expected = slow_nt_xent(*planted_embeddings())
    settings = Settings(images=8, side=8, channels_last=False, projector_dims=(6, 4))
    object.__setattr__(settings, "encoder", Pixels)
    ours = whole_step(settings, ["method=simclr", "method.projector_dims=[6,4]"], num_transitions=2)
    peer = simclr(settings, nn.Linear(12, 4), lambda x, y: torch.tensor(slow_nt_xent(x, y)).requires_grad_(), ())
    assert ours.loss == pytest.approx(expected, rel=1e-6) and peer.loss == pytest.approx(expected, rel=1e-6)
    speed.steps.check_losses({"contextssl": ours.loss, "peer": peer.loss})
    with pytest.raises(ValueError, match="'other': 1.2.*not the same"):
        speed.steps.check_losses({"contextssl": ours.loss, "other": 1.2})


@pytest.mark.parametrize("overrides", [["method=simclr", "method.projector_dims=[6,4]"], ["method=context_ssl/default"]])
def test_our_step_is_a_training_step_of_all_images(speed: ModuleType, overrides: list[str]) -> None:
    from peers.contestant import Settings
    from peers.our_steps import whole_step

    settings = Settings(images=16, side=8, channels_last=False, projector_dims=(6, 4))
    encoder, seen = Pixels(), []
    encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    object.__setattr__(settings, "encoder", lambda: encoder)
    whole_step(settings, overrides, num_transitions=4).step()
    assert sum(seen) == 16 and not torch.equal(encoder.scale, torch.ones(12))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_memory_is_the_growth_of_one_call(speed: ModuleType) -> None:
    from peers.contestant import megabytes

    held = torch.ones(5 * 2**20)  # 20 MB that were there before
    assert megabytes(lambda: torch.ones(16 * 2**20).sum(), "cpu") == pytest.approx(64, abs=12)
    assert len(held) == 5 * 2**20


ECHO = """
import json, sys
settings = json.loads(sys.stdin.readline())
print(json.dumps({"side": settings["side"]}), flush=True)
for line in sys.stdin:
    if line == "flops\\n":
        sys.exit("no flops today")
    print({"go": 0.25, "memory": 12.345}[line.strip()], flush=True)
"""


def test_a_contestant_answers_line_by_line_and_its_last_words_are_reported(turns: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "echo.py"
    script.write_text(ECHO)
    with turns.Process(str(script), turns.Settings(images=4, side=9)) as process:
        assert process.description == {"side": 9}
        assert (process.memory(), process.go(), process.go()) == (12.3, 0.25, 0.25)
        with pytest.raises(RuntimeError, match="no flops today"):
            process.flops()


@pytest.mark.slow
def test_a_real_contestant_trains(turns: ModuleType) -> None:
    settings = turns.Settings(images=8, side=16, own={"what": "encoder"})
    with turns.Process("our_steps.py", settings) as process:
        assert process.memory() > 40  # 11 million gradients
        assert process.go() > 0 and process.flops() > 1e8
        assert process.description["num_parameters"] == 11_176_512


def test_an_environment_is_made_once_and_says_how(speed: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environments, installs = sys.modules["speed_parts.environments"], []

    def install(_: Path, requirements: list[str]) -> str | None:
        installs.append(requirements)
        return "a pin" if requirements[0] in ("pinned==1", "broken==1") or requirements[-1] == "broken==1" else None

    monkeypatch.setattr(environments, "_install", install)
    monkeypatch.setattr(environments, "_make", lambda root, _: root.mkdir())
    expected = {
        "good==1": ("with its dependencies", None),
        "pinned==1": ("without its dependencies", "a pin"),
        "broken==1": ("not at all", "a pin"),
    }
    for _ in range(2):
        for requirement, (installed, error) in expected.items():
            found = environments.environment_of(environments.Peer("peer", "peer.py", requirement, alone=True), tmp_path)
            assert (found.installed, found.error) == (installed, error)
            assert (found.python is None) == (installed == "not at all")
    assert len(installs) == 5 and installs[0][1:] == [f"torch=={torch.__version__.split('+')[0]}", installs[0][2]]


def test_the_reason_is_one_line(speed: ModuleType) -> None:
    reason = sys.modules["speed_parts.environments"].reason
    said = (
        "ERROR: Cannot install a\n\nThe conflict is caused by:\n    solo-learn 1.0.2 depends on torch==1.9.1\nERROR: see help\n"
    )
    assert reason(said) == "solo-learn 1.0.2 depends on torch==1.9.1"
    assert reason("WARNING: slow\nERROR: No matching distribution found for b\n") == "No matching distribution found for b"
    assert reason("") == "pip failed without a word"
