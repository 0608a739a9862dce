"""A domain from a folder of your own images: a CSV names each view's file, its item and the parameters it was made with.

I items, V views of each, L latent width.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import ProbeTarget
from contextssl.adapters import ViewsAdapter
from contextssl.files import sha256
from contextssl.seeding import generator
from domains.vision.encoders import Pixels, SmallConvNet

IMAGE, ITEM, CATEGORY = "image", "item", "category"


def image_table(
    table: str | Path, groups: Mapping[str, Mapping[str, Any]], *, size: int = 32, views_per_item: int | None = None,
    encoder: Callable[[Pixels], nn.Module] = SmallConvNet, shares: tuple[float, float] = (0.15, 0.15), seed: int = 0,
    trajectories: bool = False,
) -> ViewsAdapter:  # fmt: skip
    """The domain that a CSV describes; images are decoded once and kept in memory as bytes.

    The table has the columns `image` (a path, from the table's folder), `item` (which thing is seen), optionally
    `category` (one per item), and one column for each parameter. Views of one item are never in two splits.

    Args:
        table: the CSV file.
        groups: for each group of transformations its `columns`, their `kind` (`contextssl.actions.Kind`, real by default)
            and their `units`.
        size: images are resized to size x size pixels.
        views_per_item: so many views of each item, drawn at random; None for all, which then must be equally many.
        encoder: from the statistics of the pixels to a fresh encoder.
        shares: fractions of the items for validation and test.
        seed: of the split and of the drawn views.
        trajectories: whether every sequence shows one item.

    Raises:
        FileNotFoundError: for a missing table or image.
        ValueError: for a missing column, a cell that is no number, an item with too few views or two categories, or a
            file that is no image; the message names the line.
    """
    path = Path(table)
    space = ActionSpace([_group(name, **settings) for name, settings in groups.items()])
    columns = [column for settings in groups.values() for column in settings["columns"]]
    rows = _read(path, columns)
    items = _views_of(rows, views_per_item, seed, path)
    latents = torch.tensor([[[float(row[column]) for column in columns] for row in views] for views in items.values()])
    images = torch.stack([torch.stack([_image(path.parent / row[IMAGE], size) for row in views]) for views in items.values()])
    targets = [_category(items, path)] if CATEGORY in rows[0] else []
    fractions = images.flatten(0, 1).transpose(0, 1).flatten(1).float() / 255
    pixels = Pixels(mean=tuple(fractions.mean(1).tolist()), std=tuple(fractions.std(1).clamp_min(1e-3).tolist()))
    adapter = ViewsAdapter(
        images, latents, space, targets, encoder=lambda: encoder(pixels), shares=shares, seed=seed, trajectories=trajectories
    )
    adapter.manifest |= {"name": path.stem, "source": f"{path.name}, SHA-256 {sha256(path)}", "size": size}
    return adapter


def _group(name: str, columns: Sequence[str] = (), kind: str = Kind.REAL, units: str = "") -> Group:
    """The group of that name; TypeError for a setting that does not exist."""
    if kind not in list(Kind):
        raise ValueError(f"group {name!r}: kind {kind!r} is none of {', '.join(Kind)}")
    needed = {Kind.QUATERNION: 4, Kind.SWITCH: 1}.get(Kind(kind))
    if not columns or (needed and len(columns) != needed):
        raise ValueError(f"group {name!r}: a {kind} has {needed or 'at least 1'} of the table's columns, found {list(columns)}")
    action_dim = 2 if kind == Kind.SWITCH else len(columns)
    return Group(name, action_dim, len(columns), Kind(kind), units or ", ".join(columns))


def _read(path: Path, parameters: Sequence[str]) -> list[dict[str, str]]:
    """Every line of the table, its numbers checked."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such table; give a CSV with the columns {IMAGE}, {ITEM} and the parameters as domain.table"
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        header = reader.fieldnames or []
        if missing := [column for column in (IMAGE, ITEM, *parameters) if column not in header]:
            raise ValueError(f"{path}: no column {missing[0]!r}; the table has {', '.join(header) or 'none'}")
        rows = list(reader)
    for line, row in enumerate(rows, start=2):
        for column in parameters:
            if not _is_number(row[column]):
                raise ValueError(f"{path}:{line}: {column} is {row[column]!r}, which is not a finite number")
    if not rows:
        raise ValueError(f"{path}: the table has no rows")
    return rows


def _is_number(cell: str | None) -> bool:
    try:
        return math.isfinite(float(cell or ""))
    except ValueError:
        return False


def _views_of(rows: list[dict[str, str]], num_views: int | None, seed: int, path: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of each item, equally many of them."""
    items: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        items.setdefault(row[ITEM], []).append(row)
    wanted = max(2, num_views or max(len(views) for views in items.values()))
    if short := [name for name, views in items.items() if len(views) < wanted]:
        raise ValueError(
            f"{path}: {len(short)} of {len(items)} items have fewer than {wanted} views, such as {short[0]!r} with "
            f"{len(items[short[0]])}; remove them, or give a smaller domain.views_per_item (at least 2)"
        )

    def drawn(name: str) -> list[dict[str, str]]:
        order = torch.randperm(len(items[name]), generator=generator(seed, f"views/{name}"))[:wanted]
        return [items[name][index] for index in order.sort().values.tolist()]

    return {name: drawn(name) for name in items}


def _image(path: Path, size: int) -> Tensor:
    """uint8 [3, size, size], resized with PIL's bilinear filter."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such image; paths in the table start at its own folder")
    try:
        with Image.open(path) as image:
            pixels = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}); replace it or remove its line") from error
    return torch.from_numpy(np.asarray(pixels).copy()).permute(2, 0, 1)


def _category(items: Mapping[str, Sequence[Mapping[str, str]]], path: Path) -> ProbeTarget:
    """One class per item, numbered in alphabetical order."""
    of_item = {name: {row[CATEGORY] for row in views} for name, views in items.items()}
    if mixed := [name for name, found in of_item.items() if len(found) > 1]:
        raise ValueError(f"{path}: item {mixed[0]!r} has several categories, {', '.join(sorted(of_item[mixed[0]]))}; give it one")
    names = sorted(set.union(*of_item.values()))
    labels = torch.tensor([names.index(found.pop()) for found in of_item.values()])
    return ProbeTarget(CATEGORY, labels, len(names))
