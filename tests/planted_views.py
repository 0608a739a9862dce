"""A planted method whose embeddings are known: it reads the latents off the views and embeds those of the told groups."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from contextssl.actions import ActionSpace, Environment, Group, Kind, hide
from contextssl.batch import Transitions
from contextssl.context import ConditionedEncoder
from contextssl.method import ContextualMethod

TURN, HUE = Group("turn", 1, 1, Kind.REAL, "half turns"), Group("hue", 1, 1, Kind.CIRCULAR, "turns")
ACTIONS = ActionSpace([TURN, HUE])


class Corner(nn.Module):
    """Reads the latents of a planted view off its first two channels."""

    out_dim = 2

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :2, 0, 0]


@dataclass(frozen=True)
class Told:
    """Embeds the told groups alone, on circles; everything after no context, where only the action is hidden."""

    environment: Environment
    length: int

    def embed_features(self, features: Tensor, action: Tensor | None = None) -> Tensor:
        if action is not None:
            features = features + hide(action, ACTIONS.action_mask(self.environment))
        angle = features * torch.tensor([math.pi, 2 * math.pi])
        kept = torch.ones(2) if self.length == 0 else ACTIONS.latent_mask(self.environment)
        circles = torch.stack([angle.cos(), angle.sin()], dim=-1) * kept[:, None]
        return nn.functional.normalize(circles.flatten(1), dim=1)

    def shortened(self, length: int) -> Told:
        return replace(self, length=length)


class Planted(ContextualMethod):
    """Knows the latents and does as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.actions = Corner(), ACTIONS

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        raise NotImplementedError

    def predict(self, x: Tensor, action: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        raise NotImplementedError

    def embed_target(self, x: Tensor, context: ConditionedEncoder | None = None) -> Tensor:
        raise NotImplementedError

    def condition_features(self, context: Transitions, environment: Environment) -> ConditionedEncoder:
        return Told(environment, 2 * context.length)  # type: ignore[return-value]
