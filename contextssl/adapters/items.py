"""What the ready-made adapters share: items split once, and sequences that depend on (seed, index) only.

I items, N rows, T transitions, L latent width.
"""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.adapters.relative import relative_action
from contextssl.adapters.trajectories import trajectory
from contextssl.batch import Transitions, stack
from contextssl.seeding import generator

Relative = Callable[[Tensor, Tensor], Tensor]
"""(t^x [N, L], t^y [N, L]) -> actions [N, A]."""


@dataclass(frozen=True, slots=True)
class DrawnSequences:
    """Sequence i is `draw` with a random stream of its own, made from (seed, purpose, i)."""

    draw: Callable[[torch.Generator], Transitions]
    num_sequences: int
    seed: int
    purpose: str

    def __len__(self) -> int:
        return self.num_sequences

    def __getitem__(self, index: int) -> Transitions:
        if index < 0:
            raise ValueError(f"sequence index: expected 0 or more, found {index}")
        return self.draw(generator(self.seed, f"{self.purpose}/{index}"))


class ItemAdapter(DomainAdapter):
    """A domain of I items, each seen through transformed views. Subclasses say how views are made.

    Args:
        actions: the groups; their scales are measured here on training pairs.
        targets: what else may be read out, one row per item; every group's own parameters are added to them.
        num_items: I.
        encoder: builds a fresh encoder.
        relative: actions from latents; by the groups' kinds when None (`relative_action`).
        shares: fractions of the items for validation and test.
        seed: of the split and of the views of labelled items.
        digest: of the data, for the manifest.
        trajectories: whether every sequence shows one item (`DomainAdapter`).

    Raises:
        ValueError: for too few items, for targets that do not have one row per item, or for an action width that
            does not fit the groups.
    """

    def __init__(
        self, actions: ActionSpace, targets: Sequence[ProbeTarget], *, num_items: int, encoder: Callable[[], nn.Module],
        relative: Relative | None, shares: tuple[float, float], seed: int, digest: str, trajectories: bool = False,
    ) -> None:  # fmt: skip
        if wrong := {target.name: len(target.values) for target in targets if len(target.values) != num_items}:
            raise ValueError(f"targets: expected one row for each of the {num_items} items, found {wrong}")
        self._targets, self._encoder, self._seed, self.trajectories = tuple(targets), encoder, seed, trajectories
        self._relative = relative or (lambda t_x, t_y: relative_action(actions, t_x, t_y))
        self.items = split_items(num_items, shares, seed)
        pool = self.items[Split.TRAIN]
        _, t_x, _, t_y = self.pairs(pool[torch.randint(len(pool), (1024,), generator=generator(seed, "scales"))], Split.TRAIN,
                                    generator(seed, "scales"))  # fmt: skip
        if t_x.shape[-1] != actions.latent_dim:
            raise ValueError(f"latents: the groups {list(actions.names)} need width {actions.latent_dim}, found {t_x.shape[-1]}")
        action = self._relative(t_x, t_y)
        actions.check(action, t_y)
        self.actions = actions.measured(action, torch.cat([t_x, t_y]))
        self.manifest = {
            "source": "arrays in memory",
            "sha256": digest,
            "split_seed": seed,
            "items": {str(split): len(items) for split, items in self.items.items()},
            "groups": {group.name: group.units for group in actions.groups},
        }

    @abstractmethod
    def pairs(self, items: Tensor, split: Split, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Two views of each item [N] of the split: x [N, *input], t^x [N, L], y [N, *input], t^y [N, L]."""

    @abstractmethod
    def views(self, items: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs [N*V, *input], latents [N*V, L], and which item each row is a view of [N*V]: for probes."""

    def views_in_a_row(self, item: Tensor, num_views: int, split: Split, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Views [num_views, *input] of one item [1] of the split, and their latents, for trajectories.

        By default the item as x of a pair, and then as many partners y of it as are needed.
        """
        x, t_x, y, t_y = self.pairs(item.repeat(max(1, num_views - 1)), split, draws)
        return torch.cat([x[:1], y])[:num_views], torch.cat([t_x[:1], t_y])[:num_views]

    def build_encoder(self) -> nn.Module:
        """A fresh encoder."""
        return self._encoder()

    def train_sequences(self, length: int, seed: int) -> DrawnSequences:
        """Sequences of different training items, as long as there are enough of them."""
        return self._sequences(length, seed, Split.TRAIN, "train")

    def held_out(self, length: int, count: int, seed: int, split: Split = Split.TRAIN) -> Transitions:
        """`count` sequences of `length` transitions between views of the split's items."""
        sequences = self._sequences(length, seed, split, f"held-out/{split}")
        return stack([sequences[index] for index in range(count)])

    def labelled(self, split: Split) -> LabelledData:
        """Views of the split's items with their targets, the same at every call."""
        inputs, latent, item = self.views(self.items[split], generator(self._seed, f"labelled/{split}"))
        others = [ProbeTarget(t.name, t.values[item], t.num_classes, t.group) for t in self._targets]
        own = [group_target(group, latent[:, self.actions.latent_slice(group.name)]) for group in self.actions.groups]
        return LabelledData(inputs, item, latent, (*others, *own))

    def _sequences(self, length: int, seed: int, split: Split, purpose: str) -> DrawnSequences:
        pool = self.items[split]

        def draw_trajectory(draws: torch.Generator) -> Transitions:
            item = pool[torch.randint(len(pool), (1,), generator=draws)]
            return trajectory(*self.views_in_a_row(item, length + 1, split, draws), self._relative)

        if self.trajectories:
            return DrawnSequences(draw_trajectory, len(pool), seed, purpose)

        def draw(draws: torch.Generator) -> Transitions:
            repeats = math.ceil(length / len(pool)) or 1
            order = torch.cat([torch.randperm(len(pool), generator=draws) for _ in range(repeats)])[:length]
            x, t_x, y, t_y = self.pairs(pool[order], split, draws)
            return Transitions(x[None], self._relative(t_x, t_y)[None], y[None], torch.stack([t_x, t_y], dim=1)[None])

        return DrawnSequences(draw, max(1, len(pool) // max(1, length)), seed, purpose)


def split_items(num_items: int, shares: tuple[float, float], seed: int) -> Mapping[Split, Tensor]:
    """Item numbers of each split, at random; the two shares are those of validation and test, at least one item each."""
    if min(shares) < 0 or sum(shares) >= 1:
        raise ValueError(f"shares of validation and test: expected two non-negative numbers with a sum below 1, found {shares}")
    sizes = [max(1, round(share * num_items)) for share in shares]
    if num_items - sum(sizes) < 2:
        raise ValueError(
            f"{num_items} items are too few for training, validation and test with the shares {shares}; give more items"
        )
    order = torch.randperm(num_items, generator=generator(seed, "split"))
    validation, test, train = order.split([*sizes, num_items - sum(sizes)])
    return {Split.TRAIN: train.sort().values, Split.VALIDATION: validation.sort().values, Split.TEST: test.sort().values}


def group_target(group: Group, latent: Tensor) -> ProbeTarget:
    """A group's own parameters [N, latent_dim] as a target: classes for one switch, cosine and sine for CIRCULAR numbers."""
    if group.kind is Kind.SWITCH and group.latent_dim == 1:
        return ProbeTarget(group.name, latent[:, 0].long(), num_classes=2, group=group.name)
    if group.kind is Kind.CIRCULAR:
        angle = 2 * math.pi * latent
        return ProbeTarget(group.name, torch.cat([angle.cos(), angle.sin()], dim=1).float(), group=group.name)
    return ProbeTarget(group.name, latent.float(), group=group.name)


def as_float(items: Tensor) -> Tensor:
    """Items as float32; bytes become fractions of 255."""
    return items.float() / 255 if items.dtype is torch.uint8 else items.float()


def checked(name: str, array: Tensor, num_axes: int) -> Tensor:
    """The array, if it has at least so many axes and no nan or infinity; ValueError otherwise."""
    if array.ndim < num_axes:
        raise ValueError(f"{name}: expected at least {num_axes} axes, found shape {list(array.shape)}")
    if array.is_floating_point() and not array.isfinite().all():
        place = (~array.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"{name}: found a nan or infinite number at {place}; remove or replace such rows first")
    return array


def digest(*arrays: Tensor) -> str:
    """Hexadecimal SHA-256 of shapes, types and contents."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype}{list(array.shape)}".encode())
        total.update(array.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
