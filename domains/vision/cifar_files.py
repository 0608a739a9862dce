"""CIFAR-10 and CIFAR-100 as their author distributes them (Krizhevsky 2009): which files there are, and reading them.

N images.
"""

from __future__ import annotations

import hashlib
import lzma
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from domains.vision.cifar_batches import IMAGE_SHAPE, Bytes, read_batch, read_names
from domains.vision.encoders import Pixels


@dataclass(frozen=True)
class Collection:
    """One of the author's sets.

    Attributes:
        name: of its folder below $CONTEXTSSL_DATA and in the user cache.
        title: in print.
        archive: the file that is distributed.
        folder: in it, where the batches are; torchvision's folder has the same name.
        train, test: batch files in their order, with the MD5 digests that are published (as torchvision has them).
        names: the file with the classes' names, and its digest.
        label_key, names_key: where labels and names stand in the files.
        num_classes: labels are 0..num_classes-1.
        pixels: mean and standard deviation of the training images.
    """

    name: str
    title: str
    archive: str
    folder: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    names: tuple[str, str]
    label_key: str
    names_key: str
    num_classes: int
    pixels: Pixels

    @property
    def digests(self) -> dict[str, str]:
        """MD5 of every file."""
        return {**self.train, **self.test, self.names[0]: self.names[1]}

    @property
    def advice(self) -> str:
        """How to get the set."""
        return (
            f"Download {self.archive} from https://www.cs.toronto.edu/~kriz/cifar.html and run contextssl data prepare {self.name} "
            f"root=<that file, or the folder it unpacks to> (or put either into $CONTEXTSSL_DATA/{self.name})"
        )


CIFAR10 = Collection(
    name="cifar10",
    title="CIFAR-10",
    archive="cifar-10-python.tar.gz",
    folder="cifar-10-batches-py",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    names=("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
    label_key="labels",
    names_key="label_names",
    num_classes=10,
    pixels=Pixels(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.243, 0.261)),
)
CIFAR100 = Collection(
    name="cifar100",
    title="CIFAR-100",
    archive="cifar-100-python.tar.gz",
    folder="cifar-100-python",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    names=("meta", "7973b15100ade9c7d40fb424638fde48"),
    label_key="fine_labels",
    names_key="fine_label_names",
    num_classes=100,
    pixels=Pixels(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)),
)
COLLECTIONS = {collection.name: collection for collection in (CIFAR10, CIFAR100)}


def collection_named(name: str) -> Collection:
    """The set of that name; ValueError with the known names otherwise."""
    if name not in COLLECTIONS:
        raise ValueError(f"unknown data set {name!r}: there are {', '.join(COLLECTIONS)}")
    return COLLECTIONS[name]


@dataclass(frozen=True)
class CifarSet:
    """A whole set in memory, the training images first.

    Attributes:
        images: uint8 [N, 3, 32, 32].
        labels: uint8 [N].
        num_train: how many of them are training images.
        classes: their names.
        sha256: `contents_digest`, whatever they were read from.
    """

    images: Bytes
    labels: Bytes
    num_train: int
    classes: tuple[str, ...]
    sha256: str


def contents_digest(images: Bytes, labels: Bytes) -> str:
    """Hexadecimal SHA-256 of images [N, 3, 32, 32], then labels [N]."""
    total = hashlib.sha256(np.ascontiguousarray(images).data)
    total.update(np.ascontiguousarray(labels).data)
    return total.hexdigest()


