"""Every method's step, some methods' training, and everything they use across processes, in one of several or alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from contextssl.batch import Transitions
from contextssl.commands.configuration import build, compose_config
from contextssl.distributed import average, gather, own, synchronise_batch_norms, total
from contextssl.losses.contrastive import all_negatives, cross_negatives, sequence_cross_negatives
from contextssl.losses.variance_covariance import covariance_penalty, variance_hinge
from contextssl.method import Method
from contextssl.methods.aug_self import AugSelf
from contextssl.methods.byol import BYOL
from contextssl.methods.context_ssl import ContextSSL
from contextssl.methods.environments import EnvironmentSampler
from contextssl.methods.equimod import EquiMOD, EquiMODObjective
from contextssl.methods.plus import Plus
from contextssl.methods.sen import SEN, SENObjective
from contextssl.methods.sen_hinge import HingeObjective, SENHinge
from contextssl.methods.seq_jepa import SeqJEPA
from contextssl.methods.sie import SIE, SIEObjective
from contextssl.methods.simclr import SimCLR, SimCLRObjective
from contextssl.methods.vicreg import VICReg, VICRegObjective
from contextssl.models.aggregator import Aggregator
from contextssl.models.transformer import ContextTransformer
from contextssl.processes import average_gradients, average_terms, from_first, highest
from contextssl.testing import ToyAdapter
from contextssl.training import Plan, TrainingState, fit

ADAPTER = ToyAdapter()
TRAJECTORIES = ToyAdapter(trajectories=True)
TRANSFORMER = partial(ContextTransformer, width=16, num_layers=2, num_heads=2, fan_in_init=True)
DIMS = (24, 16)
# Embeddings are small at first and the margin wide, so that the hinge is active.
HINGE = HingeObjective(margin=20.0)
CONTEXT_SSL = partial(
    ContextSSL, transformer=TRANSFORMER, auxiliary_dims=(16,), standardise=True, environments=EnvironmentSampler(decoy_share=0.3),
    mask_probabilities=(0.2, 0.7), mask_per_sequence=True,
)  # fmt: skip
SEQ_JEPA = partial(
    SeqJEPA, num_steps=4, action_embedding_dim=8, predictor_dim=16,
    aggregator=partial(Aggregator, num_layers=1, dropout=0.0),  # processes drop different units
)  # fmt: skip
# The preset with everything at work at once: the penalty from the first step on, and a queue that overflows.
DEFAULT = [
    "method=context_ssl/default", "method.rehearsal.context_pairs=[0,1,3]", "method.rehearsal.evidence_weight=1.0",
    "method.rehearsal.penalty.ramp=2", "+method.rehearsal.penalty.onset_r2=-1e6", "+method.rehearsal.penalty.queue_length=300",
]  # fmt: skip
PLUS = partial(Plus, transformer=TRANSFORMER, embedding_dim=16, standardise=True)
METHODS: dict[str, Callable[..., Method]] = {
    "simclr": partial(SimCLR, projector_dims=DIMS),
    "vicreg": partial(VICReg, projector_dims=DIMS),
    "byol": partial(BYOL, projector_dims=DIMS, num_steps=4),
    "equimod": partial(EquiMOD, projector_dims=DIMS),
    "sen": partial(SEN, projector_dims=DIMS),
    "sen_hinge": partial(SENHinge, projector_dims=DIMS, transition_dims=(16,), objective=HINGE),
    "sie": partial(SIE, projector_dims=DIMS),
    "aug_self": partial(AugSelf, projector_dims=DIMS),
    "seq_jepa": SEQ_JEPA,
    "simclr+": partial(PLUS, objective=SimCLRObjective()),
    "vicreg+": partial(PLUS, objective=VICRegObjective()),
    "equimod+": partial(PLUS, objective=EquiMODObjective()),
    "sen+": partial(PLUS, objective=SENObjective()),
    "sie+": partial(PLUS, objective=SIEObjective()),
    "sie+, alone": partial(PLUS, objective=SIEObjective(), alone=True),
    "context_ssl": partial(CONTEXT_SSL, contrastive=all_negatives),
    "context_ssl, one sequence": partial(CONTEXT_SSL, contrastive=sequence_cross_negatives),
    "context_ssl, default": lambda *given: build(compose_config(DEFAULT).method)(*given),
}
# Name of a method and number of micro-batches.
TRAININGS = [
    ("simclr", 1), ("vicreg", 2), ("byol", 1), ("context_ssl", 2), ("context_ssl, default", 1), ("context_ssl, default", 2),
]  # fmt: skip
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "all_negatives": lambda x, y: all_negatives(x[None], y[None]),
    "cross_negatives": lambda x, y: cross_negatives(x[None], y[None]),
    "sequence_cross_negatives": lambda x, y: sequence_cross_negatives(x.unflatten(0, (-1, 2)), y.unflatten(0, (-1, 2))),
    "variance_hinge": lambda x, y: variance_hinge(0.3 * x) + y.sum() * 0,
    "covariance_penalty": lambda x, y: covariance_penalty(x + y),
    "hinge": lambda x, y: torch.stack(list(HINGE(0.2 * x, y, 0.9 * x).values())).sum(),
}


class NormalisedEncoder(nn.Module):
    """A linear layer and a batch normalisation, as image encoders have."""

    def __init__(self, width: int = 12, out_dim: int = 16) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.body = nn.Sequential(nn.Linear(width, out_dim), nn.BatchNorm1d(out_dim), nn.ReLU(), nn.Linear(out_dim, out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 12] -> [N, 16]."""
        features: Tensor = self.body(x)
        return features


