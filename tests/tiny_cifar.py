"""Tiny CIFAR: a few random images, as arrays and as the pickled batches of Python 2 that the author distributes."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from contextssl.actions import Group, Kind
from domains.vision.cifar_files import CIFAR10, CifarSet, Collection, contents_digest

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def images(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """[N, 3072] random bytes, as in the files."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def short(text: bytes) -> bytes:
    """A string as Python 2 pickled it."""
    return b"U" + bytes([len(text)]) + text


def python2_batch(rows: npt.NDArray[np.uint8], labels: list[int], label_key: bytes = b"labels") -> bytes:
    """The very opcodes of the original files: byte strings, a C array of `numpy.core.multiarray`, protocol 2."""
    count, width = rows.shape
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + b"K\x00\x85" + short(b"b") + b"\x87R"
    kind = (
        b"cnumpy\ndtype\n"
        + short(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + short(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    size = b"M" + count.to_bytes(2, "little") + b"M" + width.to_bytes(2, "little") + b"\x86"
    content = b"T" + rows.size.to_bytes(4, "little") + rows.tobytes()
    data = array + b"(K\x01" + size + kind + b"\x89" + content + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + short(b"data") + data + short(label_key) + numbers + b"u."


def names_file() -> bytes:
    """The classes' names; Python 3 wrote this one."""
    return pickle.dumps({"label_names": list(CLASSES)}, protocol=2)


def batches(num_images: int = 20) -> dict[str, bytes]:
    """All files of CIFAR-10 with so many images in each batch."""
    found = {}
    for number, name in enumerate([*CIFAR10.train, *CIFAR10.test]):
        labels = [(number + index) % 10 for index in range(num_images)]
        found[name] = python2_batch(images(num_images, seed=number), labels)
    return {**found, CIFAR10.names[0]: names_file()}


def described(files: Mapping[str, bytes]) -> Collection:
    """CIFAR-10 with the digests of these files."""
    digests = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    return replace(
        CIFAR10,
        train={name: digests[name] for name in CIFAR10.train},
        test={name: digests[name] for name in CIFAR10.test},
        names=(CIFAR10.names[0], digests[CIFAR10.names[0]]),
    )


def write(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def numpys(content: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int_]]:
    """What numpy and the ordinary unpickler make of a batch."""
    found = {
        key if isinstance(key, str) else key.decode(): value for key, value in pickle.loads(content, encoding="bytes").items()
    }
    return found["data"].reshape(-1, 3, 32, 32), np.array(found["labels"])


class Planted:
    """Unpickled carelessly, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"echo ran > {self.path}",)


def whole_set(num_train: int = 100, num_test: int = 30) -> CifarSet:
    """A set in memory, its classes in turn."""
    pictures = images(num_train + num_test).reshape(-1, 3, 32, 32)
    labels = (np.arange(len(pictures)) * 7 % 10).astype(np.uint8)
    return CifarSet(pictures, labels, num_train, CLASSES, contents_digest(pictures, labels))


class ShiftAndDim:
    """Two groups that can be checked by hand: images move along the rows by whole pixels, and become darker."""

    groups = (Group("shift", 1, 1, Kind.REAL, "pixels"), Group("dim", 1, 1, Kind.REAL, "share of the light"))

    def draw(self, num_rows: int, generator: torch.Generator) -> torch.Tensor:
        """[N, 2]."""
        place = torch.rand(num_rows, 2, generator=generator)
        return torch.stack([(place[:, 0] * 9).floor() - 4, 0.5 + 0.5 * place[:, 1]], dim=1)

    def apply(self, images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Row by row."""
        moved = [image.roll(int(shift), dims=-1) for image, shift in zip(images, parameters[:, 0], strict=True)]
        return torch.stack(moved) * parameters[:, 1, None, None, None]
