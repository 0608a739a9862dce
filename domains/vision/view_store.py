"""A packed set of views: every image decoded once, kept as bytes in one memory-mapped file.

I items, R rows (views of all items), C channels, L latent width. The folder holds

    views.npy      uint8 [R, C, H, W]; channels first, because that is how encoders take them: nothing is transposed later
    latents.npy    float32 [R, L]
    items.json     one entry per item: name, category, split, first row, number of views, SHA-256 of its rows
    manifest.json  how it was made and the digests of the rest; written last, so a store with a manifest is whole

The views of an item are neighbouring rows; items may have different numbers of views.

A store may be many such folders (`sharded_packing`): S shards `shard-00000`..., read as one, and beside them

    latents.npy    float32 [R, L] of all shards
    index.npy      int64 [4, I]: first row, number of views, category and split of each item
    manifest.json  as above, with the categories, the splits, and each shard's name, size and digest

Of such a store nothing that grows with its views is held in memory, and few shards are mapped at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from contextssl.files import sha256
from domains.vision.sharded_views import ShardedViews

VIEWS, LATENTS, ITEMS, MANIFEST, INDEX = "views.npy", "latents.npy", "items.json", "manifest.json", "index.npy"
UNFINISHED = "unfinished.jsonl"
FORMAT, SHARDED = "view store 1", "sharded view store 1"
MAX_OPEN = 64  # shards that are mapped at a time

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """One item of a store; `digest` is `rows_digest` of its views and latents."""

    name: str
    category: str
    split: str
    first_row: int
    num_views: int
    digest: str


@dataclass(frozen=True, slots=True)
class Index:
    """Where the views of I items are; `columns` int64 [4, I]: first row, number of views, positions of category and split."""

    categories: tuple[str, ...]
    splits: tuple[str, ...]
    columns: Integers

    @classmethod
    def of(cls, items: Sequence[StoredItem]) -> Index:
        """The index of these items; categories and splits are sorted."""
        categories, splits = (tuple(sorted({getattr(item, name) for item in items})) for name in ("category", "split"))
        places = [{name: place for place, name in enumerate(names)} for names in (categories, splits)]
        rows = [(item.first_row, item.num_views, places[0][item.category], places[1][item.split]) for item in items]
        return cls(categories, splits, np.array(rows, dtype=np.int64).reshape(-1, 4).T.copy())


class ViewStore:
    """Views and latents of I items, read when they are asked for. Open one with `ViewStore.open`.

    Attributes:
        path: the folder.
        manifest: how the store was made, with digests.
        categories: the names of the categories, sorted.
        label: [I] int64, position of each item's category in `categories`.
        first_row: [I] int64, row of the item's view 0.
        num_views: [I] int64.
        latents: [R, L] float32.
        shard_ends: [S] int64, number of items up to the end of each shard; [I] when there are no shards.
    """

    def __init__(
        self, path: Path, manifest: dict[str, Any], index: Index, views: Bytes | ShardedViews, latents: Floats, max_open: int
    ) -> None:
        self.path, self.manifest, self.categories = path, manifest, index.categories
        self._views, self._splits, self._max_open = views, index.splits, max_open
        self.latents = torch.from_numpy(latents)
        self.first_row, self.num_views, self.label, self._split = (torch.from_numpy(column) for column in index.columns)
        sizes = [shard["num_items"] for shard in manifest.get("shards", ())] or [index.columns.shape[1]]
        self.shard_ends = torch.tensor(sizes).cumsum(0)

    @classmethod
    def open(cls, path: str | Path, max_open: int = MAX_OPEN) -> ViewStore:
        """The store in a folder; its manifest and the shapes of its files are checked, its contents are not (`verify`).

        Args:
            path: the folder.
            max_open: of a store in shards, how many are mapped at a time.

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
            if manifest["format"] == SHARDED:
                return cls(path, manifest, *_open_shards(path, manifest, max_open), max_open)
            if manifest["format"] != FORMAT:
                raise ValueError(f"format {manifest['format']!r} instead of {FORMAT!r}")
            items = read_items(path)
            # Through np.asarray: indexing a plain array is faster than indexing a memmap, and gives plain arrays.
            views, latents = (np.asarray(np.load(path / name, mmap_mode="r")) for name in (VIEWS, LATENTS))
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise ValueError(f"{path} is not a whole view store ({error}); delete it and pack again") from error
        _check_shapes(path, manifest, items, views, latents)
        return cls(path, manifest, Index.of(items), views, np.array(latents), max_open)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and other processes map the same files; no view is copied."""
        return ViewStore.open, (self.path, self._max_open)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def items(self) -> tuple[StoredItem, ...]:
        """All items in the order of their rows, read from the disk at every call: names and digests are not kept."""
        shards, before, items = self.manifest.get("shards"), 0, list[StoredItem]()
        if shards is None:
            return tuple(read_items(self.path))
        for shard in shards:
            own = read_items(self.path / shard["name"])
            items += [replace(item, first_row=item.first_row + before) for item in own]
            before += shard["num_rows"]
        return tuple(items)

    @property
    def digest(self) -> str:
        """SHA-256 of what says which items these are and what they look like."""
        return str(self.manifest["sha256"][ITEMS])

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
        place = self._splits.index(name) if name in self._splits else -1
        return (self._split == place).nonzero().squeeze(1)

    def verify(self) -> None:
        """Read everything and compare with the digests; ValueError that names the damaged files, shards or items."""
        files = [name for name in (ITEMS, LATENTS, INDEX) if (self.path / name).is_file()]
        damaged = [name for name in files if sha256(self.path / name) != self.manifest["sha256"][name]]
        damaged += self._damaged_items() if "shards" not in self.manifest else self._damaged_shards()
        if damaged:
            more = f" and {len(damaged) - 10} more" if len(damaged) > 10 else ""
            raise ValueError(f"{self.path} is damaged: {', '.join(damaged[:10])}{more}; delete it and pack again")

    def _damaged_shards(self) -> Iterator[str]:
        for shard in self.manifest["shards"]:
            path = self.path / shard["name"]
            try:
                if sha256(path / MANIFEST) != shard["sha256"]:
                    yield f"{shard['name']}/{MANIFEST}"
                elif shard["num_items"]:
                    ViewStore.open(path).verify()
            except (OSError, ValueError) as error:
                yield f"{shard['name']} ({error})"

    def _damaged_items(self) -> Iterator[str]:
        views, latents = np.asarray(np.load(self.path / VIEWS, mmap_mode="r")), self.latents.numpy()
        for item in self.items:
            rows = slice(item.first_row, item.first_row + item.num_views)
            if rows_digest(views[rows], latents[rows]) != item.digest:
                yield item.name


def rows_digest(views: Bytes, latents: Floats) -> str:
    """Hexadecimal SHA-256 of an item's views [V, C, H, W] and latents [V, L]."""
    total = hashlib.sha256(np.ascontiguousarray(views).data)
    total.update(np.ascontiguousarray(latents).data)
    return total.hexdigest()


