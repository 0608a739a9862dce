"""A domain of five lines and a method of three, for tests of everything around them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.batch import Transitions, stack
from contextssl.method import Method

NUM_ITEMS = {Split.TRAIN: 96, Split.VALIDATION: 32, Split.TEST: 32}


class ToyEncoder(nn.Module):
    """A linear layer with dropout, so that the global random stream matters too."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.out_dim = 4
        self.layer = nn.Linear(6, self.out_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 6] -> [N, 4]."""
        return self.dropout(self.layer(x))


class ToyDomain(DomainAdapter):
    """Items of four content numbers, a shift and a switch; `broken_from` puts NaN into sequences from that index on."""

    def __init__(self, dropout: float = 0.1, broken_from: int | None = None) -> None:
        self.dropout, self.broken_from = dropout, broken_from
        self.actions = ActionSpace([Group("shift", 1, 1, Kind.REAL, "lengths"), Group("switch", 1, 1, Kind.SWITCH, "0 or 1")])
        self.manifest: dict[str, object] = {"name": "toy", "stand_in": True, "source": "tests", "rows": dict(NUM_ITEMS)}

    def build_encoder(self) -> nn.Module:
        """A fresh encoder."""
        return ToyEncoder(self.dropout)

    def train_sequences(self, length: int, seed: int) -> ToySequences:
        """Sequences of training items."""
        return ToySequences(self, length, seed)

    def held_out(self, length: int, count: int, seed: int, split: Split = Split.TRAIN) -> Transitions:
        """Sequences drawn from a split."""
        return stack([self.draw(length, (seed, 1, index)) for index in range(count)])

    def draw(self, length: int, seed: tuple[int, ...]) -> Transitions:
        """One sequence, a function of the seed."""
        rng = np.random.default_rng(seed)
        content, x, y = (torch.from_numpy(rng.normal(size=(1, length, width))).float() for width in (4, 2, 2))
        x[..., 1], y[..., 1] = x[..., 1] > 0, y[..., 1] > 0
        return Transitions(torch.cat([content, x], -1), y - x, torch.cat([content, y], -1), torch.stack([x, y], 2))

    def labelled(self, split: Split) -> LabelledData:
        """Items with their shift and switch."""
        place = list(Split).index(split)
        drawn = self.draw(NUM_ITEMS[split], (9, place))
        latent = drawn.latent[0, :, 0]
        targets = (ProbeTarget("shift", latent[:, :1], None, "shift"), ProbeTarget("switch", latent[:, 1].long(), 2, "switch"))
        return LabelledData(drawn.state[0], torch.arange(NUM_ITEMS[split]) + 1000 * place, latent, targets)


class ToySequences:
    """Item i is a function of (seed, i)."""

    def __init__(self, domain: ToyDomain, length: int, seed: int) -> None:
        self.domain, self.length, self.seed = domain, length, seed

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Transitions:
        drawn = self.domain.draw(self.length, (self.seed, 0, index))
        broken = self.domain.broken_from is not None and index >= self.domain.broken_from
        return drawn.with_items(drawn.state * float("nan"), drawn.next_state) if broken else drawn


class ToyMethod(Method):
    """Predicts y's features from x's and the action, with noise from the generator, and keeps a moving average."""

    def __init__(self, encoder: nn.Module, actions: ActionSpace, *, noise: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.actions, self.noise = encoder, actions, noise
        self.predictor = nn.Linear(encoder.out_dim + actions.action_dim, encoder.out_dim)
        self.register_buffer("average", torch.zeros(encoder.out_dim))

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """A prediction error and a pull towards unit length, both means over pairs."""
        x, action, y, _ = batch.pairs()
        features = self.encoder(x)
        self.seen = features.detach().float().mean(0)
        noise = self.noise * torch.randn(features.shape, generator=generator).to(features)
        predicted = self.predictor(torch.cat([features + noise, action], -1))
        return {"prediction": F.mse_loss(predicted, self.encoder(y)), "length": 0.5 * (features.square().mean() - 1).square()}

    def after_step(self) -> None:
        """Move the average."""
        self.average.lerp_(self.seen, 0.1)
