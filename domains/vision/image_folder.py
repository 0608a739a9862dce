"""The published layout of 3DIEBench: `SYNSET/OBJECT/image_{i}.jpg` beside `latent_{i}.npy`, and its split lists.

Garrido, Najman & LeCun 2023 (protocol 5.1). Any folder in this layout can be packed, whoever rendered it.
"""

from __future__ import annotations

import io
import lzma
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from contextssl.seeding import generator
from domains.vision.packing import BadItemError, PackItem, pack
from domains.vision.sharded_packing import pack_shards
from domains.vision.view_store import Bytes, Floats, ViewStore

# The columns of a latent file with their ranges, in radians and turns.
LATENTS = {
    "euler_x": (-math.pi / 2, math.pi / 2),
    "euler_y": (-math.pi / 2, math.pi / 2),
    "euler_z": (-math.pi / 2, math.pi / 2),
    "floor_hue": (0.0, 1.0),
    "light_theta": (0.0, math.pi / 4),
    "light_phi": (0.0, 2 * math.pi),
    "light_hue": (0.0, 1.0),
}
TRAIN, TEST = "train", "test"
TEST_SHARE = 0.2  # of the objects where no split is published; the published one has .201
SPLIT_SEED = 0
FILE_OF_A_VIEW = re.compile(r"(?:image_(\d+)\.jpg|latent_(\d+)\.npy)")

Array = TypeVar("Array", Bytes, Floats)


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """Reads one object of a folder: images of `source_size` (W, H), resized to `size` with PIL's bilinear filter."""

    root: Path
    size: int
    source_size: tuple[int, int]

    def __call__(self, item: PackItem) -> tuple[Bytes, Floats]:
        """Views uint8 [V, 3, size, size] and latents [V, 7]; BadItemError with everything that is wrong with the object."""
        if item.num_views < 2:
            raise BadItemError(f"{item.num_views} view{'s' * (item.num_views != 1)} where at least 2 are needed")
        folder, numbers = self.root / item.name, range(item.num_views)
        problems: list[str] = []
        views = _read_all(self._image, [folder / f"image_{number}.jpg" for number in numbers], problems)
        latents = _read_all(_latent, [folder / f"latent_{number}.npy" for number in numbers], problems)
        if problems:
            raise BadItemError(_some(problems, 4))
        return np.stack(views), np.stack(latents)

    def _image(self, path: Path) -> Bytes:
        if not path.is_file():
            raise BadItemError("is missing")
        try:
            with Image.open(path) as image:
                found = image.size
                pixels = image.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        except (OSError, SyntaxError, ValueError) as error:
            raise BadItemError(f"cannot be read ({str(error).replace(str(path), path.name)})") from error
        if found != self.source_size:
            raise BadItemError(
                f"has {found[0]}x{found[1]} pixels where the others have {self.source_size[0]}x{self.source_size[1]}"
            )
        return np.asarray(pixels).transpose(2, 0, 1)


def _read_all(read: Callable[[Path], Array], paths: Sequence[Path], problems: list[str]) -> list[Array]:
    """What could be read, and in `problems` what could not."""
    arrays = []
    for path in paths:
        try:
            arrays.append(read(path))
        except BadItemError as error:
            problems.append(f"{path.name} {error}")
    return arrays


def _latent(path: Path) -> Floats:
    """[7] numbers of a latent file, checked for width and ranges."""
    if not path.is_file():
        raise BadItemError("is missing")
    try:
        latent = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadItemError(f"cannot be read ({error})") from error
    if latent.shape != (len(LATENTS),) or latent.dtype.kind not in "fiu":
        raise BadItemError(f"holds {latent.dtype} {list(latent.shape)} where {len(LATENTS)} numbers are needed")
    for (name, (low, high)), value in zip(LATENTS.items(), latent.tolist(), strict=True):
        if not low - 1e-5 <= value <= high + 1e-5:  # also a nan; float32 may round beyond the end
            raise BadItemError(f"has {name} {value:.4g} outside {low:.4g}..{high:.4g}")
    checked: Floats = latent.astype(np.float32)
    return checked


