"""3DIEBench, and every folder in its layout: objects under rotation, with coloured light on a coloured floor.

Garrido, Najman & LeCun 2023; actions and views as in Gupta et al. 2024 (protocol 1.2 and 5.1).

N rows, T transitions, A action width, L latent width.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.adapters import relative_action, trajectory
from contextssl.adapters.items import as_float
from contextssl.adapters.trajectories import distinct_views
from contextssl.batch import Transitions, stack
from contextssl.seeding import generator
from domains.vision.encoders import Pixels, resnet
from domains.vision.epochs import BlockSequences, EpochSequences
from domains.vision.image_folder import TEST, TRAIN, held_out_objects, pack_folder
from domains.vision.view_store import MANIFEST, MAX_OPEN, ViewStore

PIXELS = Pixels(mean=(0.5016, 0.5037, 0.5060), std=(0.1030, 0.0999, 0.0969))
NUM_MEASURED = 4096  # training pairs that the scales of actions and latents are measured on

ROTATION = Group("rotation", 4, 4, Kind.QUATERNION, "quaternion of R_x^-1 R_y, scalar last, sign as it comes")
COLOR = Group("color", 2, 2, Kind.CIRCULAR, "turns: floor hue, light hue; differences without wrapping")
LIGHT = Group("light", 2, 2, Kind.REAL, "radians: polar angle 0..pi/4 and azimuth 0..2 pi of the light; differences")


class ThreeDIEBench(DomainAdapter):
    """Views of objects; a pair is two different views of one object.

    Groups `rotation`, `color` and, if asked for, `light`. States are float32 fractions of 255, [3, H, W]; labelled inputs
    stay uint8, a quarter of the memory. Encoders take both and normalise by themselves. Targets: `category`, `rotation`
    (quaternion of the view), `color` (both hues) and `light`.

    The published validation list is the test split; validation objects are a share of the training objects of each
    category, chosen with the seed.

    Args:
        root: folder of the packed views (see `prepare`); None looks where `locate` looks.
        light: whether the light's position is a third group. It varies in the images in any case.
        encoder: from the statistics of the pixels to a fresh encoder.
        validation_share: share of the training objects that is set aside.
        views_per_object: at most so many views of each object in `labelled`, chosen at random; None for all of them.
        seed: of the validation objects and the labelled views.
        trajectories: whether every sequence shows one object, T + 1 of its views in random order (for seq-JEPA).
        window: of a store in shards, training reads so many shards at a time (`BlockSequences`); any of them when None.

    Raises:
        FileNotFoundError: when there are no packed views.
        ValueError: for an argument out of range, or a split without objects.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        light: bool = False,
        encoder: Callable[[Pixels], nn.Module] = resnet,
        validation_share: float = 0.1,
        views_per_object: int | None = None,
        seed: int = 0,
        trajectories: bool = False,
        window: int | None = None,
    ) -> None:
        if not 0 < validation_share < 1:
            raise ValueError(f"validation_share must be above 0 and below 1, found {validation_share}")
        if views_per_object is not None and views_per_object < 1:
            raise ValueError(f"views_per_object must be at least 1, found {views_per_object}")
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1 shard, found {window}")
        # Two windows: a sequence may begin in one and end in the next.
        self.store = ViewStore.open(locate(None if root is None else Path(root)), 2 * window if window else MAX_OPEN)
        self._encoder, self._views_per_object, self._seed, self.trajectories = encoder, views_per_object, seed, trajectories
        self._window = window
        self.objects = _objects(self.store, validation_share, seed)
        self.actions = ActionSpace([ROTATION, COLOR, LIGHT] if light else [ROTATION, COLOR])
        draws = generator(seed, "scales")
        pool = self.objects[Split.TRAIN]
        rows = self._draw_pairs(pool[torch.randint(len(pool), (NUM_MEASURED,), generator=draws)], draws)
        latent = self.latent(rows)
        self.actions = self.actions.measured(relative_action(self.actions, latent[:, 0], latent[:, 1]), latent)
        self.manifest = self._manifest(validation_share)

    def build_encoder(self) -> nn.Module:
        """A fresh encoder of images [N, 3, H, W]."""
        return self._encoder(PIXELS)

    def train_sequences(self, length: int, seed: int) -> EpochSequences:
        """Sequences that show every training object once an epoch, in an order of its own."""
        draw, num_objects = self._drawer(length)
        pool = self.objects[Split.TRAIN]
        if self._window is None:
            return EpochSequences(pool, draw, num_objects, seed)
        return BlockSequences(pool, draw, num_objects, seed, self.store.shard_ends, self._window)

    def held_out(self, length: int, count: int, seed: int, split: Split = Split.TRAIN) -> Transitions:
        """`count` sequences of pairs; objects are drawn with replacement (protocol 6.0)."""
        pool, (draw_sequence, num_objects) = self.objects[Split(split)], self._drawer(length)

        def draw(index: int) -> Transitions:
            draws = generator(seed, f"held-out/{Split(split)}/{index}")
            return draw_sequence(pool[torch.randint(len(pool), (num_objects,), generator=draws)], draws)

        return stack([draw(index) for index in range(count)])

    def labelled(self, split: Split) -> LabelledData:
        """Views of the split's objects, object by object, the same at every call."""
        objects = self.objects[Split(split)]
        rows = self.store.rows(objects)
        item = objects.repeat_interleave(self.store.num_views[objects])
        if self._views_per_object is not None:
            # Random keys, sorted within each object: the views with the smallest ones are kept, in their order.
            keys = torch.rand(len(rows), generator=generator(self._seed, f"labelled/{Split(split)}"), dtype=torch.float64)
            order = (item + keys).argsort()
            first = torch.searchsorted(item, item[order])
            kept = order[torch.arange(len(rows)) - first < self._views_per_object].sort().values
            rows, item = rows[kept], item[kept]
        latent = self.latent(rows)
        groups = [ProbeTarget(g.name, latent[:, self.actions.latent_slice(g.name)], group=g.name) for g in self.actions.groups]
        category = ProbeTarget("category", self.store.label[item], len(self.store.categories))
        return LabelledData(self.store.views(rows), item, latent, (category, *groups))

    def pairs(self, objects: Tensor, draws: torch.Generator) -> Transitions:
        """One sequence: a random ordered pair of different views of each object [T]."""
        rows = self._draw_pairs(objects, draws)
        x, y = (as_float(self.store.views(rows[:, view])) for view in (0, 1))
        latent = self.latent(rows)
        return Transitions(x[None], relative_action(self.actions, latent[:, 0], latent[:, 1])[None], y[None], latent[None])

    def trajectory(self, item: Tensor, draws: torch.Generator, length: int) -> Transitions:
        """One sequence: `length` + 1 views of the object [1] one after the other, different ones while there are enough."""
        rows = self.store.first_row[item] + distinct_views(int(self.store.num_views[item]), length + 1, draws)
        return trajectory(as_float(self.store.views(rows)), self.latent(rows), partial(relative_action, self.actions))

    def _drawer(self, length: int) -> tuple[Callable[[Tensor, torch.Generator], Transitions], int]:
        """What makes a sequence, and of how many objects."""
        return (partial(self.trajectory, length=length), 1) if self.trajectories else (self.pairs, length)

    def latent(self, rows: Tensor) -> Tensor:
        """[..., L] latents of rows: quaternion, floor hue and light hue, and the light's angles where they are a group."""
        raw = self.store.latents[rows]
        parts = [quaternion(raw[..., :3]), raw[..., [3, 6]], raw[..., 4:6]]
        return torch.cat(parts[: len(self.actions.groups)], dim=-1)

    def _draw_pairs(self, objects: Tensor, draws: torch.Generator) -> Tensor:
        """[T, 2] rows of x and y."""
        count = self.store.num_views[objects]
        place = torch.rand(2, len(objects), generator=draws, dtype=torch.float64)
        first = (place[0] * count).long()
        second = (first + 1 + (place[1] * (count - 1)).long()) % count
        return self.store.first_row[objects, None] + torch.stack([first, second], dim=1)

    def _manifest(self, validation_share: float) -> dict[str, object]:
        return {
            "name": "iebench",
            "source": self.store.manifest["made"],
            "sha256": self.store.manifest["sha256"],
            "num_skipped": len(self.store.manifest["skipped"]),
            "objects": {str(split): len(objects) for split, objects in self.objects.items()},
            "views": {str(split): int(self.store.num_views[objects].sum()) for split, objects in self.objects.items()},
            "categories": list(self.store.categories),
            "image_shape": list(self.store.image_shape),
            "validation_share": validation_share,
            "views_per_object": self._views_per_object,
            "seed": self._seed,
            "groups": {group.name: group.units for group in self.actions.groups},
        }


