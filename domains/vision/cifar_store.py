"""CIFAR unpacked once into two arrays, where its data are looked for, and the verbs of `contextssl data`."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from contextssl.files import write_atomically, write_text
from domains.vision.cifar_files import CifarSet, Collection, Originals, check_whole, collection_named, contents_digest
from domains.vision.cifar_hub import HubCopy

LOG = logging.getLogger("contextssl")

IMAGES, LABELS, MANIFEST = "images.npy", "labels.npy", "manifest.json"
FORMAT = "contextssl-cifar/1"


class Source(Protocol):
    """Anything a set can be read from."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    def read(self) -> CifarSet:
        """The whole set."""
        ...

    def describe(self) -> list[str]:
        """What is there, without reading it."""
        ...

    def verify(self) -> list[str]:
        """What was read and found whole; ValueError that names what is damaged otherwise."""
        ...


@dataclass(frozen=True)
class Prepared:
    """The two arrays of a set that was prepared, and their manifest."""

    path: Path
    collection: Collection

    @classmethod
    def find(cls, root: Path, collection: Collection) -> Prepared | None:
        """The prepared set at `root`; None without a manifest, which is written last."""
        return cls(root, collection) if (root / MANIFEST).is_file() else None

    @classmethod
    def write(cls, path: Path, collection: Collection, whole: CifarSet, source: Path) -> Prepared:
        """Write a set; whatever is interrupted leaves nothing that `find` would take for a set."""
        (path / MANIFEST).unlink(missing_ok=True)
        write_atomically(path / IMAGES, lambda temporary: np.save(temporary, whole.images))
        write_atomically(path / LABELS, lambda temporary: np.save(temporary, whole.labels))
        manifest = {
            "format": FORMAT,
            "name": collection.name,
            "source": str(source),
            "num_images": len(whole.images),
            "num_train": whole.num_train,
            "classes": whole.classes,
            "sha256": whole.sha256,
        }
        write_text(path / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        return cls(path, collection)

    @property
    def manifest(self) -> dict[str, Any]:
        """What was prepared; ValueError for the manifest of something else."""
        try:
            found: dict[str, Any] = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
            if (found["format"], found["name"]) != (FORMAT, self.collection.name):
                raise ValueError(f"it holds {found['name']} in the format {found['format']}")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.path} is no prepared {self.collection.title} ({error}); delete it and prepare again"
            ) from error
        return found

    def read(self) -> CifarSet:
        """The arrays; shapes and labels are checked, contents are not (`verify`)."""
        manifest = self.manifest
        try:
            images, labels = (np.load(self.path / name) for name in (IMAGES, LABELS))
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{self.path} is damaged ({error}); delete it and prepare again") from error
        check_whole(images, labels, self.collection, self.path)
        if len(images) != manifest["num_images"]:
            raise ValueError(f"{self.path}: {len(images):,} images instead of {manifest['num_images']:,}; prepare it again")
        return CifarSet(images, labels, manifest["num_train"], tuple(manifest["classes"]), manifest["sha256"])

    def describe(self) -> list[str]:
        """What the manifest says."""
        found = self.manifest
        held = f"{found['num_train']:,} training and {found['num_images'] - found['num_train']:,} test images"
        return [
            f"{self.path}: {self.collection.title} as it is used, {held} of 32x32 pixels, from {found['source']}",
            f"{len(found['classes'])} classes: {', '.join(found['classes'][:10])}{', ...' if len(found['classes']) > 10 else ''}",
            f"SHA-256 of images and labels: {found['sha256']}",
        ]

    def verify(self) -> list[str]:
        """Read everything and compare with the digest; ValueError when it differs."""
        whole = self.read()
        if (found := contents_digest(whole.images, whole.labels)) != whole.sha256:
            raise ValueError(f"{self.path} is damaged: SHA-256 {found} instead of {whole.sha256}; delete it and prepare again")
        return [f"{self.path}: {len(whole.images):,} images are as they were prepared, SHA-256 {found}"]


def cache_folder(collection: Collection) -> Path:
    """Where a set is prepared: $CONTEXTSSL_CACHE/cifar10, by default ~/.cache/contextssl/cifar10."""
    return Path(os.environ.get("CONTEXTSSL_CACHE") or Path.home() / ".cache" / "contextssl") / collection.name


def locate(root: Path | None, collection: Collection) -> Source:
    """What a set can be read from.

    Without a root: prepared in $CONTEXTSSL_DATA/cifar10 or in the user cache; else the original files in either; else the
    copy of the `datasets` library, if it is on this machine.

    Raises:
        FileNotFoundError: when there is nothing, with how to get it.
    """
    places = [root] if root is not None else [cache_folder(collection)]
    if root is None and (packs := os.environ.get("CONTEXTSSL_DATA")):
        places.insert(0, Path(packs) / collection.name)
    for kind in (Prepared, Originals):
        for place in places:
            if (found := kind.find(place, collection)) is not None:
                return found
    if root is None and (copy := HubCopy.find(collection)) is not None:
        return copy
    where = root if root is not None else f"on this machine (looked in {', '.join(map(str, places))})"
    raise FileNotFoundError(f"{collection.title} is not {'at ' if root is not None else ''}{where}. {collection.advice}")


def load(root: Path | None, collection: Collection) -> tuple[CifarSet, Path]:
    """A whole set and where it is from. Without a root, what is not prepared is prepared in the user cache first."""
    source = locate(root, collection)
    if root is None and not isinstance(source, Prepared):
        target = cache_folder(collection)
        LOG.info("preparing %s from %s in %s, once", collection.title, source.path, target)
        source = Prepared.write(target, collection, source.read(), source.path)
    return source.read(), source.path


def prepare(root: Path | None = None, dataset: str = "cifar10", out: str | Path | None = None) -> list[str]:
    """Unpack a set once into `out` (the user cache when None), unless it is there already, and describe it.

    Args:
        root: the original files; where `locate` looks when None.
        dataset: cifar10 or cifar100.
        out: folder of the arrays.
    """
    collection = collection_named(dataset)
    target = cache_folder(collection) if out is None else Path(out)
    source: Source = locate(root, collection)
    if not isinstance(source, Prepared) or source.path != target:
        source = Prepared.write(target, collection, source.read(), source.path)
    return source.describe()


def verify(root: Path | None = None, dataset: str = "cifar10") -> list[str]:
    """What was read and found whole; ValueError naming what is damaged otherwise."""
    return locate(root, collection_named(dataset)).verify()


def info(root: Path | None = None, dataset: str = "cifar10") -> list[str]:
    """What there is of a set, and where."""
    return locate(root, collection_named(dataset)).describe()
