"""Every adapter passes the kit; and the kit notices every fault that it names."""

import os
import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import ProbeTarget, Split
from contextssl.adapters import FlippedColumn, TableAdapter, ViewsAdapter
from contextssl.adapters.items import DrawnSequences
from contextssl.batch import Transitions, stack
from contextssl.testing import TinyEncoder, ToyAdapter, check_adapter
from domains.tabular.adult import Adult
from domains.tabular.mimic.adapter import Mimic


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Flat(nn.Module):
    def __init__(self, in_dim):
        super().__init__()
        self.out_dim, self.body = 5, nn.Sequential(nn.Flatten(), nn.Linear(in_dim, 5))

    def forward(self, x):
        return self.body(x)


GROUPS = ActionSpace(
    [
        Group("pose", 4, 4, Kind.QUATERNION, "scalar last"),
        Group("hue", 1, 1, Kind.CIRCULAR, "turns"),
        Group("glasses", 2, 1, Kind.SWITCH, "[s, 1 - s] of y"),
        Group("crop", 2, 2, Kind.REAL, "share of the side"),
    ]
)


def views_of_all_kinds(cls=ViewsAdapter, **settings):
    pose = nn.functional.normalize(noise(30, 6, 4), dim=-1)
    hue, glasses = torch.rand(30, 6, 1, generator=torch.Generator().manual_seed(1)), (noise(30, 6, 1, seed=2) > 0).float()
    latents = torch.cat([pose, hue, glasses, noise(30, 6, 2, seed=3)], dim=-1)
    targets = [ProbeTarget("kind", torch.arange(30) % 3, 3), ProbeTarget("size", noise(30, 1))]
    return cls(noise(30, 6, 2, 3, 4, seed=4), latents, GROUPS, targets, encoder=lambda: Flat(24), **settings)


def table(**settings):
    values = noise(200, 5)
    values[:, 2] = (values[:, 0] > 0).float()
    return TableAdapter(values, 2, [ProbeTarget("income", (values[:, 4] > 0).long(), 2)], encoder=lambda: Flat(5), **settings)


ADAPTERS = {
    "toy": ToyAdapter,
    "views": views_of_all_kinds,
    "bytes": lambda: ViewsAdapter(
        torch.randint(256, (12, 4, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)), noise(12, 4, 1),
        ActionSpace([Group("blur", 1, 1, Kind.REAL, "pixels")]), [], encoder=lambda: Flat(108),
    ),
    "table": table,
    "flipped table": lambda: table(pairing=FlippedColumn()),
    "generated census": partial(Adult, source="generated", num_generated=(600, 300)),
    "generated census, two attributes": partial(Adult, source="generated", num_generated=(4000, 900), sensitive=("sex", "race"), action_code="relative"),
    "generated MIMIC": partial(Mimic, source="generated", num_generated=1000),
}  # fmt: skip


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_conform(name):
    check_adapter(ADAPTERS[name]())


@pytest.mark.data
@pytest.mark.skipif("CONTEXTSSL_DATA" not in os.environ, reason="CONTEXTSSL_DATA does not say where the real data are")
def test_adapters_of_real_data_conform():
    check_adapter(Adult())


def changed_batch(**changes):
    """A toy domain whose sequences and held-out transitions have some part changed."""

    class Changed(ToyAdapter):
        def train_sequences(self, length, seed):
            return (
                DrawnSequences(lambda draws: change(right.draw(draws)), 10, seed, "train")
                if (right := super().train_sequences(length, seed))
                else None
            )

        def held_out(self, length, count, seed, split=Split.TRAIN):
            return change(super().held_out(length, count, seed, split))

    def change(batch):
        parts = {name: getattr(batch, name) for name in ("state", "action", "next_state", "latent")}
        return Transitions(**(parts | {name: function(parts[name]) for name, function in changes.items()}))

    return Changed()


def with_members(cls=ToyAdapter, **members):
    return type("Faulty", (cls,), members)


def infinite(state):
    return torch.where(state > 0, state, torch.inf)


class Stateful:
    """Sequences that depend on what was asked before."""

    def __init__(self, sequences):
        self.sequences, self.count = sequences, 0

    def __len__(self):
        return len(self.sequences)

    def __getitem__(self, index):
        self.count += 1
        return self.sequences[self.count]


def drawing_from(source):
    """Sequences that touch a global random stream, without any effect on what they return."""

    def train_sequences(self, length, seed):
        right = ToyAdapter.train_sequences(self, length, seed)

        def draw(draws):
            source()
            return right.draw(draws)

        return DrawnSequences(draw, len(right), seed, "train")

    return train_sequences


def labelled_with(change):
    return lambda self, split: change(ToyAdapter.labelled(self, split), split)


def overlapping(data, split):
    return replace(data, item=torch.arange(len(data)))


def shifted_targets(data, split):
    return replace(data, targets=tuple(replace(target, values=target.values.roll(1, 0)) for target in data.targets))


