"""Checkpoints: the whole training state on disk, complete or absent; and weights alone, from anywhere.

A checkpoint is a folder `step-000300` with `weights.safetensors` (the method's state dict) and `trainer.pt` (optimizer,
step, every random stream, digests), written under another name and renamed when it is whole. Nothing here executes
pickled code: both files load as plain tensors and numbers.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from contextssl.reference import import_reference, import_reference_predictor
from contextssl.training import TrainingState

__all__ = [
    "complete_checkpoints",
    "find_weights",
    "import_reference",
    "import_reference_predictor",
    "load_weights",
    "read_state_dict",
    "restore_checkpoint",
    "save_checkpoint",
]

WEIGHTS, TRAINER = "weights.safetensors", "trainer.pt"
FORMAT = 1


def save_checkpoint(folder: Path, state: TrainingState, digests: Mapping[str, str], keep_last: int = 2) -> Path:
    """Write the state under `folder` and return the new checkpoint; all but the newest `keep_last` are removed.

    Args:
        folder: the `checkpoints` folder of a run.
        state: what to save.
        digests: `config`, `data` and `code`, compared when the run is resumed.
        keep_last: how many complete checkpoints to keep, at least 1.

    Raises:
        OSError: when the disk is full or not writable; earlier checkpoints are untouched.
    """
    target = folder / f"step-{state.step:06d}"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{target.name}."))
    try:
        save_file(_weights(state.method), temporary / WEIGHTS)
        torch.save(_trainer(state, digests), temporary / TRAINER)
        for path in (temporary / WEIGHTS, temporary / TRAINER, temporary):
            _flush(path)
        temporary.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise OSError(f"cannot write checkpoint {target}: {reason}; earlier checkpoints are untouched") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in complete_checkpoints(folder)[:-keep_last]:
        shutil.rmtree(old)
    return target


def complete_checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a `checkpoints` folder, oldest first."""
    found = [path for path in folder.glob("step-*") if (path / WEIGHTS).exists() and (path / TRAINER).exists()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def restore_checkpoint(checkpoint: Path, state: TrainingState) -> dict[str, str]:
    """Put the saved state back, random streams included; return the digests that were saved with it.

    Raises:
        ValueError: when the weights or the trainer state do not belong to this method and optimizer.
    """
    saved = _load_tensors(checkpoint / TRAINER)
    if saved.get("format") != FORMAT:
        raise ValueError(f"{checkpoint / TRAINER}: expected checkpoint format {FORMAT}, found {saved.get('format')}")
    load_weights(state.method, checkpoint)
    try:
        state.optimizer.load_state_dict(saved["optimizer"])
    except ValueError as error:
        raise ValueError(f"{checkpoint / TRAINER}: the optimizer state does not fit this optimizer ({error})") from error
    state.step = saved["step"]
    state.generator.set_state(saved["generator"])
    _restore_global_streams(saved["random"])
    digests: dict[str, str] = saved["digests"]
    return digests


def find_weights(path: Path) -> Path:
    """The weights file meant by a run folder, a `checkpoints` folder, a checkpoint folder, or a file.

    Raises:
        FileNotFoundError: when there is none.
    """
    if path.is_file():
        return path
    if (path / WEIGHTS).is_file():
        return path / WEIGHTS
    checkpoints = complete_checkpoints(path / "checkpoints") or complete_checkpoints(path)
    if not checkpoints:
        raise FileNotFoundError(f"no weights at {path}: expected a file, a checkpoint folder, or a run folder with a checkpoint")
    return checkpoints[-1] / WEIGHTS


def load_weights(method: nn.Module, path: Path) -> None:
    """Load all weights of a method, strictly.

    Args:
        method: its state dict says which names and shapes are expected.
        path: anything `find_weights` understands; a `.pt` file must hold a plain state dict.

    Raises:
        ValueError: naming the missing, extra and wrongly shaped entries; the method is unchanged then.
    """
    path = find_weights(path)
    found = read_state_dict(path)
    expected = method.state_dict()
    shapes = [
        f"{name} (expected {list(expected[name].shape)}, found {list(found[name].shape)})"
        for name in expected.keys() & found.keys()
        if expected[name].shape != found[name].shape
    ]
    faults = {"missing": expected.keys() - found.keys(), "unexpected": found.keys() - expected.keys(), "wrongly shaped": shapes}
    if listed := [f"{kind}: {_listing(names)}" for kind, names in faults.items() if names]:
        raise ValueError(f"{path} does not fit {type(method).__name__}: {'; '.join(listed)}")
    method.load_state_dict(found)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors by name of a `.safetensors` file, or of a `.pt` file that holds nothing but tensors by name.

    Raises:
        ValueError: for a damaged file, for one that holds something else, and for one that would execute code.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: damaged, or not a safetensors file ({str(error).splitlines()[0]})") from error
    found = _load_tensors(path)
    if wrong := [name for name, value in found.items() if not isinstance(name, str) or not isinstance(value, Tensor)]:
        raise ValueError(f"{path}: expected a plain state dict of tensors, found other things under {_listing(map(str, wrong))}")
    return found


def _load_tensors(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns of pickle protocols that it reads all the same
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: refused, because it holds more than tensors and plain numbers and loading that could execute code; "
            "ask for a plain state dict or a safetensors file"
        ) from error
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: damaged, or not a file that torch wrote") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a dictionary of tensors, found {type(found).__name__}")
    return found


def _weights(method: nn.Module) -> dict[str, Tensor]:
    # Copies, because safetensors refuses tensors that share memory.
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in method.state_dict().items()}


def _trainer(state: TrainingState, digests: Mapping[str, str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "step": state.step,
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
        "random": _global_streams(),
        "digests": dict(digests),
    }


def _global_streams() -> dict[str, Any]:
    _, keys, *numpy_rest = np.random.get_state()
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        # Of this process's device only: asking the others would take memory on each of them.
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), *numpy_rest],
        "python": [version, list(words), gauss],
    }


def _restore_global_streams(saved: Mapping[str, Any]) -> None:
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved["cuda"][0])
    keys, *numpy_rest = saved["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *numpy_rest))
    version, words, gauss = saved["python"]
    random.setstate((version, tuple(words), gauss))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _listing(names: Iterable[str], limit: int = 6) -> str:
    ordered = sorted(names)
    rest = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + rest
