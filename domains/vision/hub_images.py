"""Images of any data set in the `datasets` hub, streamed into a `ViewStore` in shards; the whole set is never in memory.

A streamed set comes in parts, mostly one a file. A process reads one part from its beginning, holds the encoded images of
one shard, packs it, and goes on; a part's list of shards is written when it has been read to its end. After an interruption
whole parts are not opened again, and of a part that was begun the rows of whole shards are skipped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from contextssl.files import write_text
from domains.vision.packing import BadItemError, PackItem
from domains.vision.procedural.packages import MissingPackageError
from domains.vision.sharded_packing import begin, check_items_per_shard, finish, raise_problems, run_jobs, write_shard
from domains.vision.view_store import MANIFEST, Bytes, Floats, ViewStore

try:
    import datasets
except ImportError:  # pragma: no cover
    datasets = None

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HubImages:
    """A data set of images in the hub, or in a folder of Parquet files or images.

    Attributes:
        name: in the hub, such as `uoft-cs/cifar10`, or a folder.
        image: the column of the images.
        label: the column of the classes; None when there are none.
        config: which of the set's configurations, where there are several.
        revision: a commit of the set; without it, what is newest when a part is opened.
    """

    name: str
    image: str = "image"
    label: str | None = "label"
    config: str | None = None
    revision: str | None = None

    def stream(self, split: str) -> datasets.IterableDataset:
        """The rows of a split, images left encoded; nothing but the schema is fetched yet.

        Raises:
            MissingPackageError: when `datasets` is not installed.
            ValueError: for a name, split or column that is not there, and for a column without images.
        """
        if datasets is None:
            raise MissingPackageError("sets of the hub are read with the package `datasets`; install it: pip install datasets")
        try:
            rows = datasets.load_dataset(self.name, self.config, split=split, revision=self.revision, streaming=True)
        except (ValueError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"{self.name}, split {split!r}, cannot be opened ({reason}); check name, config and splits"
            ) from error
        return self.checked(rows)

    def checked(self, rows: datasets.IterableDataset) -> datasets.IterableDataset:
        """The same rows, images left encoded; ValueError unless both columns are there and one has images."""
        known: Row = rows.features or next(iter(rows), {})
        for column in filter(None, (self.image, self.label)):
            if column not in known:
                raise ValueError(
                    f"{self.name} has no column {column!r} but {', '.join(known)}; give image=<column> label=<column>"
                )
        if rows.features is None:
            return rows
        if not isinstance(rows.features[self.image], datasets.Image):
            having = [column for column, kind in rows.features.items() if isinstance(kind, datasets.Image)]
            raise ValueError(
                f"{self.name}: column {self.image!r} has no images; {', '.join(having) or 'none'} has, give image=<column>"
            )
        return rows.cast_column(self.image, datasets.Image(decode=False))


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `num_parts` of one split of the set, packed as `split`."""

    split: str
    source_split: str
    number: int
    num_parts: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.split}-{self.number:05}"


@dataclass(frozen=True, slots=True)
class RowReader:
    """Decodes encoded images [by the items' names] and cuts the largest middle square, resized with PIL's bilinear filter."""

    encoded: Mapping[str, Any]
    size: int

    def __call__(self, item: PackItem) -> tuple[Bytes, Floats]:
        """One view uint8 [1, 3, size, size] and no latents [1, 0]; BadItemError for what is no image."""
        value = self.encoded[item.name]
        try:
            if not isinstance(value, dict):
                value = datasets.Image().encode_example(value)
            image = datasets.Image().decode_example(value).convert("RGB")
        except (OSError, SyntaxError, ValueError, TypeError) as error:
            raise BadItemError(f"cannot be read ({error})") from error
        pixels = np.asarray(ImageOps.fit(image, (self.size, self.size), Image.Resampling.BILINEAR))
        return pixels.transpose(2, 0, 1)[None], np.empty((1, 0), np.float32)


def pack_hub(
    source: HubImages, out: Path, splits: Mapping[str, str], *, size: int = 128, items_per_shard: int = 4096, processes: int = 1,
    skip_bad: bool = False,
) -> ViewStore:  # fmt: skip
    """The store made from a streamed set, one view an item; goes on where an interrupted call stopped.

    Args:
        source: what is read.
        out: folder of the store.
        splits: from the store's splits to those of the set, {"train": "train", "test": "validation"}.
        size: side of the packed images in pixels.
        items_per_shard: so many in a shard; a part's last shard has what is left.
        processes: how many parts are read at the same time.
        skip_bad: leave out rows that are no images.

    Raises:
        MissingPackageError, ValueError: as `HubImages.stream`, and for rows that are no images unless `skip_bad`.
        FileExistsError, OSError: as `packing.pack`.
    """
    check_items_per_shard(items_per_shard)
    if size < 1:
        raise ValueError(f"size: expected at least 1 pixel, found {size}")
    settings = {**asdict(source), "root": source.name, "splits": dict(splits), "size": size, "split": "as in the hub",
                "filter": "PIL bilinear, middle square"}  # fmt: skip
    identity: dict[str, object] = {"settings": settings, "items_per_shard": items_per_shard}
    if (out / MANIFEST).is_file() and not begin(out, identity):
        return ViewStore.open(out)
    parts = [
        Part(split, source_split, number, num_parts)
        for split, source_split in splits.items()
        for num_parts in [source.stream(source_split).num_shards]
        for number in range(num_parts)
    ]
    begin(out, identity)
    work = partial(pack_part, source, out, size, items_per_shard, settings, skip_bad)
    raise_problems(run_jobs(work, parts, processes))
    finish(out, [name for part in parts for name in json.loads(_list(out, part).read_text(encoding="utf-8"))], identity, {})
    return ViewStore.open(out)


