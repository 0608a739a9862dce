"""Features on disk: each split is encoded once by a set of weights, however many evaluations read it.

One file holds the features of one split. It is named after a digest of everything that they follow from, so that what has
changed is not found and is computed again; it is written under another name and renamed, so that any number of processes
may share a folder; and it is memory-mapped when read, so that it need not fit into memory. N rows, D feature width.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from contextssl.adapter import DomainAdapter, LabelledData, Split
from contextssl.files import write_atomically
from contextssl.method import Method
from contextssl.run import code_digest

LOG = logging.getLogger("contextssl")

FEATURES, CONTENT = "features", "sha256"
OWN_CODE = code_digest()  # of what this process runs, whatever is edited meanwhile
Buffer = bytes | memoryview
Origin = Mapping[str, str]
"""Digests, by name, of everything that features follow from."""


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """A folder of features.

    Attributes:
        folder: made when the first features are written.
        limit: bytes; beyond them the files that were not used for longest are removed, never the newest one.
    """

    folder: Path
    limit: int = 2**34

    @classmethod
    def from_environment(cls) -> FeatureCache | None:
        """The cache in $CONTEXTSSL_CACHE/features, or None where that is not set."""
        root = os.environ.get("CONTEXTSSL_CACHE")
        return cls(Path(root) / "features") if root else None

    def features(self, origin: Origin, compute: Callable[[], Tensor]) -> Tensor:
        """[N, D] on the CPU, memory-mapped: those found for that origin, or else what `compute` returns, which is kept.

        Two processes that miss at once both compute, and the later file replaces an equal one.

        Raises:
            OSError: when the folder cannot be written.
        """
        path = self.folder / f"{_digest(json.dumps(dict(origin), sort_keys=True).encode())}.safetensors"
        found = _read(path, origin)
        if found is None:
            computed = compute().detach().cpu().contiguous()
            content = {FEATURES: computed}
            description = {**origin, CONTENT: _digest(*_bytes(computed))}
            write_atomically(path, lambda temporary: save_file(content, temporary, metadata=description))
            self._make_room(path)
            found = _read(path, origin)
            return computed if found is None else found
        with suppress(FileNotFoundError):  # another process made room
            os.utime(path)
        return found

    def _make_room(self, newest: Path) -> None:
        """Remove what was not used for longest; a process that still reads it keeps its mapping."""
        kept = sorted(self.folder.glob("[!.]*.safetensors"), key=_last_used)
        total = sum(_size(path) for path in kept)
        for path in kept:
            if total > self.limit and path != newest:
                total -= _size(path)
                path.unlink(missing_ok=True)


def origin_of(method: Method, adapter: DomainAdapter, split: Split, data: LabelledData) -> dict[str, str]:
    """What the features of a split follow from: weights, structure, code, data and rows, precision.

    Rows are their contents, because a manifest need not name every setting of an adapter.

    Args:
        method: on its device.
        adapter: for its manifest; where the data lie does not count.
        split: of the rows.
        data: the rows.

    Raises:
        ValueError: for a module whose source cannot be read, so that nobody could tell when it changes.
    """
    manifest = {key: value for key, value in adapter.manifest.items() if key != "source"}
    device = next((parameter.device.type for parameter in method.parameters()), "cpu")
    return {
        "weights": _digest(*_named_bytes(method)),
        "structure": _digest("\n".join(_structure(method)).encode()),
        "code": _digest(*_code(method)),
        "data": _digest(json.dumps(manifest, sort_keys=True, default=str).encode()),
        "rows": f"{split} {list(data.inputs.shape)} {data.inputs.dtype} {_digest(*_bytes(data.inputs))}",
        "precision": f"{device} {torch.get_float32_matmul_precision()}",
    }


def _read(path: Path, origin: Origin) -> Tensor | None:
    """The features of that origin, or None where there is no such file or it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            description, features = file.metadata() or {}, file.get_tensor(FEATURES)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        LOG.warning("%s is damaged (%s): the features are computed again", path, str(error).splitlines()[0])
        return None
    if description != {**origin, CONTENT: _digest(*_bytes(features))}:
        LOG.warning("%s does not hold what it was written with: the features are computed again", path)
        return None
    found: Tensor = features
    return found


def _named_bytes(method: nn.Module) -> Iterator[Buffer]:
    """Every parameter and buffer, those included that checkpoints leave out."""
    for kind in (method.named_parameters(), method.named_buffers()):
        for name, tensor in kind:
            yield f"{name} {tensor.dtype} {list(tensor.shape)}\0".encode()
            yield from _bytes(tensor)


def _bytes(rows: Tensor) -> Iterator[Buffer]:
    for piece in rows.detach().split(4096) if rows.ndim else [rows.detach()]:
        yield piece.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _structure(method: nn.Module) -> Iterator[str]:
    """Class and plain settings of every module: strides, widths, switches."""
    for name, module in method.named_modules():
        settings = sorted((key, value) for key, value in vars(module).items() if _is_plain(value) and key != "training")
        yield f"{name} {type(module).__module__}.{type(module).__qualname__} {settings}"


def _is_plain(value: object) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, tuple | list) else isinstance(value, bool | int | float | str | None)


def _code(method: nn.Module) -> Iterator[bytes]:
    """This package, torch's version, and for other modules all files beside those that define them."""
    yield OWN_CODE.encode() + torch.__version__.encode()
    folders = set()
    for kind in {kind for module in method.modules() for kind in type(module).__mro__}:
        package = kind.__module__.partition(".")[0]
        if package not in sys.stdlib_module_names and package not in ("torch", "contextssl"):
            folders.add(_source(kind).parent)
    for path in sorted(path for folder in folders for path in folder.glob("*.py")):
        yield path.name.encode() + b"\0" + path.read_bytes()


def _source(kind: type) -> Path:
    try:
        return Path(inspect.getfile(kind))
    except (TypeError, OSError) as error:
        raise ValueError(
            f"features of {kind.__qualname__} cannot be kept: its source is in no file, so that a change would not be noticed; "
            "define it in a module, or leave feature_cache out"
        ) from error


def _digest(*contents: Buffer) -> str:
    found = hashlib.sha256()
    for content in contents:
        found.update(content)
    return found.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _last_used(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
