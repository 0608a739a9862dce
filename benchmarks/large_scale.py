"""What docs/large_scale.md counts with: packing, JPEG, reading pairs from one file and from shards, memory, index.

    nice -n 19 python benchmarks/large_scale.py                        minutes, 2 GB of disk beside --folder
    python benchmarks/large_scale.py --shards 64 --folder <folder>     more data, on the disk that training will read

Rates are views per second of processor time of one process, that is per core, so that a busy machine changes them little.
How fast a disk is depends on the disk: what is measured is how many bytes are asked of it for a view that is not in memory.
Ways of reading take turns and medians are reported. Views that are only read are noise, which reads like any other; those
that are decoded are rendered at 256 pixels, the size of those of 3DIEBench.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from contextssl.adapters.items import as_float
from contextssl.files import write_text
from contextssl.run import describe_environment
from domains.vision.epochs import BlockSequences, EpochSequences
from domains.vision.image_folder import pack_folder
from domains.vision.packing import PackItem, pack
from domains.vision.procedural.generate import generate
from domains.vision.procedural.plan import Views
from domains.vision.sharded_packing import pack_shards
from domains.vision.view_store import Bytes, Floats, ViewStore

RESULTS = Path(__file__).parent / "results/large_scale.json"
NUM_VIEWS, LATENT_DIM, ITEMS_PER_SHARD, WINDOW, NUM_PAIRS, NUM_TRANSITIONS = 20, 7, 64, 4, 256, 64
SOURCE_SIDE, SIDE, QUALITY = 256, 128, 95
WAYS = {
    "one_file": "one file",
    "shards_all_mapped": "shards in any order, all 16 mapped",
    "shards_few_mapped": "shards in any order, 8 mapped",
    "shards_window": "windows of 4 shards",
}
READ = ("views_per_second_from_memory", "bytes_from_disk_per_view", "mapped_megabytes_after_an_epoch")
PLANNED_SHARDS, PLANNED_PER_SHARD = 5_000, 1_000


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds of processor time that it takes this process, user and system."""
    start = time.process_time()
    work()
    return time.process_time() - start


def bytes_from_disk() -> int:
    """What this process has made the system read from disks so far."""
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("read_bytes"))
    return int(line.split(":")[1])


