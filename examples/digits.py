"""A domain of one's own: digits that are turned and inked, in one file (docs/tutorials/digits.md)."""

from functools import partial

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import affine_grid, grid_sample

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import ProbeTarget
from contextssl.adapters import TransformedItems
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.losses.contrastive import all_negatives
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.models.heads import mlp
from contextssl.models.transformer import ContextTransformer
from contextssl.reporting.tables import markdown_table
from contextssl.testing import check_adapter
from contextssl.training import Plan, TrainingState, fit


class Encoder(nn.Sequential):
    out_dim = 64


def turn_and_ink(images, draws):
    """Turn images [N, 1, 8, 8] by up to 60 degrees, weaken their strokes, and say how."""
    angle, ink = 2.1 * torch.rand(len(images), generator=draws) - 1.05, 0.25 + 0.75 * torch.rand(len(images), generator=draws)
    rows = torch.stack([angle.cos(), -angle.sin(), 0 * angle, angle.sin(), angle.cos(), 0 * angle], dim=1).view(-1, 2, 3)
    turned = grid_sample(images, affine_grid(rows, list(images.shape), align_corners=False), align_corners=False)
    return turned * ink.view(-1, 1, 1, 1), torch.stack([angle, ink], dim=1)


def make_adapter():
    images, digit = torch.tensor(load_digits().images / 16).unsqueeze(1), torch.tensor(load_digits().target)
    groups = [Group("rotation", 1, 1, Kind.REAL, "radians"), Group("intensity", 1, 1, Kind.REAL, "share of the ink")]
    encoder = lambda: Encoder(nn.Flatten(), mlp(64, (256, 256), 64))  # noqa: E731
    return TransformedItems(images, turn_and_ink, ActionSpace(groups), [ProbeTarget("digit", digit, 10)], encoder=encoder)


def run(seed=0, num_steps=1000, lengths=(0, 2, 14, 30, 126)):
    adapter = make_adapter()
    check_adapter(adapter)
    torch.manual_seed(seed)
    method = ContextSSL(adapter.build_encoder(), adapter.actions, standardise=True, auxiliary_weight=1.0, auxiliary_dims=(256,),
                        transformer=partial(ContextTransformer, width=128, num_layers=2, fan_in_init=True),
                        contrastive=all_negatives, environments=EnvironmentSampler({"rotation": 0.5, "intensity": 0.5}))  # fmt: skip
    plan = Plan(optimizer=partial(torch.optim.AdamW, lr=2e-3), num_steps=num_steps, batch_size=2, num_transitions=64)
    state = TrainingState(method, plan.optimizer(method.parameters()), torch.Generator().manual_seed(seed))
    fit(state, adapter.train_sequences(64, seed), plan, on_step=lambda step, terms: None)
    bank = EmbeddingBank(method, adapter, context_lengths=lengths, environments=adapter.actions.environments[:2], controls=())
    return list(ReadoutProtocol(num_train=1024)(bank))


if __name__ == "__main__":
    print(markdown_table(run(), ("environment", "target", "probe"), ("context_length",), metric=("r2_varw", "accuracy")))
