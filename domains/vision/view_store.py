"""A packed set of views: every image decoded once, kept as bytes in one memory-mapped file.

I items, R rows (views of all items), C channels, L latent width. The folder holds

    views.npy      uint8 [R, C, H, W]; channels first, because that is how encoders take them: nothing is transposed later
    latents.npy    float32 [R, L]
    items.json     one entry per item: name, category, split, first row, number of views, SHA-256 of its rows
    manifest.json  how it was made and the digests of the rest; written last, so a store with a manifest is whole

The views of an item are neighbouring rows; items may have different numbers of views.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from contextssl.files import sha256

VIEWS, LATENTS, ITEMS, MANIFEST = "views.npy", "latents.npy", "items.json", "manifest.json"
UNFINISHED = "unfinished.jsonl"
FORMAT = "view store 1"

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """One item of a store; `digest` is `rows_digest` of its views and latents."""

    name: str
    category: str
    split: str
    first_row: int
    num_views: int
    digest: str


class ViewStore:
    """Views and latents of I items, read when they are asked for. Open one with `ViewStore.open`.

    Attributes:
        path: the folder.
        manifest: how the store was made, with digests.
        items: in the order of their rows.
        categories: the names of the categories, sorted.
        label: [I] int64, position of each item's category in `categories`.
        first_row: [I] int64, row of the item's view 0.
        num_views: [I] int64.
        latents: [R, L] float32.
    """

    def __init__(
        self, path: Path, manifest: dict[str, Any], items: Sequence[StoredItem], views: Bytes, latents: Floats
    ) -> None:  # fmt: skip
        self.path, self.manifest, self.items, self._views = path, manifest, tuple(items), views
        self.latents = torch.from_numpy(np.array(latents))
        self.categories = tuple(sorted({item.category for item in self.items}))
        position = {category: index for index, category in enumerate(self.categories)}
        self.label = torch.tensor([position[item.category] for item in self.items])
        self.first_row = torch.tensor([item.first_row for item in self.items])
        self.num_views = torch.tensor([item.num_views for item in self.items])

    @classmethod
    def open(cls, path: str | Path) -> ViewStore:
        """The store in a folder; its manifest and the shapes of its files are checked, its contents are not (`verify`).

        Raises:
            FileNotFoundError: when there is no store, or one whose packing was interrupted.
            ValueError: for files that do not fit each other.
        """
        path = Path(path)
        if not (path / MANIFEST).is_file():
            if (path / UNFINISHED).is_file():
                raise FileNotFoundError(f"the packing into {path} was interrupted; run the same prepare command again to go on")
            raise FileNotFoundError(f"{path} holds no packed views (no {MANIFEST}); make them with contextssl data prepare")
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT:
                raise ValueError(f"format {manifest['format']!r} instead of {FORMAT!r}")
            items = [StoredItem(**entry) for entry in json.loads((path / ITEMS).read_text(encoding="utf-8"))]
            # Through np.asarray: indexing a plain array is faster than indexing a memmap, and gives plain arrays.
            views, latents = (np.asarray(np.load(path / name, mmap_mode="r")) for name in (VIEWS, LATENTS))
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise ValueError(f"{path} is not a whole view store ({error}); delete it and pack again") from error
        _check_shapes(path, manifest, items, views, latents)
        return cls(path, manifest, items, views, latents)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and other processes map the same files; no view is copied."""
        return ViewStore.open, (self.path,)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return self._views.shape[1:]

    def views(self, rows: Tensor) -> Tensor:
        """uint8 [N, C, H, W], the views of rows [N]."""
        return torch.from_numpy(self._views[rows.numpy()])

    def rows(self, items: Tensor) -> Tensor:
        """All rows of the items, item by item."""
        counts = self.num_views[items]
        starts = self.first_row[items] - counts.cumsum(0) + counts
        return starts.repeat_interleave(counts) + torch.arange(int(counts.sum()))

    def split(self, name: str) -> Tensor:
        """The items that were packed as this split, in order."""
        return torch.tensor([index for index, item in enumerate(self.items) if item.split == name], dtype=torch.long)

    def verify(self) -> None:
        """Read everything and compare with the digests; ValueError that names the damaged files or items."""
        damaged = [name for name in (ITEMS, LATENTS) if sha256(self.path / name) != self.manifest["sha256"][name]]
        damaged += [item.name for item in self._damaged_items()]
        if damaged:
            more = f" and {len(damaged) - 10} more" if len(damaged) > 10 else ""
            raise ValueError(f"{self.path} is damaged: {', '.join(damaged[:10])}{more}; delete it and pack again")

    def _damaged_items(self) -> Iterator[StoredItem]:
        latents = self.latents.numpy()
        for item in self.items:
            rows = slice(item.first_row, item.first_row + item.num_views)
            if rows_digest(self._views[rows], latents[rows]) != item.digest:
                yield item


def rows_digest(views: Bytes, latents: Floats) -> str:
    """Hexadecimal SHA-256 of an item's views [V, C, H, W] and latents [V, L]."""
    total = hashlib.sha256(np.ascontiguousarray(views).data)
    total.update(np.ascontiguousarray(latents).data)
    return total.hexdigest()


def items_text(items: Sequence[StoredItem]) -> str:
    """The content of items.json, one item on a line."""
    return "[\n" + ",\n".join(json.dumps(asdict(item)) for item in items) + "\n]\n"


def _check_shapes(path: Path, manifest: dict[str, Any], items: Sequence[StoredItem], views: Bytes, latents: Floats) -> None:
    """Raise ValueError unless both arrays are what the manifest says and hold every item's rows."""
    for name, array, kind in ((VIEWS, views, np.uint8), (LATENTS, latents, np.float32)):
        found, expected = (str(array.dtype), list(array.shape)), (np.dtype(kind).name, manifest["shapes"].get(name))
        if found != expected:
            raise ValueError(f"{path / name}: expected {expected[0]} {expected[1]}, found {found[0]} {found[1]}; pack again")
    if len(views) != len(latents) or not items or max(item.first_row + item.num_views for item in items) > len(views):
        raise ValueError(f"{path}: {ITEMS} and the arrays do not belong together; delete the folder and pack again")