def pack_folder(
    root: Path, out: Path, *, size: int = 128, splits: Path | None = None, processes: int = 1, skip_bad: bool = False,
    items_per_shard: int | None = None,
) -> ViewStore:  # fmt: skip
    """The store made from a folder in the published layout; goes on where an interrupted call stopped.

    Args:
        root: the folder.
        out: folder of the store.
        size: side of the packed images in pixels.
        splits: folder of the published lists; `root` when None. See `object_splits`.
        processes: how many decode at the same time.
        skip_bad: leave out objects that cannot be packed, and listed objects that are not there.
        items_per_shard: pack into shards of so many objects, in random order so that each shard is like the others; into one
            file when None.

    Raises:
        FileNotFoundError, ValueError, OSError: as `object_splits` and `packing.pack` say.
    """
    if size < 1:
        raise ValueError(f"size: expected at least 1 pixel, found {size}")
    counts = dict(_objects(root))
    if not counts:
        raise FileNotFoundError(
            f"{root} holds no objects: expected SYNSET/OBJECT/image_0.jpg, image_1.jpg... beside latent_0.npy..."
        )
    parts, missing, source = object_splits([*counts], root, splits)
    if missing and not skip_bad:
        raise ValueError(
            f"the split lists name {len(missing):,} objects that are not in {root}: {_some(missing)}; complete the folder, or add "
            "skip_bad=true to go on without them"
        )
    items = [PackItem(name, name.partition("/")[0], part, counts[name]) for name, part in parts.items()]
    reader = ObjectReader(root, size, _usual_size(root, items))
    settings = {"root": str(root.resolve()), "size": size, "source_size": list(reader.source_size), "filter": "PIL bilinear",
                "latents": list(LATENTS), "split": source}  # fmt: skip
    skipped = dict.fromkeys(missing, "in a split list, but not in the folder")
    write = pack
    if items_per_shard is not None:
        order = torch.randperm(len(items), generator=generator(SPLIT_SEED, "shards"))
        items, write = [items[place] for place in order.tolist()], partial(pack_shards, items_per_shard=items_per_shard)
    write(out, items, reader, image_shape=(3, size, size), latent_dim=len(LATENTS), settings=settings, processes=processes,
          skip_bad=skip_bad, skipped=skipped)  # fmt: skip
    return ViewStore.open(out)


def object_splits(names: Sequence[str], root: Path, splits: Path | None) -> tuple[dict[str, str], list[str], str]:
    """The split of each object, training objects first; the listed objects that do not exist; where the split comes from.

    Published lists: `val_images.npy` names the test objects and `train_images.npy`, if it is there, the training objects;
    without it they are all others. Without lists: a share of each synset is drawn with a fixed seed.

    Args:
        names: of all objects, "SYNSET/OBJECT".
        root: where lists are looked for when `splits` is None.
        splits: folder with the lists, plain or compressed with xz.

    Raises:
        FileNotFoundError: when `splits` is given and has no val_images.npy.
        ValueError: for lists that share objects, and for labels that do not fit them.
    """
    folder = root if splits is None else splits
    test = read_split_list(folder, "val")
    if test is None:
        if splits is not None:
            raise FileNotFoundError(f"{splits} holds no val_images.npy (or .npy.xz); give the folder of the split lists")
        held_out = {name for name, chosen in zip(names, held_out_objects(names, TEST_SHARE, SPLIT_SEED), strict=True) if chosen}
        train, test, source = [n for n in names if n not in held_out], [n for n in names if n in held_out], "seeded by object"
    else:
        listed = read_split_list(folder, "train")
        source = "published lists" if listed is not None else "published validation list, all other objects for training"
        train = sorted(set(names) - set(test)) if listed is None else listed
        if both := sorted(set(train) & set(test)):
            raise ValueError(f"{folder}: train_images.npy and val_images.npy share {len(both):,} objects: {_some(both)}")
    known = set(names)
    parts = {name: part for part, members in ((TRAIN, train), (TEST, test)) for name in sorted(members) if name in known}
    return parts, sorted({*train, *test} - known), source