@dataclass(frozen=True)
class Originals:
    """The original files: in a folder, plain or compressed by xz, or in the archive that is distributed.

    Attributes:
        path: the folder of the batches, or the archive.
        collection: which set.
    """

    path: Path
    collection: Collection

    @classmethod
    def find(cls, root: Path, collection: Collection) -> Originals | None:
        """The files at `root`: the archive, a folder that holds it, the batches, or torchvision's folder; None without any."""
        if root.is_file():
            return cls(root, collection)
        first = next(iter(collection.train))
        for folder in (root, root / collection.folder):
            if any((folder / name).is_file() for name in (first, f"{first}.xz")):
                return cls(folder, collection)
        archive = root / collection.archive
        return cls(archive, collection) if archive.is_file() else None

    def read(self) -> CifarSet:
        """All images and labels, from files that are the originals byte for byte.

        Raises:
            FileNotFoundError: for a missing file.
            ValueError: for a damaged file, or one with another digest.
        """
        one = self.collection
        contents = self.contents()
        train, test = (
            [read_batch(contents[name], name, one.label_key, one.num_classes) for name in names]
            for names in (one.train, one.test)
        )
        images, labels = (np.concatenate([batch[part] for batch in (*train, *test)]) for part in (0, 1))
        names = read_names(contents[one.names[0]], one.names[0], one.names_key, one.num_classes)
        return CifarSet(images, labels, sum(len(batch[1]) for batch in train), names, contents_digest(images, labels))

    def contents(self) -> dict[str, bytes]:
        """The bytes of every file, verified; raises as `read`."""
        if self.path.is_dir():
            with ThreadPoolExecutor() as pool:  # unpacking xz takes seconds a file and leaves the interpreter free
                found = dict(zip(self.collection.digests, pool.map(self._from_folder, self.collection.digests), strict=True))
        else:
            found = self._from_archive()
        for name, digest in self.collection.digests.items():
            if (is_now := hashlib.md5(found[name], usedforsecurity=False).hexdigest()) != digest:
                raise ValueError(
                    f"{self.path / name}: MD5 {is_now} is not that of the original file ({digest}). {self.collection.advice}"
                )
        return found

    def describe(self) -> list[str]:
        """What is there, without reading it."""
        how = "in their archive" if self.path.is_file() else "in a folder"
        command = f"contextssl data prepare {self.collection.name} unpacks them once"
        return [f"{self.path}: the original files of {self.collection.title}, {how}; {command}"]

    def verify(self) -> list[str]:
        """One line per file, for files that are the originals byte for byte; raises as `read`."""
        whole = self.read()
        lines = [f"{name}: MD5 {digest}, the original file" for name, digest in self.collection.digests.items()]
        return [*lines, f"{len(whole.images):,} images, SHA-256 {whole.sha256}"]

    def _from_folder(self, name: str) -> bytes:
        plain, packed = self.path / name, self.path / f"{name}.xz"
        if plain.is_file():
            return plain.read_bytes()
        if not packed.is_file():
            raise FileNotFoundError(f"{self.path} holds neither {name} nor {name}.xz. {self.collection.advice}")
        try:
            return lzma.decompress(packed.read_bytes())
        except lzma.LZMAError as error:
            raise ValueError(f"{packed} is not a whole xz file ({error}). {self.collection.advice}") from error

    def _from_archive(self) -> dict[str, bytes]:
        found = {}
        try:
            with tarfile.open(self.path) as opened:
                for name in self.collection.digests:
                    member = opened.extractfile(f"{self.collection.folder}/{name}")
                    if member is None:
                        raise KeyError(name)
                    found[name] = member.read()
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ValueError(f"{self.path} is not a whole archive ({error}). {self.collection.advice}") from error
        except KeyError as error:
            raise ValueError(f"{self.path} is not {self.collection.archive} ({error}). {self.collection.advice}") from error
        return found


def check_whole(images: Bytes, labels: Bytes, collection: Collection, where: Path) -> None:
    """Raise ValueError unless the arrays are images of the set with labels of the set."""
    if images.dtype != np.uint8 or images.shape[1:] != IMAGE_SHAPE:
        raise ValueError(
            f"{where}: expected uint8 images [N, 3, 32, 32], found {images.dtype} {list(images.shape)}; prepare it again"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1] or labels.max(initial=0) >= collection.num_classes:
        raise ValueError(
            f"{where}: expected a label 0..{collection.num_classes - 1} for each of {len(images):,} images; prepare it again"
        )
