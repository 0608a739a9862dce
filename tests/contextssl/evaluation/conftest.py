"""A toy domain and a toy method whose embeddings can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Environment, Group, Kind, hide
from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.batch import Transitions
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.method import ContextualMethod

ROWS = {Split.TRAIN: 120, Split.VALIDATION: 40, Split.TEST: 60}


class ToyAdapter(DomainAdapter):
    """Items are 4 numbers; two views of each. Groups: `turn`, two real numbers, and `side`, a switch of two codes."""

    manifest = {"source": "generated"}

    def __init__(self, *, groups: tuple[str, ...] = ("turn", "side")) -> None:
        known = {"turn": Group("turn", 2, 1, Kind.REAL, "turns"), "side": Group("side", 2, 1, Kind.SWITCH, "one-hot")}
        self.actions = ActionSpace([known[name] for name in groups])
        self.asked: list[Split] = []

    def build_encoder(self) -> nn.Module:
        return CountingEncoder()

    def train_sequences(self, length: int, seed: int) -> None:  # type: ignore[override]
        raise AssertionError("an evaluation never trains")

    def held_out(self, length: int, count: int, seed: int, split: Split = Split.TRAIN) -> Transitions:
        generator = torch.Generator().manual_seed(seed)
        state = torch.randn(count, length, 4, generator=generator)
        turn = torch.randn(count, length, 2, generator=generator) * torch.tensor([1.0, 3.0])
        side = torch.randint(2, (count, length), generator=generator)
        columns = {"turn": turn, "side": nn.functional.one_hot(side, 2).float()}
        action = torch.cat([columns[name] for name in self.actions.names], dim=-1)
        return Transitions(state, action, state + 1, torch.zeros(count, length, 2, self.actions.latent_dim))

    def labelled(self, split: Split) -> LabelledData:
        self.asked.append(split)
        rows = ROWS[split]
        generator = torch.Generator().manual_seed(list(Split).index(split))
        x = torch.randn(rows, 4, generator=generator)
        noise = torch.randn(rows, 2, generator=generator)
        targets = (
            ProbeTarget("sign", (x[:, 0] > 0).long(), num_classes=2, group="side"),
            ProbeTarget("third", (x[:, 1] > -0.4).long() + (x[:, 1] > 0.4).long(), num_classes=3),
            ProbeTarget("place", x[:, 1:3] + 0.1 * noise),
        )
        item = torch.arange(rows) // 2 + 1000 * list(Split).index(split)
        return LabelledData(x, item, torch.zeros(rows, self.actions.latent_dim), targets)


class CountingEncoder(nn.Module):
    """Doubles its input and counts the rows it saw; noisy in training mode, so that forgetting eval mode shows."""

    out_dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += len(x)
        return self.scale * x + (torch.rand_like(x) if self.training else 0.0)


@dataclass(frozen=True)
class ToyConditioned:
    """Embeds a feature as (feature, sum over the context of told action_i times the first number of x_i)."""

    environment: Environment
    length: int
    evidence: Tensor  # [T, A]
    step: float | None = None

    def embed(self, x: Tensor, action: Tensor | None = None) -> Tensor:
        return self.embed_features(2 * x, action)

    def embed_features(self, features: Tensor, action: Tensor | None = None) -> Tensor:
        embedding = torch.cat([features, self.evidence.sum(0).expand(len(features), -1)], dim=1)
        return embedding if self.step is None else (embedding / self.step).round() * self.step

    def shortened(self, length: int) -> ToyConditioned:
        return replace(self, length=length, evidence=self.evidence[: length // 2])

    def quantised(self, bits: int, calibration: Tensor) -> ToyConditioned:
        return replace(self, step=float(calibration.abs().max()) / (2 ** (bits - 1) - 1))


class ToyMethod(ContextualMethod):
    """Conditions on a context without any network."""

    def __init__(self, actions: ActionSpace) -> None:
        super().__init__()
        self.encoder, self.actions = CountingEncoder(), actions

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        raise AssertionError("an evaluation never trains")

    def predict(self, x: Tensor, action: Tensor, context: object = None) -> Tensor:
        raise AssertionError("not used")

    def embed_target(self, x: Tensor, context: object = None) -> Tensor:
        raise AssertionError("not used")

    def condition_features(self, context: Transitions, environment: Environment) -> ToyConditioned:  # type: ignore[override]
        told = hide(context.action[0], self.actions.action_mask(environment))
        return ToyConditioned(environment, 2 * context.length, told * context.state[0, :, :1])


@pytest.fixture
def make_bank() -> Callable[..., EmbeddingBank]:
    """Builds a bank of the toy method, by default with a few short contexts."""

    def build(*, groups: tuple[str, ...] = ("turn", "side"), **settings: object) -> EmbeddingBank:
        adapter = ToyAdapter(groups=groups)
        defaults: dict[str, object] = {"context_lengths": (0, 2, 6), "context_draws": 2, "batch_size": 32}
        return EmbeddingBank(ToyMethod(adapter.actions), adapter, **(defaults | settings))  # type: ignore[arg-type]

    return build