def resident() -> dict[str, int]:
    """MB of this process: its own, and pages of mapped files, which belong to the system's cache."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"own": int(lines["RssAnon"].split()[0]) // 1024, "mapped": int(lines["RssFile"].split()[0]) // 1024}


@dataclass(frozen=True)
class Noise:
    """Views and latents of any item, for nothing."""

    views: Bytes
    latents: Floats

    @classmethod
    def of(cls, num_views: int, side: int) -> Noise:
        """The same noise for all items."""
        rng = np.random.default_rng(0)
        return cls(
            rng.integers(256, size=(num_views, 3, side, side), dtype=np.uint8), np.zeros((num_views, LATENT_DIM), np.float32)
        )

    def __call__(self, item: PackItem) -> tuple[Bytes, Floats]:
        """All of it."""
        return self.views, self.latents


def measure_packing(folder: Path, objects: int) -> dict[str, object]:
    """Rendered JPEGs of 256 pixels into a store of 128: views a second; bytes a view, raw and as JPEG of 128 pixels."""
    generate(
        folder / "jpeg", objects=objects, categories=8, views=Views(views=NUM_VIEWS, size=SOURCE_SIDE, samples=1), processes=1
    )
    num_views = 8 * objects * NUM_VIEWS
    ways = {"one_file": {}, "shards": {"items_per_shard": 8}}
    spent = {
        name: seconds_of(partial(pack_folder, folder / "jpeg", folder / name, size=SIDE, **more)) for name, more in ways.items()
    }
    store = ViewStore.open(folder / "one_file")
    jpegs = [encoded(view) for view in store.views(torch.arange(num_views))]
    decoding = median(seconds_of(lambda: [decoded(one) for one in jpegs]) for _ in range(3))
    return {
        "views": num_views,
        "source_jpeg_bytes": round(sum(path.stat().st_size for path in (folder / "jpeg").glob("*/*/*.jpg")) / num_views),
        "views_per_second": {name: round(num_views / seconds, 1) for name, seconds in spent.items()},
        "raw_bytes": 3 * SIDE * SIDE,
        "jpeg_bytes": round(sum(map(len, jpegs)) / num_views),
        "jpeg_decoded_per_second": round(num_views / decoding, 1),
    }


def encoded(view: Tensor) -> bytes:
    """A view [3, H, W] as JPEG."""
    Image.fromarray(view.permute(1, 2, 0).numpy()).save(content := io.BytesIO(), "JPEG", quality=QUALITY)
    return content.getvalue()


def decoded(content: bytes) -> Bytes:
    """The view [3, H, W] of a JPEG."""
    return np.ascontiguousarray(np.asarray(Image.open(io.BytesIO(content))).transpose(2, 0, 1))


def reader(path: Path, window: int | None, max_open: int) -> Callable[[int], Tensor]:
    """From the number of a batch to the views of its pairs, uint8 [2 NUM_PAIRS, 3, H, W]."""
    store = ViewStore.open(path, max_open)
    pool = torch.arange(len(store))

    def draw(items: Tensor, draws: torch.Generator) -> Tensor:
        first = torch.randint(NUM_VIEWS, (len(items),), generator=draws)
        second = (first + 1 + torch.randint(NUM_VIEWS - 1, (len(items),), generator=draws)) % NUM_VIEWS
        return store.views(torch.cat([store.first_row[items] + first, store.first_row[items] + second]))

    whole = EpochSequences(pool, draw, NUM_PAIRS, 0)  # type: ignore[arg-type]
    blocks = BlockSequences(pool, draw, NUM_PAIRS, 0, store.shard_ends, window or 1)  # type: ignore[arg-type]
    return (whole if window is None else blocks).__getitem__  # type: ignore[return-value]


def measure_reading(folder: Path, num_shards: int, repetitions: int) -> dict[str, object]:
    """Views a second of random pairs, from memory and from the disk, and the process's memory after an epoch, for each way."""
    items = [PackItem(f"item/{number}", "item", "train", NUM_VIEWS) for number in range(num_shards * ITEMS_PER_SHARD)]
    noise = Noise.of(NUM_VIEWS, SIDE)
    written = {"image_shape": (3, SIDE, SIDE), "latent_dim": LATENT_DIM, "settings": {}}
    spent = seconds_of(partial(pack, folder / "one", items, noise, **written))
    pack_shards(folder / "many", items, noise, items_per_shard=ITEMS_PER_SHARD, **written)
    one, many = folder / "one", folder / "many"
    settings = ((one, None, 1), (many, None, num_shards), (many, None, 2 * WINDOW), (many, WINDOW, 2 * WINDOW))
    ways = dict(zip(WAYS, settings, strict=True))
    of_a_sequence = torch.from_numpy(noise.views[:1]).repeat(NUM_TRANSITIONS, 1, 1, 1)
    floats = median(seconds_of(partial(as_float, of_a_sequence)) for _ in range(15))
    num_batches = max(1, len(items) // NUM_PAIRS)
    rate, disk, mapped = ({name: list[float]() for name in ways} for _ in range(3))
    before = resident()
    for repetition in range(repetitions + 1):
        for name, setting in ways.items():
            forget(setting[0])
            for found in (disk, rate):  # first nothing is in memory, then all that is read
                read, at_first = reader(*setting), bytes_from_disk()
                seconds = seconds_of(
                    partial(deque, map(read, range(repetition * num_batches, (repetition + 1) * num_batches)), 0)
                )
                num_views = 2 * NUM_PAIRS * num_batches
                if repetition:  # the first one warms up
                    found[name].append(num_views / seconds if found is rate else (bytes_from_disk() - at_first) / num_views)
                    mapped[name].append(resident()["mapped"] - before["mapped"])
                del read
                gc.collect()  # unmaps the files
    return {
        "views": len(items) * NUM_VIEWS,
        "megabytes": round(len(items) * NUM_VIEWS * 3 * SIDE * SIDE / 1e6),
        "shards": num_shards,
        "packed_per_second_without_decoding": round(len(items) * NUM_VIEWS / spent, 1),
        "views_per_second_from_memory": {name: round(median(rates), 1) for name, rates in rate.items()},
        "bytes_from_disk_per_view": {name: round(median(found)) for name, found in disk.items()},
        "mapped_megabytes_after_an_epoch": {name: max(found) for name, found in mapped.items()},
        "own_megabytes_grown": resident()["own"] - before["own"],
        "views_per_second_made_floats": round(NUM_TRANSITIONS / floats, 1),
    }


def forget(folder: Path) -> None:
    """Drop the folder's files from the system's cache; nobody may have them mapped."""
    for path in folder.rglob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_index(folder: Path, num_items: int) -> dict[str, object]:
    """What each item costs beside its views: to pack, on the disk, to open, and to read its name."""
    items = [
        PackItem(f"category-{number % 50:03}/object-{number:08}", f"category-{number % 50:03}", "train", 1)
        for number in range(num_items)
    ]
    written = {"image_shape": (3, 2, 2), "latent_dim": LATENT_DIM, "settings": {}}
    spent = seconds_of(partial(pack_shards, folder / "index", items, Noise.of(1, 2), items_per_shard=num_items // 8, **written))
    opened = median(seconds_of(partial(ViewStore.open, folder / "index")) for _ in range(5))
    store = ViewStore.open(folder / "index")
    before = resident()["own"]
    held = list[object]()
    named = seconds_of(lambda: held.extend(store.items))
    held_megabytes = resident()["own"] - before
    sizes = {name: sum(path.stat().st_size for path in (folder / "index").rglob(name)) for name in ("items.json", "index.npy")}
    return {
        "items": num_items,
        "microseconds_to_pack": round(1e6 * spent / num_items, 1),
        "milliseconds_to_open_8_shards": round(1e3 * opened, 2),
        "microseconds_to_read_a_name": round(1e6 * named / num_items, 2),
        "bytes_of_a_name_in_memory": round(1e6 * held_megabytes / num_items),
        "bytes_of_items_json": round(sizes["items.json"] / num_items),
        "bytes_of_index": round(sizes["index.npy"] / num_items),
    }


def measure_order() -> dict[str, object]:
    """Finding the items of sequences among 5 million in 5,000 shards: milliseconds for the first, and for each of the next."""
    pool = torch.arange(PLANNED_SHARDS * PLANNED_PER_SHARD)
    ends = torch.arange(1, PLANNED_SHARDS + 1) * PLANNED_PER_SHARD
    both = {
        "all": EpochSequences(pool, None, NUM_PAIRS, 0),  # type: ignore[arg-type]
        "window": BlockSequences(pool, None, NUM_PAIRS, 0, ends, 8),  # type: ignore[arg-type]
    }
    first = {name: seconds_of(partial(sequences.places, 0)) for name, sequences in both.items()}
    next_ones = {name: seconds_of(lambda s=s: [s.places(index) for index in range(1, 201)]) / 200 for name, s in both.items()}
    return {
        "pairs": NUM_PAIRS,
        "milliseconds_for_the_first": {name: round(1e3 * spent, 2) for name, spent in first.items()},
        "milliseconds_for_each_of_the_next": {name: round(1e3 * spent, 3) for name, spent in next_ones.items()},
    }


def table(record: dict[str, Any]) -> str:
    """What was measured, as the table of docs/large_scale.md."""
    packing, reading, index, order = (record[part] for part in ("packing", "reading", "index", "order"))
    packed, rate, disk, mapped = (packing["views_per_second"], *(reading[name] for name in READ))
    first, later = order["milliseconds_for_the_first"], order["milliseconds_for_each_of_the_next"]
    ways = "\n".join(
        f"| pairs from {words} | {rate[way]:,.0f} views/s from memory; {disk[way]:,} bytes a view from disk; {mapped[way]:,} MB mapped |"
        for way, words in WAYS.items()
    )
    return f"""| of one core | measured |
|---|---|
| JPEG of 256 pixels into raw views of 128 | {packed["one_file"]:,.0f} views/s, in shards {packed["shards"]:,.0f} |
| raw views into a store | {reading["packed_per_second_without_decoding"]:,.0f} views/s |
| a raw view of 128 pixels | {packing["raw_bytes"]:,} bytes |
| as JPEG of quality {QUALITY}, rendered objects | {packing["jpeg_bytes"]:,} bytes, {packing["jpeg_decoded_per_second"]:,.0f} decoded/s |
{ways}
| bytes to float32 fractions | {reading["views_per_second_made_floats"]:,.0f} views/s |
| own memory grown by, all ways together | {reading["own_megabytes_grown"]} MB |
| index of an item | {index["bytes_of_index"]} bytes mapped, {index["bytes_of_items_json"]} on disk |
| names, where they are asked for | {index["microseconds_to_read_a_name"]} us and {index["bytes_of_a_name_in_memory"]} bytes an item |
| packing an item of 12 bytes | {index["microseconds_to_pack"]} us |
| order of an epoch of 5 million items | {first["all"]} ms |
| order of a window of 8,000, then of 256 pairs in it | {first["window"]} ms, {later["window"]} ms |"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=4, help="rendered objects of each of 8 categories")
    parser.add_argument("--shards", type=int, default=16, help="of 63 MB, for the reads")
    parser.add_argument("--items", type=int, default=20_000, help="of the index")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the data are made and deleted; the system's own when not given"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        results = {
            "packing": measure_packing(folder, options.objects),
            "reading": measure_reading(folder, options.shards, options.repetitions),
            "index": measure_index(folder, options.items),
            "order": measure_order(),
        }
    print(table(results))
    record = {
        "environment": describe_environment(["python", "benchmarks/large_scale.py", *words]),
        "load_average": load,
        "note": "views per second of one process's processor time; medians of interleaved repetitions",
        **results,
    }
    write_text(options.out, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
