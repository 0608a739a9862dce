"""Writing a `ViewStore`: in parallel, in bounded memory, resumable, and never half-valid.

Every item has its rows from the start; a worker reads one item, writes its rows and reports a digest, which is noted in
a journal. After an interruption the items in the journal are not read again. The manifest is written last.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from contextssl.files import sha256, write_text
from contextssl.progress import CONSOLE
from domains.vision.view_store import (
    FORMAT,
    ITEMS,
    LATENTS,
    MANIFEST,
    UNFINISHED,
    VIEWS,
    Bytes,
    Floats,
    StoredItem,
    items_text,
    rows_digest,
)  # fmt: skip

PROBLEMS = "problems.txt"
NUM_SHOWN = 20  # problems in the message; the file lists all
FLUSH_EVERY = 64  # items between two journal entries that have reached the disk


@dataclass(frozen=True, slots=True)
class PackItem:
    """An item to pack: its name, category and split, and how many views it should have."""

    name: str
    category: str
    split: str
    num_views: int


class BadItemError(ValueError):
    """An item that cannot be packed; the message says what is wrong with it."""


Reader = Callable[[PackItem], tuple[Bytes, Floats]]
"""From an item to views uint8 [V, C, H, W] and latents float32 [V, L]; raises BadItemError. Pickled if there are processes."""

Given = TypeVar("Given")
Made = TypeVar("Made")

Place = tuple[int, PackItem, int]
"""Index of an item, the item, its first row."""

Outcome = tuple[int, str, str]
"""Index of the item, its digest, what is wrong with it: one of the two is empty."""


def pack(
    out: Path, items: Sequence[PackItem], read: Reader, *, image_shape: tuple[int, int, int], latent_dim: int,
    settings: dict[str, object], processes: int = 1, skip_bad: bool = False, skipped: dict[str, str] | None = None,
    shard: bool = False,
) -> None:  # fmt: skip
    """Pack the items into the folder `out`, going on where an interrupted pack with the same settings stopped.

    Args:
        out: a new folder, one with an unfinished pack, or one with this very pack, which is left alone.
        items: in the order of their rows. Rows of items that are skipped stay empty.
        read: reads one item.
        image_shape: (C, H, W) of every view.
        latent_dim: L.
        settings: what the content depends on beside the items; goes into the manifest.
        processes: how many read at the same time; 1 reads in this process.
        skip_bad: leave out items that cannot be read; the manifest names them.
        skipped: what was left out before, and why.
        shard: whether this is one of many, which shows no progress and may lose all of its items to `skip_bad`.

    Raises:
        FileExistsError: when `out` holds something else.
        ValueError: naming every item that cannot be packed, unless `skip_bad`.
        OSError: when the disk is full.
    """
    identity: dict[str, object] = {"settings": settings, "items": hashlib.sha256(repr([*items]).encode()).hexdigest()}
    if (out / MANIFEST).is_file() and same_pack(out, identity):
        return
    starts = [0, *accumulate(item.num_views for item in items)]
    shapes = {VIEWS: (starts[-1], *image_shape), LATENTS: (starts[-1], latent_dim)}
    digests = _begin(out, identity, shapes)
    bad = _pack_missing(out, items, starts, partial(_write_item, out, read, shapes), digests, processes, shard)
    if bad and not skip_bad:
        raise ValueError(_sentence(out, bad, len(items)))
    if not digests and not shard:
        raise ValueError(f"none of the {len(items):,} items can be packed; {_sentence(out, bad, len(items))}")
    stored = [
        StoredItem(item.name, item.category, item.split, starts[index], item.num_views, digests[index])
        for index, item in enumerate(items)
        if index in digests
    ]
    _finish(out, stored, identity, shapes, (skipped or {}) | bad)


def _pack_missing(
    out: Path, items: Sequence[PackItem], starts: Sequence[int], write: Callable[[Place], Outcome], digests: dict[int, str],
    processes: int, quiet: bool,
) -> dict[str, str]:  # fmt: skip
    """Pack the items that have no digest yet and add theirs; what is wrong with the others, by name."""
    bad: dict[str, str] = {}
    places = [(index, item, starts[index]) for index, item in enumerate(items) if index not in digests]
    try:
        with closing(in_parallel(write, places, processes)) as outcomes, _Journal(out) as journal, progress_bar(quiet) as bar:
            task = bar.add_task("pack", total=len(items), completed=len(digests))
            for index, digest, problem in outcomes:
                bar.advance(task)
                if problem:
                    bad[items[index].name] = problem
                else:
                    digests[index] = digest
                    journal.note(index, digest)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(errno.ENOSPC, f"the disk is full after {len(digests):,} of {len(items):,} items; free some space and run "
                      f"the same command again to go on, or delete {out}") from error  # fmt: skip
    return bad


def same_pack(out: Path, identity: dict[str, object]) -> bool:
    """Whether `out` is a finished pack of this identity; FileExistsError for another one."""
    manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("made") != identity:
        raise FileExistsError(f"{out} holds another pack (other images or settings); delete it or choose another out=<folder>")
    return True


def _begin(out: Path, identity: dict[str, object], shapes: dict[str, tuple[int, ...]]) -> dict[int, str]:
    """The digests of the items that are packed already; makes the files of a new pack."""
    journal = out / UNFINISHED
    if journal.is_file():
        head, *lines = journal.read_text(encoding="utf-8").split("\n")
        if head != json.dumps(identity):
            raise FileExistsError(
                f"{out} holds an unfinished pack of other images or settings; delete it or choose another out=<folder>"
            )
        # The last piece is empty, or a line that was cut off while it was written.
        entries = (json.loads(line) for line in lines[:-1])
        return {int(entry["item"]): str(entry["sha256"]) for entry in entries}
    if out.exists() and (not out.is_dir() or any(path.name not in (VIEWS, LATENTS) for path in out.iterdir())):
        raise FileExistsError(f"{out} exists and is not a pack; choose another out=<folder>")
    out.mkdir(parents=True, exist_ok=True)
    check_space(out, int(np.prod(shapes[VIEWS])))
    for name, kind in ((VIEWS, np.uint8), (LATENTS, np.float32)):
        # A sparse file of the final size: rows take space when they are written.
        np.lib.format.open_memmap(out / name, mode="w+", dtype=kind, shape=shapes[name])
    write_text(journal, json.dumps(identity) + "\n")
    return {}


def check_space(out: Path, needed: int) -> None:
    """Raise OSError when fewer than `needed` bytes are free where the folder `out` is."""
    if needed > (free := shutil.disk_usage(out).free):
        raise OSError(errno.ENOSPC, f"{out}: the views need {needed / 1e9:,.2f} GB and {free / 1e9:,.2f} GB are free; "
                      "free some space, choose another out=<folder> or a smaller size")  # fmt: skip


class _Journal:
    """Notes which items are packed, after their rows have reached the disk."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._waiting: list[str] = []

    def __enter__(self) -> _Journal:
        path = self._out / UNFINISHED
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            write_text(path, text[: text.rindex("\n") + 1])
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()

    def note(self, index: int, digest: str) -> None:
        """Remember that the item's rows are written."""
        self._waiting.append(json.dumps({"item": index, "sha256": digest}) + "\n")
        if len(self._waiting) >= FLUSH_EVERY:
            self._flush()

    def _flush(self) -> None:
        for name in (VIEWS, LATENTS):
            with (self._out / name).open("r+b") as file:
                os.fsync(file.fileno())
        with (self._out / UNFINISHED).open("a", encoding="utf-8") as file:
            file.writelines(self._waiting)
        self._waiting = []


