"""What every adapter owes the core, as executable sentences."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cached_property
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from contextssl.actions import Group, Kind
from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.adapters.items import as_float
from contextssl.batch import Transitions, stack
from contextssl.encoder import Encoder
from contextssl.losses.leakage import ridge_r2


def check_adapter(adapter: DomainAdapter, *, length: int = 6) -> None:
    """Check an adapter against every contract of `contextssl.adapter`, on small draws of its own data.

    Args:
        adapter: the adapter.
        length: transitions in the sequences that are drawn.

    Raises:
        AssertionError: with one sentence that names the broken contract.
    """
    case = AdapterCase(adapter, length)
    for check in ADAPTER_CHECKS:
        check(case)


class AdapterCase:
    """An adapter and what several checks look at."""

    def __init__(self, adapter: DomainAdapter, length: int = 6) -> None:
        self.adapter, self.length, self.name = adapter, length, type(adapter).__name__

    @cached_property
    def batch(self) -> Transitions:
        """At least 256 training transitions."""
        sequences = self.adapter.train_sequences(self.length, seed=0)
        return stack([sequences[index] for index in range(-(-256 // self.length))])

    @cached_property
    def labelled(self) -> dict[Split, LabelledData]:
        """All splits."""
        return {split: self.adapter.labelled(split) for split in Split}

    def held_out(self, split: Split = Split.TRAIN, seed: int = 0) -> Transitions:
        """Eight held-out sequences."""
        return self.adapter.held_out(self.length, 8, seed, split)


def manifest_can_be_stored(case: AdapterCase) -> None:
    """The manifest says something and can be written as JSON."""
    try:
        text = json.dumps(case.adapter.manifest, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{case.name}.manifest cannot be written as JSON ({error}).") from error
    _require(
        isinstance(case.adapter.manifest, dict) and text != "{}",
        f"{case.name}.manifest is not a dictionary that describes the data.",
    )


def statistics_are_finite(case: AdapterCase) -> None:
    """The scales of the action space can be divided by."""
    actions = case.adapter.actions
    for name in ("action_scale", "latent_scale", "latent_mean"):
        values = getattr(actions, name)
        _require(
            bool(values.isfinite().all()) and (name == "latent_mean" or bool((values > 0).all())),
            f"{case.name}.actions.{name} is not finite and positive: {values.tolist()}.",
        )


def shapes_and_types(case: AdapterCase) -> None:
    """Sequences are batches of one, of the length asked for, float32, with items as probes get them."""
    sequence, adapter, input_shape = (
        case.adapter.train_sequences(case.length, seed=0)[0],
        case.adapter,
        case.labelled[Split.TRAIN].inputs.shape[1:],
    )
    _require(
        (sequence.num_sequences, sequence.length) == (1, case.length),
        f"{case.name}.train_sequences: asked for [1, {case.length}, ...], found {list(sequence.action.shape)}.",
    )
    for source, batch in (("train_sequences", case.batch), ("held_out", case.held_out())):
        widths = (batch.action.shape[-1], batch.latent.shape[-1])
        _require(widths == (adapter.actions.action_dim, adapter.actions.latent_dim),
                 f"{case.name}.{source}: action and latent widths {widths} do not fit the action space.")  # fmt: skip
        for part in ("state", "action", "next_state", "latent"):
            tensor = getattr(batch, part)
            _require(tensor.dtype is torch.float32, f"{case.name}.{source}: {part} is {tensor.dtype}, not float32.")
            _require(bool(tensor.isfinite().all()), f"{case.name}.{source}: {part} has a nan or infinite number.")
        _require(batch.state.shape[2:] == input_shape,
                 f"{case.name}.{source}: states have shape {list(batch.state.shape[2:])}, labelled inputs {list(input_shape)}.")  # fmt: skip
    _require(case.held_out().num_sequences == 8, f"{case.name}.held_out does not return as many sequences as asked for.")


def deterministic_by_seed_and_index(case: AdapterCase) -> None:
    """A sequence depends on (seed, index) and on nothing else, and takes nothing from the global random streams."""
    first, second = (case.adapter.train_sequences(case.length, seed=7) for _ in range(2))
    beyond = len(first) + 3
    before = _global_streams()
    forwards = [first[index] for index in (0, 1, beyond)]
    backwards = [second[index] for index in (beyond, 1, 0)][::-1]
    held_out = case.held_out(seed=7), case.held_out(seed=7)
    after = _global_streams()
    _require(all(_same(a, b) for a, b in zip(forwards, backwards, strict=True)),
             f"{case.name}.train_sequences: equal seed and index give different sequences.")  # fmt: skip
    _require(_same(*held_out), f"{case.name}.held_out: equal arguments give different sequences.")
    _require(before == after, f"{case.name} draws from a global random stream: use a generator made from the seed.")
    _require(_same_labelled(case.adapter.labelled(Split.TEST), case.labelled[Split.TEST]),
             f"{case.name}.labelled gives different rows when called again.")  # fmt: skip


def different_seeds_differ(case: AdapterCase) -> None:
    """Other seeds and other indices give other sequences."""
    first, second = case.adapter.train_sequences(case.length, seed=1), case.adapter.train_sequences(case.length, seed=2)
    _require(not _same(first[0], second[0]), f"{case.name}.train_sequences: different seeds give the same sequence.")
    _require(not _same(first[0], first[1]), f"{case.name}.train_sequences: different indices give the same sequence.")
    _require(
        not _same(case.held_out(seed=1), case.held_out(seed=2)), f"{case.name}.held_out: different seeds give the same sequences."
    )


def actions_follow_from_latents(case: AdapterCase) -> None:
    """The action of a group is a function of its parameters in both views (seen by regression on their products)."""
    _, action, _, latent = case.batch.pairs()
    for group in case.adapter.actions.groups:
        columns = case.adapter.actions.latent_slice(group.name)
        t_x, t_y = (group.functions(latent[:, view, columns]) for view in (0, 1))
        factors = (t_x, t_y) if group.kind is Kind.CIRCULAR else (latent[:, 0, columns], latent[:, 1, columns])
        known = torch.cat([t_x, t_y, (factors[0].unsqueeze(-1) * factors[1].unsqueeze(-2)).flatten(1)], dim=1)
        told = action[:, case.adapter.actions.action_slice(group.name)]
        told = told[:, told.std(0) > 1e-6]
        # In-sample R2 of noise is about features over rows; compare with the same regression on shuffled rows.
        order = torch.randperm(len(told), generator=torch.Generator().manual_seed(0))
        gain = (
            (ridge_r2(known, told, ridge=1e-3) - ridge_r2(known, told[order], ridge=1e-3)).min().item() if told.numel() else 1.0
        )
        _require(
            gain > 0.3,
            f"{case.name}: the action of group {group.name!r} does not follow from its latents in both views (R2 above chance {gain:.2f}).",
        )


def encoder_is_as_declared(case: AdapterCase) -> None:
    """`build_encoder` gives fresh modules of the declared width whose rows do not see each other in eval mode."""
    encoder, other = case.adapter.build_encoder(), case.adapter.build_encoder()
    _require(
        isinstance(encoder, nn.Module) and isinstance(encoder, Encoder), f"{case.name}.build_encoder: no module with an out_dim."
    )
    shared = {id(p) for p in encoder.parameters()} & {id(p) for p in other.parameters()}
    _require(encoder is not other and not shared, f"{case.name}.build_encoder gives the same module twice, not a fresh one.")
    items = case.labelled[Split.TRAIN].inputs[:5]
    with torch.no_grad():
        together = encoder.eval()(items)
        alone = torch.cat([encoder(item[None]) for item in items])
    _require(list(together.shape) == [len(items), encoder.out_dim],
             f"{case.name}: the encoder declares out_dim {encoder.out_dim} and returns {list(together.shape)} for {len(items)} items.")  # fmt: skip
    _require(bool((together - alone).abs().max() <= 1e-4 * max(1.0, float(alone.abs().max()))),
             f"{case.name}: in eval mode rows of one batch influence each other in the encoder.")  # fmt: skip


def splits_share_no_item(case: AdapterCase) -> None:
    """Identifiers of the labelled splits are disjoint."""
    for a, b in combinations(Split, 2):
        first, second = case.labelled[a].item, case.labelled[b].item
        _require(len(first) > 0 and len(second) > 0, f"{case.name}.labelled: the {a} or the {b} split is empty.")
        _require(not torch.isin(first, second).any(), f"{case.name}.labelled: the {a} and {b} splits share items.")


def sequences_stay_in_their_split(case: AdapterCase) -> None:
    """No sequence shows an item that is in another split's labelled rows and not in those of its own.

    Only domains whose items appear untransformed can be checked this way.
    """
    rows = {split: _row_set(data.inputs) for split, data in case.labelled.items()}
    sources = [("train_sequences", Split.TRAIN, case.batch)] + [
        (f"held_out({split})", split, case.held_out(split)) for split in Split
    ]
    for name, split, batch in sources:
        elsewhere = set().union(*(found for other, found in rows.items() if other is not split)) - rows[split]
        _require(not _row_set(batch.state.flatten(0, 1)) & elsewhere, f"{case.name}.{name} returns items of another split.")


def targets_are_aligned(case: AdapterCase) -> None:
    """Targets are the same in all splits, and a group's target is a function of the group's own latent."""
    actions = case.adapter.actions
    described = {split: [(t.name, t.num_classes, t.group) for t in data.targets] for split, data in case.labelled.items()}
    _require(
        all(found == described[Split.TRAIN] for found in described.values()),
        f"{case.name}.labelled: the splits have different targets.",
    )
    names = [name for name, _, _ in described[Split.TRAIN]]
    _require(
        bool(names) and len(set(names)) == len(names),
        f"{case.name}.labelled: targets are missing or their names repeat ({names}).",
    )
    for split, data in case.labelled.items():
        _require(
            data.latent.shape[1] == actions.latent_dim,
            f"{case.name}.labelled: latents of width {data.latent.shape[1]}, not {actions.latent_dim}.",
        )
        for target in data.targets:
            if target.group is None:
                continue
            _require(
                target.group in actions.names, f"{case.name}: target {target.name!r} names the unknown group {target.group!r}."
            )
            _require(
                _follows(target, data.latent[:, actions.latent_slice(target.group)], actions.group(target.group)),
                f"{case.name}.labelled({split}): target {target.name!r} does not follow from the latent of its group {target.group!r}.",
            )


def trajectories_show_one_item(case: AdapterCase) -> None:
    """Where the adapter says so, every transition starts where the last one ended, and no other item is shown.

    That it is one item can be seen only where several of its views are among the labelled rows, as the sequences show them.
    """
    if not case.adapter.trajectories:
        return
    item_of = {row: item for data in case.labelled.values() for row, item in _items_by_row(data)}
    for name, batch in [("train_sequences", case.batch)] + [(f"held_out({split})", case.held_out(split)) for split in Split]:
        chained = torch.equal(batch.state[:, 1:], batch.next_state[:, :-1])
        _require(chained and torch.equal(batch.latent[:, 1:, 0], batch.latent[:, :-1, 1]),
                 f"{case.name}.{name}: trajectories are offered, but a transition does not start where the one before it ended.")  # fmt: skip
        for sequence in torch.cat([batch.state[:, :1], batch.next_state], dim=1):
            items = {item_of[row] for row in _rows(sequence) if row in item_of}
            _require(len(items) <= 1, f"{case.name}.{name}: trajectories are offered, but one shows several items.")


ADAPTER_CHECKS: tuple[Callable[[AdapterCase], None], ...] = (
    manifest_can_be_stored,
    statistics_are_finite,
    shapes_and_types,
    deterministic_by_seed_and_index,
    different_seeds_differ,
    actions_follow_from_latents,
    encoder_is_as_declared,
    splits_share_no_item,
    sequences_stay_in_their_split,
    targets_are_aligned,
    trajectories_show_one_item,
)


def _follows(target: ProbeTarget, latent: Tensor, group: Group) -> bool:
    if target.num_classes is not None:
        if group.kind is Kind.SWITCH and group.latent_dim == 1:
            return torch.equal(target.values, latent[:, 0].long())
        _, cell = latent.unique(dim=0, return_inverse=True)
        return len(torch.stack([cell, target.values]).unique(dim=1)[0]) == int(cell.max()) + 1
    varying = target.values[:, target.values.std(0) > 1e-6]
    return varying.numel() == 0 or bool((ridge_r2(group.functions(latent), varying, ridge=1e-6) > 0.9).all())


def _global_streams() -> tuple[bytes, bytes, int, object]:
    numpy_state = np.random.get_state(legacy=False)["state"]
    return torch.get_rng_state().numpy().tobytes(), numpy_state["key"].tobytes(), numpy_state["pos"], random.getstate()


def _row_set(rows: Tensor) -> set[bytes]:
    return set(_rows(rows))


def _rows(rows: Tensor) -> list[bytes]:
    return [row.tobytes() for row in rows.contiguous().numpy()]


def _items_by_row(data: LabelledData) -> list[tuple[bytes, int]]:
    """Every labelled row as sequences show it, with its item; nothing where each item has a single row."""
    if len(data.item.unique()) == len(data):
        return []
    return list(zip(_rows(as_float(data.inputs)), data.item.tolist(), strict=True))


def _same(a: Transitions, b: Transitions) -> bool:
    return all(torch.equal(getattr(a, part), getattr(b, part)) for part in ("state", "action", "next_state", "latent"))


def _same_labelled(a: LabelledData, b: LabelledData) -> bool:
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.item, b.item) and torch.equal(a.latent, b.latent)


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise AssertionError(sentence)
