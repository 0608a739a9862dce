"""Where CIFAR is read from: every kind of source gives the same arrays, damage is named, prepared arrays come first."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_cifar
from PIL import Image
from tiny_cifar import Planted, numpys

from contextssl.commands import data
from domains.vision import cifar_store
from domains.vision.cifar_files import CIFAR10, CIFAR100, Originals, collection_named
from domains.vision.cifar_hub import HubCopy
from domains.vision.cifar_store import IMAGES, MANIFEST, Prepared, load, locate

FILES = tiny_cifar.batches()
TINY = tiny_cifar.described(FILES)


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(cifar_store, "collection_named", lambda name: TINY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_cifar.write(FILES, tmp_path / "batches")


def packed(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes()))
    return target


def archived(folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w:gz") as archive:
        archive.add(folder, CIFAR10.folder)
    return target


def test_every_form_of_the_files_gives_the_same_set(folder: Path, tmp_path: Path) -> None:
    torchvisions = tmp_path / "torchvision"
    tiny_cifar.write(FILES, torchvisions / CIFAR10.folder)
    (tmp_path / "download").mkdir()
    archive = archived(folder, tmp_path / "download" / CIFAR10.archive)
    places = [folder, packed(folder, tmp_path / "xz"), torchvisions, archive, archive.parent]
    sets = [locate(place, TINY).read() for place in places]
    numbers = [numpys(FILES[name]) for name in [*CIFAR10.train, *CIFAR10.test]]
    expected = np.concatenate([images for images, _ in numbers])
    for whole in sets:
        assert np.array_equal(whole.images, expected) and whole.num_train == 100 and whole.classes == tiny_cifar.CLASSES
        assert np.array_equal(whole.labels, np.concatenate([labels for _, labels in numbers]))
    assert len({whole.sha256 for whole in sets}) == 1
    assert sets[0].sha256 == hashlib.sha256(expected.tobytes() + sets[0].labels.tobytes()).hexdigest()


def test_the_other_set_has_other_files_and_labels(tmp_path: Path) -> None:
    rows, fine = tiny_cifar.images(4), [99, 0, 50, 10]
    content = tiny_cifar.python2_batch(rows, fine, b"fine_labels")
    names = pickle.dumps({b"fine_label_names": [f"class {index}".encode() for index in range(100)]}, protocol=2)
    digest = {"train": hashlib.md5(content).hexdigest(), "names": hashlib.md5(names).hexdigest()}
    collection = replace(
        CIFAR100, train={"train": digest["train"]}, test={"test": digest["train"]}, names=("meta", digest["names"])
    )
    whole = locate(tiny_cifar.write({"train": content, "test": content, "meta": names}, tmp_path / "hundred"), collection).read()
    assert whole.labels.tolist() == fine * 2 and whole.classes[99] == "class 99"
    assert collection_named("cifar100") is CIFAR100
    with pytest.raises(ValueError, match="unknown data set 'cifar20': there are cifar10, cifar100"):
        collection_named("cifar20")


@pytest.mark.parametrize("name", ["data_batch_4", "batches.meta"])
def test_a_file_with_another_digest_is_refused_before_it_is_read(name: str, folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (folder / name).write_bytes(pickle.dumps(Planted(mark), protocol=2))
    with pytest.raises(ValueError, match=f"{name}: MD5 [0-9a-f]+ is not that of the original file") as error:
        locate(folder, TINY).read()
    assert "contextssl data prepare cifar10" in str(error.value) and not mark.exists()


def test_missing_and_damaged_files_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "data_batch_2").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither data_batch_2 nor data_batch_2\.xz.*Download cifar-10-python"):
        locate(folder, TINY).read()
    (folder / "data_batch_2.xz").write_bytes(lzma.compress(FILES["data_batch_2"])[:-20])
    with pytest.raises(ValueError, match=r"data_batch_2\.xz is not a whole xz file"):
        locate(folder, TINY).read()
    (folder / "data_batch_2.xz").unlink()
    archive = archived(folder, tmp_path / CIFAR10.archive)
    with pytest.raises(ValueError, match="data_batch_2"):
        locate(archive, TINY).read()
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is not a whole archive"):
        locate(archive, TINY).read()


def test_prepared_arrays_are_found_first_and_are_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("CONTEXTSSL_DATA", str(tmp_path / "packs"))
    tiny_cifar.write(FILES, tmp_path / "packs" / "cifar10")
    assert isinstance(locate(None, TINY), Originals)
    whole, place = load(None, TINY)  # prepares
    assert place == tmp_path / "cache/cifar10" and isinstance(locate(None, TINY), Prepared)
    expected = locate(folder, TINY).read()
    assert np.array_equal(whole.images, expected.images) and np.array_equal(whole.labels, expected.labels)
    assert (whole.num_train, whole.classes, whole.sha256) == (expected.num_train, expected.classes, expected.sha256)


def test_a_folder_that_is_given_is_read_in_place(folder: Path, tmp_path: Path) -> None:
    assert load(folder, TINY)[1] == folder and not (tmp_path / "cache").exists()


def test_the_commands_prepare_verify_and_describe(folder: Path, tmp_path: Path) -> None:
    said = data.act("prepare", "cifar10", [f"root={folder}"])
    assert "100 training and 20 test images" in said[0] and "airplane" in said[1]
    assert data.act("prepare", "cifar10") == data.act("info", "cifar10") == said
    assert "120 images are as they were prepared" in data.act("verify", "cifar10")[0]
    assert data.act("verify", "cifar10", [f"root={folder}"])[0].startswith("data_batch_1: MD5")
    assert "original files" in data.act("info", "cifar10", [f"root={folder}"])[0]
    out = data.act("prepare", "cifar10", [f"root={folder}", f"out={tmp_path / 'other'}"])
    assert str(tmp_path / "other") in out[0] and (tmp_path / "other" / MANIFEST).is_file()


def test_damage_to_prepared_arrays_is_noticed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "arrays"
    prepared = Prepared.write(target, TINY, locate(folder, TINY).read(), folder)
    content = bytearray((target / IMAGES).read_bytes())
    content[-5] ^= 1
    (target / IMAGES).write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: SHA-256"):
        prepared.verify()
    (target / IMAGES).write_bytes(content[:-100])
    with pytest.raises(ValueError, match="is damaged"):
        prepared.read()
    np.save(target / IMAGES, np.zeros((4, 3, 16, 16), np.uint8))
    with pytest.raises(ValueError, match=r"expected uint8 images \[N, 3, 32, 32\]"):
        prepared.read()
    np.save(target / IMAGES, np.zeros((4, 3, 32, 32), np.uint8))
    with pytest.raises(ValueError, match="expected a label"):
        prepared.read()
    np.save(target / "labels.npy", np.zeros(4, np.uint8))
    with pytest.raises(ValueError, match="4 images instead of 120"):
        prepared.read()
    (target / MANIFEST).write_text("{}")
    with pytest.raises(ValueError, match="is no prepared CIFAR-10"):
        prepared.read()


def test_a_full_disk_leaves_nothing_that_would_be_taken_for_a_set(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def full(path: Path, array: object) -> None:
        raise OSError(28, "No space left on device")

    whole = locate(folder, TINY).read()
    Prepared.write(tmp_path / "arrays", TINY, whole, folder)
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        Prepared.write(tmp_path / "arrays", TINY, whole, folder)
    assert Prepared.find(tmp_path / "arrays", TINY) is None


def test_without_data_it_is_said_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTSSL_DATA", str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match=r"nothing/cifar10, .*cache/cifar10\)\. Download cifar-10-python\.tar\.gz from"):
        load(None, TINY)
    with pytest.raises(FileNotFoundError, match="CIFAR-10 is not at .*elsewhere"):
        load(tmp_path / "elsewhere", TINY)


def snapshot(root: Path, rows: dict[str, list[tuple[np.ndarray, int]]]) -> None:
    """A copy as the hub's cache lays it out."""
    base = root / "datasets--uoft-cs--cifar10"
    tables = base / "snapshots/abc/plain_text"
    tables.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs/main").write_text("abc")
    for part, pairs in rows.items():
        cells = []
        for image, _ in pairs:
            buffer = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
            cells.append({"bytes": buffer.getvalue(), "path": None})
        pd.DataFrame({"img": cells, "label": [label for _, label in pairs]}).to_parquet(tables / f"{part}-00000-of-00001.parquet")