def part(rows: Tensor, rank: int, size: int) -> Tensor:
    """The rank's share of the rows of a whole batch."""
    return rows.chunk(size)[rank]


def method_step(name: str, rank: int, size: int) -> dict[str, Any]:
    """Terms, and gradients averaged over processes, of a method on its share of one batch of eight sequences."""
    torch.manual_seed(0)
    adapter = TRAJECTORIES if name == "seq_jepa" else ADAPTER
    method = METHODS[name](NormalisedEncoder(), adapter.actions).train()
    synchronise_batch_norms(method)
    whole = adapter.held_out(4, 8, seed=0)
    batch = Transitions(*(part(rows, rank, size) for rows in (whole.state, whole.action, whole.next_state, whole.latent)))
    terms = method.loss_terms(batch, torch.Generator().manual_seed(0))
    torch.stack(list(terms.values())).sum().backward()
    return {
        "terms": {term: averaged(value.detach(), size) for term, value in terms.items()},
        "gradients": {key: averaged(p.grad, size) for key, p in method.named_parameters() if p.grad is not None},
        "buffers": dict(method.named_buffers()),
    }


def training(name: str, num_micro_batches: int, rank: int, size: int) -> dict[str, Any]:
    """Terms of four steps and the state after them; plain gradient descent, because Adam enlarges roundings."""
    torch.manual_seed(0)
    method = METHODS[name](NormalisedEncoder(), ADAPTER.actions)
    synchronise_batch_norms(method)
    optimizer = partial(torch.optim.SGD, lr=0.02, momentum=0.9)
    plan = Plan(
        optimizer=optimizer,
        num_steps=4,
        batch_size=16,
        num_transitions=4,
        num_micro_batches=num_micro_batches,
        max_gradient_norm=1.0,
    )
    state = TrainingState(method, plan.optimizer(method.parameters()), torch.Generator().manual_seed(0))
    terms: dict[str, Tensor] = {}
    fit(
        state,
        ADAPTER.train_sequences(4, 0),
        plan,
        lambda step, found: terms.update({f"{step} {key}": value for key, value in found.items()}),
    )
    return {"terms": terms, "state": dict(method.state_dict())}


