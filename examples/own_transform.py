"""An augmentation of one's own becomes an action: shaded digits, in one file (docs/tutorials/own_transform.md)."""

from functools import partial

import torch
from sklearn.datasets import load_digits
from torch import nn

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import ProbeTarget
from contextssl.adapters import TransformedItems
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.evaluation.probe import LinearProbe, NearestNeighbours
from contextssl.evaluation.protocols import ReadoutProtocol
from contextssl.losses.contrastive import all_negatives
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.models.heads import mlp
from contextssl.models.transformer import ContextTransformer
from contextssl.reporting.tables import markdown_table
from contextssl.testing import check_adapter
from contextssl.training import Plan, TrainingState, fit
from domains.vision.transforms import Compose, Rotation, Transform


class Shading(Transform):
    """Light from the right (positive) or from the left: brightness changes along a row by up to `strongest`."""

    def __init__(self, strongest=0.8):
        super().__init__(Group("shading", 1, 1, Kind.REAL, "change of brightness from the middle to the right edge"))
        self.strongest = strongest

    def draw(self, num_rows, generator):
        return self.strongest * (2 * torch.rand(num_rows, 1, generator=generator, device=generator.device) - 1)

    def _apply(self, images, parameters):
        right = torch.linspace(-1, 1, images.shape[-1], device=images.device, dtype=images.dtype)
        return (images * (1 + parameters.view(-1, 1, 1, 1) * right)).clamp(0, 1)


class Encoder(nn.Sequential):
    out_dim = 64


def make_adapter():
    digits = load_digits()
    images = 0.1 + 0.5 * torch.tensor(digits.images / 16).float().unsqueeze(1)  # grey paper, so that it can be shaded
    transform = Compose([Rotation((-1 / 6, 1 / 6)), Shading()])
    encoder = lambda: Encoder(nn.Flatten(), mlp(64, (256, 256), 64))  # noqa: E731
    target = ProbeTarget("digit", torch.tensor(digits.target), 10)
    return TransformedItems(images, transform, ActionSpace(transform.groups), [target], encoder=encoder)


def run(seed=0, num_steps=800, lengths=(0, 2, 14, 126)):
    adapter = make_adapter()
    check_adapter(adapter)
    torch.manual_seed(seed)
    method = ContextSSL(adapter.build_encoder(), adapter.actions, standardise=True, auxiliary_weight=1.0, auxiliary_dims=(256,),
                        transformer=partial(ContextTransformer, width=128, num_layers=2, fan_in_init=True),
                        contrastive=all_negatives, environments=EnvironmentSampler({"rotation": 0.5, "shading": 0.5}))  # fmt: skip
    plan = Plan(optimizer=partial(torch.optim.AdamW, lr=2e-3), num_steps=num_steps, batch_size=2, num_transitions=64)
    state = TrainingState(method, plan.optimizer(method.parameters()), torch.Generator().manual_seed(seed))
    fit(state, adapter.train_sequences(64, seed), plan, on_step=lambda step, terms: None)
    bank = EmbeddingBank(method, adapter, context_lengths=lengths, environments=adapter.actions.environments[:2], controls=())
    return list(ReadoutProtocol(probes=(LinearProbe(), NearestNeighbours()), num_train=1024)(bank))


if __name__ == "__main__":
    print(markdown_table(run(), ("environment", "target", "probe"), ("context_length",), metric=("r2_varw", "accuracy")))
