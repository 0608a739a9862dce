"""Adapters that offer trajectories pass the kit, and the kit notices those that do not keep the promise."""

import pytest
import torch

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import ProbeTarget
from contextssl.adapters import FlippedColumn, TableAdapter, TransformedItems, ViewsAdapter
from contextssl.testing import TinyEncoder, ToyAdapter, check_adapter


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SIZE = ActionSpace([Group("size", 1, 1, Kind.REAL, "factor")])


def views(cls=ViewsAdapter, **settings):
    """Views of vectors whose parameter is a factor."""
    factors = 1 + noise(30, 6, 1).abs()
    return cls(noise(30, 1, 4, seed=1) * factors, factors, SIZE, [], encoder=lambda: TinyEncoder(in_dim=4), **settings)


def table(**settings):
    values = noise(200, 4)
    values[:, 2] = (values[:, 0] > 0).float()
    income = ProbeTarget("income", (values[:, 3] > 0).long(), 2)
    return TableAdapter(values, 2, [income], encoder=lambda: TinyEncoder(in_dim=4), trajectories=True, **settings)


class Promises(ViewsAdapter):
    """Says that it offers trajectories, and makes pairs of different items."""

    trajectories = True

    def _sequences(self, length, seed, split, purpose):
        self.trajectories = False
        try:
            return super()._sequences(length, seed, split, purpose)
        finally:
            self.trajectories = True


class Wanders(ViewsAdapter):
    """Chains views of different items."""

    def views_in_a_row(self, item, num_views, split, draws):
        pool = self.items[split]
        items = pool[torch.randint(len(pool), (num_views,), generator=draws)]
        x, t_x, _, _ = self.pairs(items, split, draws)
        return x, t_x


class Forgets(ToyAdapter):
    """Chains the items, and draws the latents of every transition anew."""

    def _sequences(self, length, seed, split, purpose):
        right = super()._sequences(length, seed, split, purpose)

        class Sequences:
            def __len__(self):
                return len(right)

            def __getitem__(self, index):
                sequence = right[index]
                latent = sequence.latent.clone()
                latent[:, 1:, 0] += 1e-3
                return type(sequence)(sequence.state, sequence.action, sequence.next_state, latent)

        return Sequences()


def scaled(items, draws):
    factor = torch.rand(len(items), 1, generator=draws)
    return items * factor, factor


def scaled_items():
    """The same, made anew for every sequence."""
    return TransformedItems(noise(60, 4), scaled, SIZE, [], encoder=lambda: TinyEncoder(in_dim=4), trajectories=True)


@pytest.mark.parametrize(
    "build",
    [
        lambda: ToyAdapter(trajectories=True),
        lambda: views(trajectories=True),
        table,
        lambda: table(pairing=FlippedColumn()),
        scaled_items,
    ],
    ids=["toy", "views", "table", "flipped table", "scaled"],
)
def test_adapters_conform_with_trajectories(build):
    check_adapter(build())


@pytest.mark.parametrize(
    ("faulty", "sentence"),
    [
        (lambda: views(Promises), "does not start where the one before it ended"),
        (lambda: views(Wanders, trajectories=True), "one shows several items"),
        (lambda: Forgets(trajectories=True), "does not start where the one before it ended"),
    ],
    ids=["pairs", "several items", "latents of its own"],
)
def test_the_kit_notices_broken_promises(faulty, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_adapter(faulty())
