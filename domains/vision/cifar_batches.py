"""One batch file of CIFAR, a pickle, read without running anything that stands in it.

A pickle names functions that the reader is to call. Here every such name is looked up in a short list of inert stand-ins,
which only remember what they are given; numpy itself is not called. N images.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

IMAGE_SHAPE = (3, 32, 32)
NUM_NUMBERS = 3 * 32 * 32

Bytes = NDArray[np.uint8]


class StoredArray:
    """What a pickle says about a numpy array: its shape, type and bytes."""

    def __init__(self, *_: object) -> None:
        self.state: object = ()

    def __setstate__(self, state: object) -> None:
        self.state = state


class StoredType:
    """What a pickle says about the type of an array's numbers."""

    def __init__(self, *words: object) -> None:
        self.words = words

    def __setstate__(self, state: object) -> None:
        """Byte order and the like; single bytes have none."""


class StoredBytes:
    """Makes bytes of how Python 3 writes them into a pickle of protocol 2: text and its encoding."""

    def __new__(cls, text: str, encoding: str) -> Any:
        """Plain bytes."""
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        """Nothing: without this method a pickle could set attributes of the class, as it can of any other object."""


STAND_INS: Mapping[tuple[str, str], type] = {
    ("numpy.core.multiarray", "_reconstruct"): StoredArray,
    ("numpy._core.multiarray", "_reconstruct"): StoredArray,
    ("numpy", "ndarray"): StoredArray,
    ("numpy", "dtype"): StoredType,
    ("_codecs", "encode"): StoredBytes,
}


class RefusedPickleError(ValueError):
    """A pickle that asks for something other than dictionaries, lists, numbers, strings and numpy arrays."""


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise RefusedPickleError(f"it asks for {module}.{name}, which no batch of CIFAR needs; nothing in it was run")
        return STAND_INS[module, name]


def read_dictionary(content: bytes, name: str) -> dict[str, Any]:
    """The dictionary of a batch file, its keys as text and its arrays as `StoredArray`.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        ValueError: for something else than a whole pickle of a dictionary.
        RefusedPickleError: for a pickle that asks for anything else than plain data and numpy arrays.
    """
    try:
        found = _InertUnpickler(io.BytesIO(content), encoding="bytes").load()
    except RefusedPickleError as error:
        raise RefusedPickleError(f"{name} is refused: {error}; fetch the original file") from error
    # What a damaged stream leads to depends on where it is damaged.
    except (
        pickle.UnpicklingError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        MemoryError,
    ) as error:
        raise ValueError(f"{name} is not a whole batch file ({error or type(error).__name__}); fetch it again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{name}: expected a dictionary, found {type(found).__name__}; this is no batch file of CIFAR")
    return {_text(key): value for key, value in found.items()}


def read_batch(content: bytes, name: str, label_key: str, num_classes: int) -> tuple[Bytes, Bytes]:
    """Images uint8 [N, 3, 32, 32] and labels uint8 [N] of a batch file.

    Args:
        content: of the file.
        name: of the file, for messages.
        label_key: under which the labels stand.
        num_classes: labels are below it.

    Raises:
        ValueError: for images of another size, labels out of range, numbers of both that differ, and as `read_dictionary`.
    """
    found = read_dictionary(content, name)
    if missing := [key for key in ("data", label_key) if key not in found]:
        raise ValueError(f"{name} has no {' and no '.join(map(repr, missing))}: this is no batch file of this set")
    images, labels = _images(found["data"], name), found[label_key]
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise ValueError(f"{name}: {label_key!r} is no list of whole numbers; fetch the original file")
    if len(labels) != len(images):
        raise ValueError(f"{name}: {len(images):,} images with {len(labels):,} labels; fetch the original file")
    if wrong := [label for label in labels if not 0 <= label < num_classes]:
        raise ValueError(f"{name}: the label {wrong[0]} is outside 0..{num_classes - 1}; fetch the original file")
    return images, np.array(labels, dtype=np.uint8)


def read_names(content: bytes, name: str, key: str, num_classes: int) -> tuple[str, ...]:
    """The names of the classes; ValueError when there are not as many as classes, and as `read_dictionary`."""
    names = read_dictionary(content, name).get(key)
    if not isinstance(names, list) or len(names) != num_classes:
        raise ValueError(f"{name}: expected {num_classes} names under {key!r}; fetch the original file")
    return tuple(_text(one) for one in names)


def _images(stored: object, name: str) -> Bytes:
    """[N, 3, 32, 32] from [N, 3072] bytes: the red plane, the green one, the blue one, each row by row."""
    state = stored.state if isinstance(stored, StoredArray) else ()
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], StoredType) or not isinstance(state[4], bytes):
        raise ValueError(f"{name}: 'data' is no array; fetch the original file")
    _, shape, kind, by_column, content = state
    if [_text(word) for word in kind.words[:1]] not in (["u1"], ["|u1"]):
        raise ValueError(f"{name}: the images are of type {kind.words[:1]}, not bytes; fetch the original file")
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] != NUM_NUMBERS:
        raise ValueError(
            f"{name}: expected images of 32 x 32 pixels in 3 colours, [N, {NUM_NUMBERS}] numbers, found {list(shape)}; "
            "this is not CIFAR, or resize the images"
        )
    if len(content) != shape[0] * NUM_NUMBERS:
        raise ValueError(f"{name}: {len(content):,} bytes for {shape[0]} images of {NUM_NUMBERS}; fetch it again")
    rows = np.frombuffer(content, dtype=np.uint8).reshape(shape, order="F" if by_column else "C")
    return np.ascontiguousarray(rows).reshape(-1, *IMAGE_SHAPE)


def _text(word: object) -> str:
    return word.decode("latin1") if isinstance(word, bytes) else str(word)