def read_split_list(folder: Path, name: str) -> list[str] | None:
    """The objects "SYNSET/OBJECT" of {name}_images.npy, or None where there is no such list; its labels are checked.

    Raises:
        ValueError: for a list that cannot be read, names an object twice, or has labels that are no numbering of its synsets.
    """
    paths = _list(folder, f"{name}_images.npy")
    if paths is None:
        return None
    objects = ["/".join(part for part in str(path).split("/") if part) for path in paths.tolist()]
    if wrong := [path for path in objects if path.count("/") != 1]:
        raise ValueError(f"{folder}: {name}_images.npy has entries that are not SYNSET/OBJECT: {_some(wrong)}")
    if twice := [path for path, count in Counter(objects).items() if count > 1]:
        raise ValueError(f"{folder}: {name}_images.npy names objects twice: {_some(twice)}")
    labels = _list(folder, f"{name}_labels.npy")
    if labels is not None:
        pairs = {(path.partition("/")[0], label) for path, label in zip(objects, labels.tolist(), strict=False)}
        if len(labels) != len(objects) or not len(pairs) == len({s for s, _ in pairs}) == len({label for _, label in pairs}):
            raise ValueError(
                f"{folder}: {name}_labels.npy does not number the synsets of {name}_images.npy; take both from one source"
            )
    return objects


def held_out_objects(names: Sequence[str], share: float, seed: int) -> list[bool]:
    """Which objects are set aside: this share of each synset's, at least one where there are two, chosen with the seed."""
    members: dict[str, list[int]] = {}
    for index in sorted(range(len(names)), key=lambda index: names[index]):
        members.setdefault(names[index].partition("/")[0], []).append(index)
    chosen = [False] * len(names)
    for synset, indices in members.items():
        count = max(1, round(share * len(indices))) if len(indices) > 1 else 0
        for position in torch.randperm(len(indices), generator=generator(seed, f"held out/{synset}"))[:count].tolist():
            chosen[indices[position]] = True
    return chosen


def _list(folder: Path, name: str) -> npt.NDArray[np.generic] | None:
    """The array of one list, plain or compressed; None where there is no such file."""
    for path in (folder / name, folder / f"{name}.xz"):
        if path.is_file():
            try:
                content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
                array: npt.NDArray[np.generic] = np.load(io.BytesIO(content), allow_pickle=False)
            except (lzma.LZMAError, ValueError, EOFError) as error:
                raise ValueError(f"{path} cannot be read as an array ({error}); fetch it again") from error
            return array.reshape(-1)
    return None


def _objects(root: Path) -> Iterator[tuple[str, int]]:
    """Every SYNSET/OBJECT folder with the number of views its files go up to, sorted."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; root is the folder that holds SYNSET/OBJECT/image_0.jpg")
    for synset in _folders(root):
        for found in _folders(synset):
            numbers = [FILE_OF_A_VIEW.fullmatch(entry.name) for entry in os.scandir(found)]
            indices = [int(match[1] or match[2]) for match in numbers if match]
            yield f"{synset.name}/{found.name}", max(indices, default=-1) + 1


def _folders(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _usual_size(root: Path, items: Sequence[PackItem]) -> tuple[int, int]:
    """(W, H) that most of a few first images have."""
    sizes: Counter[tuple[int, int]] = Counter()
    for item in items[:: max(1, len(items) // 9)]:
        try:
            with Image.open(root / item.name / "image_0.jpg") as image:
                sizes[image.size] += 1
        except OSError:
            continue  # packing will name it
    if not sizes:
        raise ValueError(f"{root}: none of the first images can be read; is this a folder of JPEG files in the published layout?")
    width, height = sizes.most_common(1)[0][0]
    if width != height:
        raise ValueError(f"{root}: the images have {width}x{height} pixels; square ones are needed, crop them first")
    return width, height


def _some(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