def quaternion(angles: Tensor) -> Tensor:
    """[..., 4] unit quaternions, scalar last, of Euler angles [..., 3] about the fixed axes x, then y, then z (radians)."""
    half = angles / 2
    (cx, cy, cz), (sx, sy, sz) = half.cos().unbind(-1), half.sin().unbind(-1)
    x, y = sx * cy * cz - cx * sy * sz, cx * sy * cz + sx * cy * sz
    z, w = cx * cy * sz - sx * sy * cz, cx * cy * cz + sx * sy * sz
    return torch.stack([x, y, z, w], dim=-1)


def _objects(store: ViewStore, validation_share: float, seed: int) -> dict[Split, Tensor]:
    """The objects of each split."""
    train = store.split(TRAIN)
    items = store.items
    chosen = torch.tensor(held_out_objects([items[index].name for index in train.tolist()], validation_share, seed))
    found = {Split.TRAIN: train[~chosen], Split.VALIDATION: train[chosen], Split.TEST: store.split(TEST)}
    if empty := [str(split) for split, objects in found.items() if not len(objects)]:
        raise ValueError(f"{store.path}: no objects for {' and '.join(empty)}; pack at least three objects of one category")
    return found


def locate(root: Path | None = None) -> Path:
    """Where the packed views are: `root`; else $CONTEXTSSL_DATA/iebench if packed there; else iebench in the user cache."""
    if root is not None:
        return root
    packs = os.environ.get("CONTEXTSSL_DATA")
    if packs and (Path(packs) / "iebench" / MANIFEST).is_file():
        return Path(packs) / "iebench"
    return Path(os.environ.get("CONTEXTSSL_CACHE") or Path.home() / ".cache" / "contextssl") / "iebench"


