"""CIFAR-10 from the copy that the `datasets` library keeps on this machine; nothing is ever fetched.

The copy is a table of PNG pictures, batch by batch in another order than the author's. Each batch is recognised by its
contents, so that the result is the original set in its own order, or an error.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from domains.vision.cifar_batches import IMAGE_SHAPE, Bytes
from domains.vision.cifar_files import CIFAR10, CifarSet, Collection, contents_digest

REPOSITORY = "uoft-cs/cifar10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NUM_TEST_BATCHES = 1
# SHA-256 of images, then labels, of the files whose MD5 digests are published; the training batches, then the test batch.
BATCHES = (
    "ba52cb2d72c412975d7556bb26bd094956f1c002d1937053f6f1252f2ac17114",
    "350ff9000489d02f2568c0dcf4912ffdbae9e50932147905fb1b8159ad54f0ac",
    "a2b8653fc457df407af6c38b7e0d1a12530f3b5f81fce9f81516efd065daf722",
    "133e6292c377755074c305db8a684d48d5397372cb0aba34f52b4335eab35d97",
    "eb08cdc11fd1267ef871cf4790f193684b3f556d13317be68f4eb374a078ea87",
    "9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a",
)


@dataclass(frozen=True)
class HubCopy:
    """The tables of the cached copy.

    Attributes:
        path: the folder of the snapshot.
        batches: digests of the original batches in their order.
        num_rows: of each batch.
    """

    path: Path
    batches: Sequence[str] = BATCHES
    num_rows: int = 10_000

    @classmethod
    def find(cls, collection: Collection, cache: Path | None = None) -> HubCopy | None:
        """The copy in `cache` (where the library keeps it, when None); None when there is none, or of another set."""
        if collection.name != CIFAR10.name:
            return None
        try:
            found = Path(str(snapshot_download(REPOSITORY, repo_type="dataset", cache_dir=cache, local_files_only=True)))
        except LocalEntryNotFoundError:
            return None
        return cls(found) if any(found.rglob("train-*.parquet")) and any(found.rglob("test-*.parquet")) else None

    def read(self) -> CifarSet:
        """The set in the author's order; ValueError unless every batch is an original one."""
        blocks: dict[str, tuple[Bytes, Bytes]] = {}
        for part in ("train", "test"):
            table = pd.concat([pd.read_parquet(path) for path in sorted(self.path.rglob(f"{part}-*.parquet"))])
            for start in range(0, len(table), self.num_rows):
                block = self._block(table.iloc[start : start + self.num_rows])
                blocks[contents_digest(*block)] = block
        if missing := [number for number, digest in enumerate(self.batches) if digest not in blocks]:
            raise ValueError(
                f"{self.path}: {len(missing)} of the {len(self.batches)} original batches are not in this copy, it is damaged or "
                f"was changed. {CIFAR10.advice}"
            )
        images, labels = (np.concatenate([blocks[digest][part] for digest in self.batches]) for part in (0, 1))
        num_train = len(images) - NUM_TEST_BATCHES * self.num_rows
        return CifarSet(images, labels, num_train, CLASSES, contents_digest(images, labels))

    def describe(self) -> list[str]:
        """What is there, without reading it."""
        return [f"{self.path}: the copy of {REPOSITORY}; contextssl data prepare cifar10 unpacks it once"]

    def verify(self) -> list[str]:
        """One line, for a copy of the originals; raises as `read`."""
        return [f"{self.path}: all {len(self.read().images):,} images are the original ones"]

    def _block(self, table: pd.DataFrame) -> tuple[Bytes, Bytes]:
        images = [_decoded(cell["bytes"], self.path) for cell in table["img"]]
        return np.stack(images), table["label"].to_numpy(dtype=np.uint8)


def _decoded(content: bytes, where: Path) -> Bytes:
    try:
        image = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)
    except OSError as error:
        raise ValueError(f"{where}: a picture of this copy cannot be read ({error}). {CIFAR10.advice}") from error
    if image.shape != IMAGE_SHAPE:
        raise ValueError(f"{where}: expected pictures of 32x32 pixels, found {image.shape[1]}x{image.shape[2]}. {CIFAR10.advice}")
    return image
