"""Toy domains and methods whose embeddings can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace, Environment, Group, Kind, hide
from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.adapters import ViewsAdapter
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


VIEW_ACTIONS = ActionSpace([Group("rotation", 4, 4, Kind.QUATERNION, "quaternion"), Group("shift", 1, 1, Kind.REAL, "lengths")])


class Identity(nn.Module):
    """Features are the inputs."""

    out_dim = 9

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def view_adapter(num_items: int, num_views: int, seed: int = 0) -> ViewsAdapter:
    """Views of items: a quaternion (Euler angles within a quarter turn), (s, sqrt(1 - s^2)), and the item's content."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-np.pi / 2, np.pi / 2, (num_items * num_views, 3))
    quaternion = torch.from_numpy(Rotation.from_euler("xyz", angles).as_quat()).float().view(num_items, num_views, 4)
    shift = torch.from_numpy(rng.uniform(-1, 1, (num_items, num_views, 1))).float()
    content = F.normalize(torch.from_numpy(rng.normal(size=(num_items, 1, 3))).float(), dim=-1)
    views = torch.cat([quaternion, shift, (1 - shift**2).sqrt(), content.expand(-1, num_views, -1)], dim=-1)
    kind = ProbeTarget("kind", (content[:, 0, 0] > 0).long(), num_classes=2)
    latents = torch.cat([quaternion, shift], dim=-1)
    return ViewsAdapter(views, latents, VIEW_ACTIONS, [kind], encoder=Identity, shares=(0.2, 0.3), seed=seed)


def turned(x: Tensor, a: Tensor) -> Tensor:
    """Products x * a of quaternions with the scalar last, by scipy."""
    found = Rotation.from_quat(x.double().numpy()) * Rotation.from_quat(a.double().numpy())
    return torch.from_numpy(found.as_quat()).float()


@dataclass(frozen=True)
class Oracle:
    """Knows everything: applies told actions exactly and, after a context, keeps a share `leak` of what is not told."""

    environment: Environment
    length: int
    leak: float
    step: float | None = None

    def embed_features(self, features: Tensor, action: Tensor | None = None) -> Tensor:
        rotation, shift, content = features[:, :4], features[:, 4:5], features[:, 6:]
        told = self.environment.groups
        if action is not None and "rotation" in told:
            rotation = turned(rotation, action[:, :4])
        if action is not None and "shift" in told:
            shift = shift + action[:, 4:]
        keep = [1.0 if name in told or not self.length else self.leak for name in ("rotation", "shift")]
        both = torch.cat([shift, (1 - shift**2).clamp_min(0).sqrt()], dim=1)
        embedding = torch.cat([keep[0] * rotation, keep[1] * both, content], dim=1) / 3**0.5
        return embedding if self.step is None else (embedding / self.step).round() * self.step

    def shortened(self, length: int) -> Oracle:
        return replace(self, length=length)

    def quantised(self, bits: int, calibration: Tensor) -> Oracle:
        return replace(self, step=float(calibration.abs().max()) / (2 ** (bits - 1) - 1))


class OracleMethod(ToyMethod):
    """Embeds as `Oracle` does."""

    def __init__(self, actions: ActionSpace, leak: float) -> None:
        super().__init__(actions)
        self.encoder, self.leak = Identity(), leak

    def condition_features(self, context: Transitions, environment: Environment) -> Oracle:  # type: ignore[override]
        return Oracle(environment, 2 * context.length, self.leak)


@pytest.fixture
def make_view_bank() -> Callable[..., EmbeddingBank]:
    """Builds a bank of the oracle on items of several views."""

    def build(*, num_items: int = 60, num_views: int = 6, leak: float = 0.0, **settings: object) -> EmbeddingBank:
        adapter = view_adapter(num_items, num_views)
        defaults: dict[str, object] = {"context_lengths": (0, 4), "context_draws": 1, "controls": ()}
        return EmbeddingBank(OracleMethod(adapter.actions, leak), adapter, **(defaults | settings))  # type: ignore[arg-type]

    return build