def prepare(
    root: Path | None = None, out: str | Path | None = None, size: int = 128, splits: str | Path | None = None,
    processes: int | None = None, skip_bad: bool = False, items_per_shard: int | None = None,
) -> list[str]:  # fmt: skip
    """Pack a folder in the published layout into `out` (where `locate` looks, when None) and describe the result.

    With `items_per_shard` the objects are shuffled and packed into shards of so many; else into one file. Raises what `pack_folder` raises; `processes` is the number of cores when None.
    """
    if root is None:
        raise FileNotFoundError(
            "3DIEBench is not fetched from here: it is 17 GB under a non-commercial licence, see github.com/facebookresearch/SIE; "
            "then run contextssl data prepare iebench root=<folder of SYNSET/OBJECT/image_0.jpg>"
        )
    target = locate() if out is None else Path(out)
    lists = None if splits is None else Path(splits)
    pack_folder(
        root, target, size=size, splits=lists, processes=processes or os.cpu_count() or 1, skip_bad=skip_bad,
        items_per_shard=items_per_shard,
    )  # fmt: skip
    return info(target)


def verify(root: Path | None = None) -> list[str]:
    """One line that says how much was read again and found unchanged; ValueError naming what is damaged otherwise."""
    store = ViewStore.open(locate(root))
    store.verify()
    return [f"{store.path}: {store.manifest['num_views']:,} views of {len(store):,} objects are as they were packed"]


def info(root: Path | None = None) -> list[str]:
    """What is packed: where from, objects and views in each split, categories, what was skipped."""
    store = ViewStore.open(locate(root))
    settings, skipped = store.manifest["made"]["settings"], store.manifest["skipped"]
    parts = [
        f"{name} {len(objects := store.split(name)):,} objects, {int(store.num_views[objects].sum()):,} views"
        for name in (TRAIN, TEST)
    ]
    lines = [
        f"{store.path}: {store.image_shape[1]}x{store.image_shape[2]} pixels, from {settings['root']}",
        f"split ({settings['split']}): {'; '.join(parts)}",
        f"{len(store.categories)} categories: {', '.join(store.categories[:8])}{', ...' if len(store.categories) > 8 else ''}",
        f"SHA-256 of the items: {store.digest}",
    ]
    lines += [f"{len(store.shard_ends):,} shards"] * (len(store.shard_ends) > 1)
    return lines + [f"skipped {len(skipped):,} objects: {', '.join([*skipped][:10])}"] * bool(skipped)
