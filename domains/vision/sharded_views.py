"""Many files of views read as one array, few of them mapped at a time. N rows of R, S shards."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

Views = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]


class ShardedViews:
    """The views of S shards as one array [R, C, H, W]; at most `max_open` of the files are mapped at a time.

    The system is told which views of a shard will be read, all before the first, and to read nothing around them: left to
    itself it reads many times as much from the disk (docs/large_scale.md).
    """

    def __init__(self, files: Sequence[Path], ends: Sequence[int], image_shape: Sequence[int], max_open: int) -> None:
        if max_open < 1:
            raise ValueError(f"max_open must be at least 1, found {max_open}")
        self._files, self._ends = files, np.array(ends, dtype=np.int64)
        self.shape = (ends[-1], *image_shape)
        self.mapped = lru_cache(max_open)(self._map)

    def __getitem__(self, rows: Rows) -> Views:
        """uint8 [N, C, H, W] of rows [N]."""
        shards, found = np.searchsorted(self._ends, rows, side="right"), np.empty((len(rows), *self.shape[1:]), np.uint8)
        for shard in np.unique(shards).tolist():
            views, (places,) = self.mapped(shard), np.nonzero(shards == shard)
            own = (rows[places] - self._start(shard)).tolist()
            _announce(views, own)
            for place, row in zip(places.tolist(), own, strict=True):
                found[place] = views[row]
        return found

    def _map(self, shard: int) -> Views:
        path, shape = self._files[shard], (int(self._ends[shard]) - self._start(shard), *self.shape[1:])
        mapped = np.load(path, mmap_mode="r")
        if mapped.dtype != np.uint8 or mapped.shape != shape:
            raise ValueError(
                f"{path}: expected uint8 {[*shape]}, found {mapped.dtype} {[*mapped.shape]}; delete the shard and pack again"
            )
        if hasattr(mmap, "MADV_RANDOM"):
            cast(mmap.mmap, mapped.base).madvise(mmap.MADV_RANDOM)
        return np.asarray(mapped)

    def _start(self, shard: int) -> int:
        return int(self._ends[shard - 1]) if shard else 0


def _announce(views: Views, rows: Sequence[int]) -> None:
    """Let the system fetch these rows of a mapped array from the disk, all at the same time."""
    if hasattr(mmap, "MADV_WILLNEED") and isinstance(views.base, np.memmap):
        for begin, length in pages_of(views.base.offset, views.strides[0], rows):
            cast(mmap.mmap, views.base.base).madvise(mmap.MADV_WILLNEED, begin, length)


def pages_of(offset: int, row_bytes: int, rows: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Where the memory of each row begins, rounded down to a page, and how long it is; row 0 is at `offset`."""
    for row in rows:
        begin = offset + row * row_bytes
        yield begin - begin % mmap.PAGESIZE, row_bytes + begin % mmap.PAGESIZE