def read_items(path: Path) -> list[StoredItem]:
    """The items of a store without shards, or of one shard."""
    return [StoredItem(**entry) for entry in json.loads((path / ITEMS).read_text(encoding="utf-8"))]


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


def _open_shards(path: Path, manifest: dict[str, Any], max_open: int) -> tuple[Index, ShardedViews, Floats]:
    """Index, views and latents of a store in shards; index and latents are mapped, all processes of a machine share them."""
    # "c": torch wants memory that may be written; what is written stays in this process.
    columns, latents = (np.asarray(np.load(path / name, mmap_mode="c")) for name in (INDEX, LATENTS))
    shards, image_shape = manifest["shards"], manifest["image_shape"]
    ends = np.cumsum([shard["num_rows"] for shard in shards]).tolist()
    expected = [4, sum(shard["num_items"] for shard in shards)], [ends[-1], manifest["latent_dim"]]
    if (found := ([*columns.shape], [*latents.shape])) != expected:
        raise ValueError(f"{INDEX} and {LATENTS} have the shapes {found}, the shards need {expected}")
    if missing := [shard["name"] for shard in shards if not (path / shard["name"] / MANIFEST).is_file()]:
        raise ValueError(f"{len(missing):,} of {len(shards):,} shards are not there, such as {missing[0]}")
    files = [path / shard["name"] / VIEWS for shard in shards]
    index = Index(tuple(manifest["categories"]), tuple(manifest["splits"]), columns)
    return index, ShardedViews(files, ends, image_shape, max_open), latents