def pack_part(
    source: HubImages, out: Path, size: int, items_per_shard: int, settings: dict[str, object], skip_bad: bool, part: Part
) -> str:  # fmt: skip
    """Pack the shards of one part that are not whole; returns what is wrong with them. In a worker."""
    if _list(out, part).is_file():
        return ""
    names = (f"{part.name}-{number:05}" for number in count())
    whole = list[str]()
    while (out / (name := next(names)) / MANIFEST).is_file():
        whole.append(name)
    rows = source.stream(part.source_split).shard(part.num_parts, part.number).skip(len(whole) * items_per_shard)
    classes = getattr((rows.features or {}).get(source.label), "names", None)
    problems = list[str]()
    for chunk in _chunks(rows, items_per_shard):
        first = len(whole) * items_per_shard
        named = {f"{part.name}/{row:08}": values for row, values in enumerate(chunk, start=first)}
        items = [PackItem(key, _category(values, source.label, classes), part.split, 1) for key, values in named.items()]
        reader = RowReader({key: values[source.image] for key, values in named.items()}, size)
        problem = write_shard(out, reader, (3, size, size), 0, settings, skip_bad, (name, items))
        problems += [problem] * bool(problem)
        whole.append(name)
        name = next(names)
    if not problems:
        write_text(_list(out, part), json.dumps(whole) + "\n")
    return "; ".join(problems)


def _list(out: Path, part: Part) -> Path:
    """The file that names a part's shards, once the part has been read to its end."""
    return out / f"{part.name}.json"


def _chunks(rows: datasets.IterableDataset, length: int) -> Iterator[Sequence[Row]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, length)):
        yield chunk


def _category(values: Row, label: str | None, classes: Sequence[str] | None) -> str:
    if label is None:
        return ""
    value = values[label]
    return str(value) if classes is None or value is None or not 0 <= value < len(classes) else classes[value]


def locate(root: Path | None, name: str | None) -> Path:
    """The folder of the store: `root`, or the set's name in the user cache; ValueError without either."""
    if root is not None:
        return root
    if not name:
        raise ValueError("which data set? give name=<name in the hub, or a folder>, such as name=uoft-cs/cifar10")
    cache = Path(os.environ.get("CONTEXTSSL_CACHE") or Path.home() / ".cache" / "contextssl")
    return cache / "hub" / name.strip("/").replace("/", "--")


def prepare(
    root: Path | None = None, *, name: str | None, image: str = "image", label: str | None = "label", config: str | None = None,
    revision: str | None = None, splits: Mapping[str, str], size: int = 128, items_per_shard: int = 4096,
    processes: int | None = None, skip_bad: bool = False,
) -> list[str]:  # fmt: skip
    """Stream a set into the store at `locate(root, name)` and describe it. Raises what `pack_hub` raises."""
    out = locate(root, name)
    if not name:
        raise ValueError("which data set? give name=<name in the hub, or a folder>, such as name=uoft-cs/cifar10")
    source = HubImages(name, image, label, config, revision)
    pack_hub(source, out, splits, size=size, items_per_shard=items_per_shard, processes=processes or os.cpu_count() or 1,
             skip_bad=skip_bad)  # fmt: skip
    return info(out)


def verify(root: Path | None = None, *, name: str | None = None) -> list[str]:
    """One line that says how much was read again and found unchanged; ValueError naming what is damaged otherwise."""
    store = ViewStore.open(locate(root, name))
    store.verify()
    return [f"{store.path}: {len(store):,} images in {len(store.shard_ends):,} shards are as they were packed"]


def info(root: Path | None = None, *, name: str | None = None) -> list[str]:
    """What is packed: where from, images of each split, classes, what was skipped."""
    store = ViewStore.open(locate(root, name))
    settings, skipped = store.manifest["made"]["settings"], store.manifest["skipped"]
    parts = [f"{split} {len(store.split(split)):,} images ({source})" for split, source in settings["splits"].items()]
    lines = [
        f"{store.path}: {store.image_shape[1]}x{store.image_shape[2]} pixels, {len(store.shard_ends):,} shards, from {settings['name']}",
        f"{'; '.join(parts)}; {len(store.categories)} classes",
        f"SHA-256 of the items: {store.digest}",
    ]
    return lines + [f"skipped {len(skipped):,} images: {', '.join([*skipped][:10])}"] * bool(skipped)