def _write_item(out: Path, read: Reader, shapes: dict[str, tuple[int, ...]], place: Place) -> Outcome:
    """Read an item and write its rows; in a worker."""
    index, item, first_row = place
    try:
        views, latents = read(item)
    except BadItemError as error:
        return index, "", str(error)
    for name, array in ((VIEWS, views), (LATENTS, latents)):
        expected = (item.num_views, *shapes[name][1:])
        assert array.shape == expected, f"{item.name}: the reader returned {array.shape}, not {expected}"
        row_bytes = array.itemsize * int(np.prod(expected[1:]))
        # Written as a file and not through a memory map, which would kill the process when the disk is full.
        with (out / name).open("r+b") as file:
            header = file.seek(0, os.SEEK_END) - row_bytes * shapes[name][0]
            file.seek(header + row_bytes * first_row)
            file.write(np.ascontiguousarray(array).data)
    return index, rows_digest(views, latents), ""


def in_parallel(work: Callable[[Given], Made], given: Iterable[Given], processes: int) -> Generator[Made]:
    """What `work` makes of each, in order; never more than a few per process are under way. OSError when one is killed."""
    if processes <= 1:
        yield from map(work, given)
        return
    # Not forked: this process may have threads.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        pending: deque[Future[Made]] = deque()
        try:
            for one in given:
                pending.append(pool.submit(work, one))
                if len(pending) >= 4 * processes:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise OSError(
                "a reading process was killed, mostly for lack of memory; run the same command again with fewer processes to go on"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _finish(
    out: Path, stored: Sequence[StoredItem], identity: dict[str, object], shapes: dict[str, tuple[int, ...]], skipped: dict[str, str]
) -> None:  # fmt: skip
    write_text(out / ITEMS, items_text(stored))
    manifest = {
        "format": FORMAT,
        "made": identity,
        "num_items": len(stored),
        "num_views": sum(item.num_views for item in stored),
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "sha256": {name: sha256(out / name) for name in (ITEMS, LATENTS)},  # the digests of the views are in items.json
        "skipped": skipped,
    }
    write_text(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    for name in (UNFINISHED, PROBLEMS):
        (out / name).unlink(missing_ok=True)


def _sentence(out: Path, bad: dict[str, str], num_items: int) -> str:
    lines = [f"{name}: {problem}" for name, problem in bad.items()]
    write_text(out / PROBLEMS, "\n".join(lines) + "\n")
    more = f"; and {len(lines) - NUM_SHOWN:,} more, all listed in {out / PROBLEMS}" if len(lines) > NUM_SHOWN else ""
    return (
        f"{len(bad):,} of {num_items:,} objects cannot be packed: {'; '.join(lines[:NUM_SHOWN])}{more}. Repair them and run the same "
        "command again, or add skip_bad=true to go on without them"
    )


def progress_bar(quiet: bool = False) -> Bar:
    """A bar that is shown on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Bar(*columns, console=CONSOLE, disable=quiet or not CONSOLE.is_terminal)
