"""The batch files of CIFAR: read as numpy reads them, nothing in a pickle is run, what is wrong is said."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny_cifar
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_cifar import Planted, numpys

from domains.vision.cifar_batches import RefusedPickleError, read_batch, read_dictionary, read_names

FILES = tiny_cifar.batches()


@pytest.mark.parametrize("protocol", [None, 2, 3, 4])
def test_batches_are_what_numpy_reads(protocol: int | None) -> None:
    rows, labels = tiny_cifar.images(7), [3, 1, 4, 1, 5, 9, 2]
    content = tiny_cifar.python2_batch(rows, labels)
    if protocol is not None:
        content = pickle.dumps({"data": rows, "labels": labels}, protocol=protocol)
    images, found = read_batch(content, "batch", "labels", 10)
    expected, expected_labels = numpys(content)
    assert np.array_equal(images, expected) and np.array_equal(found, expected_labels) and images.dtype == np.uint8
    # The first 1,024 numbers are the red plane, row by row.
    assert np.array_equal(images[2, 0, 1], rows[2, 32:64]) and images[2, 2, 31, 31] == rows[2, 3071]


def test_arrays_stored_column_by_column_are_read_as_numpy_reads_them() -> None:
    content = pickle.dumps({"data": np.asfortranarray(tiny_cifar.images(5)), "labels": [0] * 5}, protocol=2)
    assert np.array_equal(read_batch(content, "batch", "labels", 10)[0], numpys(content)[0])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_in_a_pickle_is_run(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for planted in (Planted(mark), {"data": [Planted(mark)]}, {Planted(mark): 1}, {"data": np.array([Planted(mark)])}):
        with pytest.raises(
            RefusedPickleError, match=r"^data_batch_1 is refused: it asks for \w+\.system.*fetch the original file$"
        ):
            read_dictionary(pickle.dumps(planted, protocol=protocol), "data_batch_1")
    assert not mark.exists()
    pickle.loads(pickle.dumps(Planted(mark), protocol=protocol))
    assert mark.exists()  # so the test would have seen it


@pytest.mark.parametrize(
    ("module", "name"),
    [("builtins", "eval"), ("builtins", "getattr"), ("numpy", "load"), ("numpy", "ndarray.tofile"), ("numpy.core.multiarray", "fromfile"),
     ("_codecs", "decode"), ("domains.vision.cifar_batches", "pickle"), ("functools", "partial"), ("copyreg", "_reconstructor")],
)  # fmt: skip
def test_only_what_arrays_need_is_known(module: str, name: str) -> None:
    for content in (f"c{module}\n{name}\n.".encode(), b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
                    + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93."):  # fmt: skip
        with pytest.raises(RefusedPickleError, match="nothing in it was run"):
            read_dictionary(content, "batch")


def test_a_pickle_cannot_change_the_stand_ins() -> None:
    from domains.vision.cifar_batches import STAND_INS

    before = {kind: dict(vars(kind)) for kind in STAND_INS.values()}
    for module, name in STAND_INS:
        # BUILD with attributes for the class itself: as a dictionary, and as slots, which pickle sets one by one.
        for state in (b"}(U\x01xK\x01u", b"N}(U\x01xK\x01u\x86"):
            with pytest.raises(ValueError, match="batch"):
                read_dictionary(f"c{module}\n{name}\n".encode() + state + b"b.", "batch")
    assert {kind: dict(vars(kind)) for kind in STAND_INS.values()} == before


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, len(FILES["batches.meta"]) - 1), byte=st.integers(0, 255))
def test_any_damage_is_one_clear_error(position: int, byte: int) -> None:
    """A changed byte changes a name, or is reported; nothing else comes out."""
    content = bytearray(FILES["batches.meta"])
    content[position] = byte
    try:
        names = read_names(bytes(content), "batches.meta", "label_names", 10)
    except ValueError as error:
        assert "batches.meta" in str(error)
    else:
        assert len(names) == 10


def without(key: str) -> bytes:
    whole = {"data": tiny_cifar.images(3), "labels": [1, 2, 3]}
    return pickle.dumps({name: value for name, value in whole.items() if name != key}, protocol=2)


def batch(**changes: object) -> bytes:
    return pickle.dumps({"data": tiny_cifar.images(3), "labels": [1, 2, 3]} | changes, protocol=2)


BROKEN = {
    "truncated": (tiny_cifar.python2_batch(tiny_cifar.images(3), [1, 2, 3])[:5000], "not a whole batch file"),
    "not a pickle": (b"<html>404</html>", "not a whole batch file"),
    "empty": (b"", "not a whole batch file"),
    "not a dictionary": (pickle.dumps([1]), "expected a dictionary, found list"),
    "no data": (without("data"), "has no 'data'"),
    "no labels": (without("labels"), "has no 'labels'"),
    "labels out of range": (batch(labels=[1, 10, 2]), "the label 10 is outside 0..9"),
    "negative label": (batch(labels=[1, -1, 2]), "the label -1 is outside 0..9"),
    "labels that are no numbers": (batch(labels=["cat", 1, 2]), "no list of whole numbers"),
    "fewer labels": (batch(labels=[1, 2]), "3 images with 2 labels"),
    "another size": (batch(data=np.zeros((3, 64 * 64 * 3), np.uint8)), r"expected images of 32 x 32 pixels.*found \[3, 12288\]"),
    "other axes": (batch(data=np.zeros((3, 3, 32, 32), np.uint8)), "expected images of 32 x 32 pixels"),
    "floats": (batch(data=np.zeros((3, 3072))), "not bytes"),
    "no array": (batch(data=[1, 2]), "'data' is no array"),
    "missing bytes": (
        tiny_cifar.python2_batch(tiny_cifar.images(3), [1, 2, 3]).replace(b"M\x03\x00M\x00\x0c", b"M\x04\x00M\x00\x0c"),
        "9,216 bytes for 4 images",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_batch_is_said(name: str) -> None:
    content, message = BROKEN[name]
    with pytest.raises(ValueError, match=message) as error:
        read_batch(content, "data_batch_3", "labels", 10)
    assert str(error.value).startswith("data_batch_3") and "\n" not in str(error.value)
