"""Our own contestants: the bare encoder, any method of `configs/method`, the context transformer alone, a matrix product."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peers.contestant import Contestant, Settings, planted_embeddings, serve
from torch import nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.batch import Transitions
from contextssl.commands.configuration import build as build_config
from contextssl.commands.configuration import compose_config
from contextssl.losses.contrastive import nt_xent
from contextssl.method import Method
from contextssl.methods.context_ssl import ContextSSL
from contextssl.models.masks import pair_mask
from contextssl.training import Plan, TrainingState, train_step

ACTIONS = ActionSpace([
    Group("rotation", 4, 4, Kind.QUATERNION, "scalar last"), Group("color", 2, 2, Kind.CIRCULAR, "turns")
])  # fmt: skip
SIDE_OF_PRODUCT = 8192


def method_of(encoder: nn.Module, overrides: list[str]) -> Method:
    """The method that a configuration describes, with rotation and colour as actions."""
    method: Method = build_config(compose_config(overrides).method)(encoder, ACTIONS)
    return method


def transitions(settings: Settings, num_transitions: int) -> Transitions:
    """The views as [B, T] pairs with actions and latents of noise."""
    draws = torch.Generator().manual_seed(2)
    shape = (settings.images // 2 // num_transitions, num_transitions)
    x, y = settings.views()
    action, latent = torch.randn(*shape, 6, generator=draws), torch.randn(*shape, 2, 6, generator=draws)
    return Transitions(x.unflatten(0, shape), action, y.unflatten(0, shape), latent).to(settings.device)


def bare_encoder(settings: Settings) -> Contestant:
    """Forward and backward of the encoder over all images of a step, in one pass."""
    encoder, images = settings.prepared(settings.encoder()), torch.cat(settings.views())

    def step() -> None:
        encoder.zero_grad(set_to_none=True)
        with settings.autocast():
            features = encoder(images)
        features.float().square().mean().backward()

    return Contestant(step, (), num_parameters(encoder))


def whole_step(settings: Settings, overrides: list[str], num_transitions: int) -> Contestant:
    """A training step, optimizer included."""
    method = method_of(settings.encoder(), overrides).to(settings.device).train()
    for module in method.children():
        settings.prepared(module)
    batch = transitions(settings, num_transitions)
    plan = Plan(
        optimizer=partial(torch.optim.AdamW, lr=1e-3, weight_decay=1e-4, fused=True),
        num_steps=10**6,
        batch_size=batch.num_sequences,
        num_transitions=num_transitions,
        precision=settings.precision,
    )
    state = TrainingState(method, settings.optimizer(method), torch.Generator().manual_seed(0))
    loss = nt_xent(*planted_embeddings(), settings.temperature).item()
    return Contestant(lambda: train_step(state, [batch], plan), (), num_parameters(method), loss)


def transformer_alone(settings: Settings, overrides: list[str], num_transitions: int) -> Contestant:
    """A method's context transformer on the tokens of a step: forward, backward and its share of the optimizer."""
    method = method_of(settings.encoder(), overrides)
    assert isinstance(method, ContextSSL)
    transformer = settings.prepared(method.transformer)
    optimizer = settings.optimizer(transformer)
    num_tokens = 2 * num_transitions
    tokens = torch.randn(settings.images // num_tokens, num_tokens, transformer.read_in.in_features, device=settings.device)
    masks = [pair_mask(num_tokens, settings.device)] * len(transformer.blocks)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with settings.autocast():
            outputs = transformer(tokens, masks)
        outputs.float().square().mean().backward()
        optimizer.step()

    return Contestant(step, (), num_parameters(transformer))


def matrix_product(settings: Settings) -> Contestant:
    """One product of square matrices: how fast this device can be."""
    dtype = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
    matrix = torch.ones(SIDE_OF_PRODUCT, SIDE_OF_PRODUCT, dtype=dtype, device=settings.device)
    return Contestant(lambda: matrix @ matrix, (), 0)


def num_parameters(module: nn.Module) -> int:
    """Trained and not."""
    return sum(parameter.numel() for parameter in module.parameters())


def build(settings: Settings) -> Contestant:
    """The contestant that `own["what"]` names; the rest of `own` are its arguments."""
    kinds: dict[str, Any] = {
        "encoder": bare_encoder, "method": whole_step, "transformer": transformer_alone, "product": matrix_product
    }  # fmt: skip
    asked = dict(settings.own or {})
    contestant: Contestant = kinds[asked.pop("what")](settings, **asked)
    return contestant


if __name__ == "__main__":
    serve(build)