def unknown_group(data, split):
    return replace(data, targets=(ProbeTarget("class", torch.zeros(len(data), dtype=torch.long), 2, group="colour"),))


def targets_of_the_test_split(data, split):
    return replace(data, targets=data.targets[:1] if split is Split.TEST else data.targets)


def drawn_anew(data, split):
    return replace(data, inputs=data.inputs + torch.randn(data.inputs.shape))


class Centred(TinyEncoder):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Liar(TinyEncoder):
    def __init__(self):
        super().__init__()
        self.out_dim = 7


def unscaled(self):
    adapter_init(self)
    self.actions.action_scale = torch.zeros(2)


def undescribed(self):
    adapter_init(self)
    self.manifest = {"rows": torch.ones(3)}


adapter_init = ToyAdapter.__init__
ONE_ENCODER = TinyEncoder()


def toy_sequences(seed_of):
    return lambda self, length, seed: ToyAdapter.train_sequences(self, length, seed_of(seed))


def held_out_with(change):
    return lambda self, length, count, seed, split=Split.TRAIN: change(self, length, count, seed, split)


FAULTS = {
    "manifest": (with_members(__init__=undescribed), "manifest cannot be written as JSON"),
    "scales": (with_members(__init__=unscaled), "action_scale is not finite and positive"),
    "double precision": (lambda: changed_batch(state=torch.Tensor.double), "state is torch.float64, not float32"),
    "infinity": (lambda: changed_batch(state=infinite), "state has a nan or infinite number"),
    "too short": (
        with_members(train_sequences=lambda self, length, seed: ToyAdapter.train_sequences(self, length - 1, seed)), "asked for"
    ),
    "width": (lambda: changed_batch(action=lambda action: action[..., :1]), "do not fit the action space"),
    "shape": (lambda: changed_batch(state=lambda state: state[..., 1:]), r"states have shape \[11\], labelled inputs \[12\]"),
    "too few": (
        with_members(held_out=held_out_with(lambda self, length, count, *rest: ToyAdapter.held_out(self, length, count - 1, *rest))),
        "as many sequences as asked for",
    ),
    "dependent on history": (
        with_members(train_sequences=lambda self, length, seed: Stateful(ToyAdapter.train_sequences(self, length, seed))),
        "equal seed and index give different sequences",
    ),
    "torch's global stream": (with_members(train_sequences=drawing_from(lambda: torch.rand(1))), "draws from a global random stream"),
    "numpy's global stream": (with_members(train_sequences=drawing_from(np.random.rand)), "draws from a global random stream"),
    "python's global stream": (with_members(train_sequences=drawing_from(random.random)), "draws from a global random stream"),
    "unseeded labelled rows": (with_members(labelled=labelled_with(drawn_anew)), "labelled gives different rows"),
    "seed ignored": (with_members(train_sequences=toy_sequences(lambda seed: 0)), "train_sequences: different seeds"),
    "held-out seed ignored": (
        with_members(held_out=held_out_with(lambda self, length, count, seed, split: ToyAdapter.held_out(self, length, count, 0, split))),
        "held_out: different seeds",
    ),
    "shuffled actions": (
        lambda: changed_batch(action=lambda action: action.roll(1, 1)), "action of group 'turn' does not follow from its latents"
    ),
    "wrong width": (lambda: ToyAdapter(encoder=Liar), "declares out_dim 7 and returns"),
    "one module": (lambda: ToyAdapter(encoder=lambda: ONE_ENCODER), "the same module twice"),
    "batch statistics": (lambda: ToyAdapter(encoder=Centred), "rows of one batch influence each other in the encoder"),
    "identifiers": (with_members(labelled=labelled_with(overlapping)), "splits share items"),
    "shifted targets": (with_members(labelled=labelled_with(shifted_targets)), "does not follow from the latent of its group"),
    "unknown group": (with_members(labelled=labelled_with(unknown_group)), "unknown group 'colour'"),
    "targets differ": (with_members(labelled=labelled_with(targets_of_the_test_split)), "the splits have different targets"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_kit_names_the_broken_contract(name):
    build, message = FAULTS[name]
    with pytest.raises(AssertionError, match=message):
        check_adapter(build())


class LeakyViews(ViewsAdapter):
    def train_sequences(self, length, seed):
        return DrawnSequences(
            lambda draws: super(LeakyViews, self).held_out(length, 1, int(draws.initial_seed() % 10**6), Split.TEST), 5, seed, "x"
        )


class OneSplitForAll(ViewsAdapter):
    def held_out(self, length, count, seed, split=Split.TRAIN):
        return stack([super().held_out(length, count, seed, Split.TRAIN)])


@pytest.mark.parametrize(("faulty", "source"), [(LeakyViews, "train_sequences"), (OneSplitForAll, r"held_out\(validation\)")])
def test_kit_notices_sequences_from_another_split(faulty, source):
    with pytest.raises(AssertionError, match=f"{source} returns items of another split"):
        check_adapter(views_of_all_kinds(faulty))
