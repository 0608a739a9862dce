"""Checkpoints: everything comes back, half of one never counts, and nothing foreign is executed or half loaded."""

from __future__ import annotations

import errno
import os
import random
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toy_domain import ToyDomain, ToyMethod

from contextssl import checkpoint
from contextssl.checkpoint import complete_checkpoints, find_weights, load_weights, restore_checkpoint, save_checkpoint
from contextssl.training import Plan, TrainingState, fit

PLAN = Plan(optimizer=partial(torch.optim.AdamW, lr=0.1), num_steps=8, batch_size=2, num_transitions=3)
DIGESTS = {"config": "c", "data": "d", "code": "k"}


def new_state(seed: int = 0) -> TrainingState:
    domain = ToyDomain(dropout=0.5)
    torch.manual_seed(seed)
    method = ToyMethod(domain.build_encoder(), domain.actions)
    return TrainingState(method, PLAN.optimizer(method.parameters()), torch.Generator().manual_seed(seed))


def train(state: TrainingState, folder: Path | None = None, save_at: int = 5) -> None:
    def on_step(step: int, _: object) -> None:
        if folder is not None and step == save_at:
            save_checkpoint(folder, state, DIGESTS)

    fit(state, ToyDomain().train_sequences(3, 0), PLAN, on_step)


def test_a_restored_state_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = new_state()
    train(whole, tmp_path)
    random.seed(1)
    np.random.seed(1)
    other = new_state(seed=5)
    assert restore_checkpoint(complete_checkpoints(tmp_path)[-1], other) == DIGESTS
    assert other.step == 5
    train(other)
    for name, weight in whole.method.state_dict().items():
        assert torch.equal(weight, other.method.state_dict()[name]), name
    assert torch.equal(whole.generator.get_state(), other.generator.get_state())


def test_every_global_stream_comes_back(tmp_path: Path) -> None:
    state = new_state()
    save_checkpoint(tmp_path, state, DIGESTS)
    expected = (torch.rand(2).tolist(), np.random.randn(3).tolist(), random.random(), random.gauss(0, 1))
    restore_checkpoint(complete_checkpoints(tmp_path)[0], state)
    assert (torch.rand(2).tolist(), np.random.randn(3).tolist(), random.random(), random.gauss(0, 1)) == expected


def test_only_the_newest_are_kept_and_the_last_is_the_highest_step(tmp_path: Path) -> None:
    state = new_state()
    for state.step in (9, 100, 1_000_000):
        save_checkpoint(tmp_path / "checkpoints", state, DIGESTS, keep_last=2)
    names = [path.name for path in complete_checkpoints(tmp_path / "checkpoints")]
    assert names == ["step-000100", "step-1000000"]
    assert find_weights(tmp_path).parent.name == "step-1000000"
    shutil.copytree(tmp_path / "checkpoints" / "step-000100", tmp_path / "checkpoints" / "step-2000000")
    (tmp_path / "checkpoints" / "step-2000000" / "trainer.pt").unlink()  # as a crash in the middle of a removal leaves it
    assert find_weights(tmp_path).parent.name == "step-1000000"


def test_weights_that_share_memory_are_saved(tmp_path: Path) -> None:
    state = new_state()
    state.method.twin = state.method.encoder.layer
    saved = save_checkpoint(tmp_path, state, DIGESTS)
    load_weights(state.method, saved)


@pytest.mark.parametrize("fails", ["save_file", "torch.save", "rename"])
def test_a_full_disk_leaves_earlier_checkpoints_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    state = new_state()
    save_checkpoint(tmp_path, state, DIGESTS)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = {"save_file": (checkpoint, "save_file"), "torch.save": (torch, "save"), "rename": (Path, "rename")}[fails]
    monkeypatch.setattr(*target, full)
    state.step = 7
    with pytest.raises(OSError) as error:
        save_checkpoint(tmp_path, state, DIGESTS)
    expected = f"cannot write checkpoint {tmp_path / 'step-000007'}: No space left on device; earlier checkpoints are untouched"
    assert str(error.value) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000"]


class _Executes:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


BAD_WEIGHTS = {
    "missing": (
        lambda weights, path: save_file({k: v for k, v in weights.items() if "bias" not in k}, path),
        "{path} does not fit ToyMethod: missing: encoder.layer.bias, predictor.bias",
    ),
    "extra": (
        lambda weights, path: save_file(weights | {f"head.{index}": torch.zeros(1) for index in range(9)}, path),
        "{path} does not fit ToyMethod: unexpected: head.0, head.1, head.2, head.3, head.4, head.5 and 3 more",
    ),
    "misshaped": (
        lambda weights, path: save_file(weights | {"encoder.layer.bias": torch.zeros(7)}, path),
        "{path} does not fit ToyMethod: wrongly shaped: encoder.layer.bias (expected [4], found [7])",
    ),
    "truncated": (
        lambda weights, path: path.write_bytes(b"\x10\x00\x00\x00"),
        "{path}: damaged, or not a safetensors file (Error while deserializing header: header too small)",
    ),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(tmp_path: Path, case: str) -> None:
    write, said = BAD_WEIGHTS[case]
    method, path = new_state().method, tmp_path / "weights.safetensors"
    before = {name: weight.clone() for name, weight in method.state_dict().items()}
    write({name: weight.clone() for name, weight in method.state_dict().items()}, path)
    with pytest.raises(ValueError) as error:
        load_weights(method, path)
    assert str(error.value) == said.format(path=path)
    assert all(torch.equal(before[name], weight) for name, weight in method.state_dict().items())


@pytest.mark.parametrize("content", [{"encoder.layer.weight": _Executes()}, _Executes()])
def test_a_pickle_that_would_execute_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"weights.pt: refused, because it holds more than tensors .* could execute code"):
        load_weights(new_state().method, tmp_path / "weights.pt")
    assert not (tmp_path / "executed").exists()


def test_a_plain_state_dict_in_a_pt_file_is_loaded(tmp_path: Path) -> None:
    source, target = new_state(0).method, new_state(1).method
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    load_weights(target, tmp_path / "weights.pt")
    assert torch.equal(source.predictor.weight, target.predictor.weight)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"model": {"a": torch.zeros(1)}, "step": 3},
            "expected a plain state dict of tensors, found other things under model, step",
        ),
        ([torch.zeros(1)], "expected a dictionary of tensors, found list"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ValueError) as error:
        load_weights(new_state().method, tmp_path / "weights.pt")
    assert str(error.value) == f"{tmp_path / 'weights.pt'}: {said}"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ValueError, match="weights.pt: damaged, or not a file that torch wrote"):
        load_weights(new_state().method, tmp_path / "weights.pt")


def test_no_weights_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights at .*: expected a file, a checkpoint folder, or a run folder"):
        load_weights(new_state().method, tmp_path)
