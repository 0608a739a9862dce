"""Writing a `ViewStore` in shards: in parallel, resumable shard by shard, never half-valid.

Every shard is a store of its own, packed by one process (`packing.pack`): it has a manifest once it is whole and is not
touched again after that. The manifest of all shards is written last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np

from contextssl.files import sha256, write_atomically, write_text
from domains.vision.packing import Given, PackItem, Reader, check_space, in_parallel, pack, progress_bar, same_pack
from domains.vision.view_store import (
    INDEX,
    ITEMS,
    LATENTS,
    MANIFEST,
    SHARDED,
    UNFINISHED,
    VIEWS,
    Floats,
    Index,
    Integers,
    read_items,
)  # fmt: skip

Chunk = tuple[str, Sequence[PackItem]]
"""Name of a shard and its items."""


def pack_shards(
    out: Path, items: Sequence[PackItem], read: Reader, *, items_per_shard: int, image_shape: tuple[int, int, int],
    latent_dim: int, settings: dict[str, object], processes: int = 1, skip_bad: bool = False,
    skipped: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Pack the items into shards in the folder `out`, going on where an interrupted call with the same settings stopped.

    Args:
        out: a new folder, or one with this very pack, finished or not.
        items: in the order of their rows.
        read: reads one item.
        items_per_shard: every shard has so many, the last one what is left.
        image_shape: (C, H, W) of every view.
        latent_dim: L.
        settings: as in `pack`.
        processes: how many shards are packed at the same time.
        skip_bad: leave out items that cannot be read.
        skipped: what was left out before, and why.

    Raises:
        FileExistsError, ValueError, OSError: as `packing.pack`; shards without bad items are finished before ValueError.
    """
    check_items_per_shard(items_per_shard)
    digest = hashlib.sha256(repr([*items]).encode()).hexdigest()
    identity: dict[str, object] = {"settings": settings, "items": digest, "items_per_shard": items_per_shard}
    if not begin(out, identity):
        return
    chunks: list[Chunk] = [
        (f"shard-{number:05}", items[start : start + items_per_shard])
        for number, start in enumerate(range(0, len(items), items_per_shard))
    ]
    missing = [chunk for name, chunk in chunks if not (out / name / MANIFEST).is_file()]
    check_space(out, sum(item.num_views for chunk in missing for item in chunk) * int(np.prod(image_shape)))
    write = partial(write_shard, out, read, image_shape, latent_dim, settings, skip_bad)
    raise_problems(run_jobs(write, chunks, processes))
    finish(out, [name for name, _ in chunks], identity, skipped or {})


def check_items_per_shard(items_per_shard: int) -> None:
    """Raise ValueError unless it is at least 1."""
    if items_per_shard < 1:
        raise ValueError(f"items_per_shard must be at least 1, found {items_per_shard}")


def begin(out: Path, identity: dict[str, object]) -> bool:
    """Make the folder of a sharded pack, or go on with it; False when it is finished. FileExistsError for anything else."""
    if (out / MANIFEST).is_file() and same_pack(out, identity):
        return False
    mark = out / UNFINISHED
    if mark.is_file():
        if mark.read_text(encoding="utf-8") != json.dumps(identity) + "\n":
            raise FileExistsError(
                f"{out} holds an unfinished pack of other images or settings; delete it or choose another out=<folder>"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not a pack; choose another out=<folder>")
    write_text(mark, json.dumps(identity) + "\n")
    return True


def write_shard(
    out: Path, read: Reader, image_shape: tuple[int, int, int], latent_dim: int, settings: dict[str, object], skip_bad: bool, chunk: Chunk
) -> str:  # fmt: skip
    """Pack one shard unless it is whole; returns what is wrong with its items, nothing when it is now whole. In a worker."""
    name, items = chunk
    try:
        pack(out / name, items, read, image_shape=image_shape, latent_dim=latent_dim, settings=settings, skip_bad=skip_bad,
             shard=True)  # fmt: skip
    except ValueError as error:
        return f"{name}: {error}"
    return ""


def run_jobs(work: Callable[[Given], str], jobs: Sequence[Given], processes: int) -> list[str]:
    """What is wrong after each of the jobs; empty texts are left out."""
    problems = []
    with closing(in_parallel(work, jobs, processes)) as outcomes, progress_bar() as bar:
        task = bar.add_task("pack shards", total=len(jobs))
        for problem in outcomes:
            bar.advance(task)
            problems += [problem] * bool(problem)
    return problems


def raise_problems(problems: Sequence[str]) -> None:
    """Raise ValueError with what is wrong with the first shards, if anything is."""
    if problems:
        more = f"; and in {len(problems) - 3:,} more shards" if len(problems) > 3 else ""
        raise ValueError(f"shards that are not whole: {len(problems):,}, all others are; {'; '.join(problems[:3])}{more}")


def finish(out: Path, names: Sequence[str], identity: dict[str, object], skipped: dict[str, str]) -> None:
    """Write index, latents and manifest over whole shards, in this order.

    Raises:
        ValueError: when not one of them holds an item.
    """
    manifests = [json.loads((out / name / MANIFEST).read_text(encoding="utf-8")) for name in names]
    rows = [one["shapes"][LATENTS][0] for one in manifests]
    if not any(one["num_items"] for one in manifests):
        raise ValueError(
            f"{out}: not one item could be packed; see that the images can be read, delete the folder and start again"
        )
    index = joined([Index.of(read_items(out / name)) for name in names], rows)
    latents = np.concatenate([np.load(out / name / LATENTS) for name in names])
    for name, array in ((INDEX, index.columns), (LATENTS, latents)):
        write_atomically(out / name, partial(_save, array))
    of_items = hashlib.sha256("".join(one["sha256"][ITEMS] for one in manifests).encode()).hexdigest()
    manifest = {
        "format": SHARDED,
        "made": identity,
        "num_items": index.columns.shape[1],
        "num_views": int(index.columns[1].sum()),
        "image_shape": manifests[0]["shapes"][VIEWS][1:],
        "latent_dim": latents.shape[1],
        "categories": index.categories,
        "splits": index.splits,
        "sha256": {ITEMS: of_items, INDEX: sha256(out / INDEX), LATENTS: sha256(out / LATENTS)},
        "skipped": skipped | {name: problem for one in manifests for name, problem in one["skipped"].items()},
        "shards": [
            {"name": name, "num_items": one["num_items"], "num_rows": num_rows, "sha256": sha256(out / name / MANIFEST)}
            for name, one, num_rows in zip(names, manifests, rows, strict=True)
        ],
    }
    write_text(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    (out / UNFINISHED).unlink(missing_ok=True)


def joined(parts: Sequence[Index], num_rows: Sequence[int]) -> Index:
    """The index of shards one after the other, which have so many rows each."""
    categories, splits = (sorted({name for names in kind for name in names}) for kind in
                          ([part.categories for part in parts], [part.splits for part in parts]))  # fmt: skip
    columns = []
    for part, before in zip(parts, accumulate(num_rows, initial=0), strict=False):
        first_row, num_views, category, split = part.columns
        category = _positions(part.categories, categories)[category]
        columns.append(np.stack([first_row + before, num_views, category, _positions(part.splits, splits)[split]]))
    return Index(tuple(categories), tuple(splits), np.concatenate(columns, axis=1))


def _positions(names: Sequence[str], among: list[str]) -> Integers:
    return np.array([among.index(name) for name in names], dtype=np.int64)


def _save(array: Integers | Floats, path: Path) -> None:
    np.save(path, array)