def test_the_hubs_copy_becomes_the_set_in_its_own_order(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTEXTSSL_DATA", raising=False)
    whole = locate(folder, TINY).read()
    numbers = [2, 0, 4, 1, 3]  # another order of the batches
    order = [20 * number + row for number in numbers for row in range(20)]
    pairs = [(whole.images[row], int(whole.labels[row])) for row in range(120)]
    digests = [
        hashlib.sha256(whole.images[s : s + 20].tobytes() + whole.labels[s : s + 20].tobytes()).hexdigest()
        for s in range(0, 120, 20)
    ]
    snapshot(tmp_path / "hub", {"train": [pairs[row] for row in order], "test": pairs[100:]})
    found = locate(None, TINY)
    assert isinstance(found, HubCopy)
    copy = HubCopy(found.path, digests, 20).read()
    assert np.array_equal(copy.images, whole.images) and np.array_equal(copy.labels, whole.labels)
    assert (copy.num_train, copy.classes, copy.sha256) == (100, whole.classes, whole.sha256)
    with pytest.raises(ValueError, match="6 of the 6 original batches are not in this copy"):
        found.read()
    changed = [(image, (label + (row == 3)) % 10) for row, (image, label) in enumerate(pairs)]
    snapshot(tmp_path / "changed", {"train": [changed[row] for row in order], "test": pairs[100:]})
    altered = HubCopy.find(CIFAR10, tmp_path / "changed")
    assert altered is not None
    with pytest.raises(ValueError, match="1 of the 6 original batches are not in this copy"):
        HubCopy(altered.path, digests, 20).read()
    assert HubCopy.find(CIFAR100) is None and HubCopy.find(CIFAR10, tmp_path / "none") is None


@pytest.mark.data
def test_the_original_files_are_read_as_numpy_reads_them() -> None:
    """The test batch: with all of them xz alone takes a dozen seconds."""
    found = locate(Path(os.environ["CONTEXTSSL_DATA"]) / "cifar10", CIFAR10)
    if not isinstance(found, Originals):
        pytest.skip("CONTEXTSSL_DATA/cifar10 holds the prepared arrays, not the original files")
    one = replace(found, collection=replace(CIFAR10, train={}))
    whole, content = one.read(), one.contents()["test_batch"]
    images, labels = numpys(content)
    assert np.array_equal(whole.images, images) and np.array_equal(whole.labels, labels)
    assert whole.classes == tiny_cifar.CLASSES and np.bincount(whole.labels).tolist() == [1000] * 10
    mean = whole.images.reshape(-1, 3, 1024).mean((0, 2)) / 255
    assert mean == pytest.approx(CIFAR10.pixels.mean, abs=0.01)
    assert content[:2] == b"\x80\x02"  # a pickle of Python 2