def loss_step(name: str, rank: int, size: int) -> dict[str, Any]:
    """A loss, and its gradient with respect to a shared weight, averaged over processes, and to the own rows."""
    draws = torch.Generator().manual_seed(1)
    x, y = (part(torch.randn(12, 6, generator=draws), rank, size).requires_grad_() for _ in range(2))
    weight = torch.eye(6).add(0.1).requires_grad_()
    loss = LOSSES[name](x @ weight, y @ weight)
    loss.backward()
    assert weight.grad is not None and x.grad is not None
    rows = gather(x.grad) / size
    return {"loss": averaged(loss.detach(), size), "weight": averaged(weight.grad, size), "rows": rows}


def norm_step(shape: tuple[int, ...], momentum: float | None, affine: bool, rank: int, size: int) -> dict[str, Tensor]:
    """Two steps and one evaluation of a synchronised batch normalisation on its share of rows."""
    layer = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](shape[1], momentum=momentum, affine=affine)
    synchronise_batch_norms(layer)
    draws = torch.Generator().manual_seed(2)
    outputs, gradients = [], []
    for _ in range(2):
        rows = part(5 + 2 * torch.randn(shape, generator=draws), rank, size).requires_grad_()
        goal = part(torch.randn(shape, generator=draws), rank, size)
        output = layer(rows)
        (output * goal).sum().backward()
        assert rows.grad is not None
        outputs.append(gather(output.detach()))
        gradients.append(gather(rows.grad))
    evaluated = gather(layer.eval()(part(torch.randn(shape, generator=draws), rank, size)).detach())
    return {"outputs": torch.stack(outputs), "gradients": torch.stack(gradients), "evaluated": evaluated} | layer.state_dict()


def together(rank: int, size: int) -> dict[str, Any]:
    """What the processes make of what each of them has."""
    first, second, never = (nn.Parameter(torch.zeros(2, 3, dtype=kind)) for kind in (torch.float32, torch.float64, torch.float32))
    late = nn.Parameter(torch.zeros(4, 1))
    first.grad, second.grad = torch.full((2, 3), 1.0 + rank), torch.full((2, 3), 3.0 * rank, dtype=torch.float64)
    late.grad = torch.arange(4.0).view(4, 1) if rank == size - 1 else None
    average_gradients([first, second, nn.Parameter(torch.zeros(1), requires_grad=False), never, late])
    return {
        "gradients": [first.grad, second.grad, never.grad, late.grad],
        "terms": average_terms({"a": torch.tensor(1.0 + rank), "b": torch.tensor(2.0)}),
        "highest": highest(7 * rank),
        "from first": from_first(lambda: f"made by {rank}"),
        "own": [own(torch.arange(6)), list(own(range(10, 14)))],
        "total": total(torch.tensor([1.0 + rank])),
        "average": average(torch.tensor(1.0 + rank)),
    }


NORMS = {
    "rows": ((8, 3), 0.1, True),
    "rows of sequences": ((8, 3, 5), 0.1, False),
    "pictures": ((8, 3, 2, 5), 0.3, True),
    "cumulative": ((8, 3), None, True),
}


def averaged(value: Tensor, size: int) -> Tensor:
    """The mean over processes."""
    return gather(value[None]).sum(0) / size


def everything(rank: int = 0, size: int = 1) -> dict[str, Any]:
    """All results by what they are of."""
    found: dict[str, Any] = {f"method {name}": method_step(name, rank, size) for name in METHODS}
    found |= {f"training {case}": training(*case, rank, size) for case in TRAININGS}
    found |= {f"loss {name}": loss_step(name, rank, size) for name in LOSSES}
    found["together"] = together(rank, size)
    return found | {f"norm {name}": norm_step(*case, rank, size) for name, case in NORMS.items()}


def work(rank: int, size: int, folder: Path) -> None:
    """One process of a group: its results go to `<rank>.pt`."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=size, timeout=timedelta(seconds=120)
    )
    torch.save(everything(rank, size), folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()
