"""Representations that need no training: nothing, the columns, the columns without the sensitive ones or what they predict.

A baseline is a fixed representation of the columns. It goes through the same bank, probes and protocols as a trained
method, so that its numbers stand in the same table: logistic regression on the columns is the linear probe of the
representation `columns`, gradient boosting the boosting probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from fairlearn.preprocessing import CorrelationRemover
from torch import Tensor, nn

from contextssl.actions import ActionSpace
from contextssl.adapter import Split
from contextssl.batch import Transitions
from contextssl.evaluation.probe import LinearProbe, MLPProbe, Probe
from contextssl.evaluation.strong import GradientBoosting
from contextssl.method import Method
from domains.tabular.sensitive_table import SensitiveTable

Rows = npt.NDArray[np.float32]
Representation = Callable[[Rows], Rows]

REMOVER_ALPHAS = (1.0, 0.7)
# Boosting gets all rows: as the strongest classifier of a table it is the accuracy to compare with.
PROBES: tuple[Probe, ...] = (
    LinearProbe(standardised=True),
    LinearProbe(),
    MLPProbe(standardised=True),
    GradientBoosting(num_train=50_000, max_iter=100),
)


class FixedRepresentation(Method):
    """A function of the columns in the place of a trained method; it has no parameters and nothing to learn."""

    def __init__(self, representation: Representation, actions: ActionSpace) -> None:
        super().__init__()
        self.encoder, self.actions = _Columns(representation), actions

    def loss_terms(self, batch: Transitions, generator: torch.Generator) -> dict[str, Tensor]:
        """No terms."""
        del batch, generator
        return {}


class _Columns(nn.Module):
    def __init__(self, representation: Representation) -> None:
        super().__init__()
        self.representation = representation

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.representation(x.cpu().numpy())).to(x)


@dataclass(frozen=True)
class Baseline:
    """Name in tables, representation, and the probes that read it."""

    name: str
    representation: Representation
    probes: tuple[Probe, ...]


def baselines(adapter: SensitiveTable, probes: tuple[Probe, ...] = PROBES) -> list[Baseline]:
    """Every baseline, fitted on training rows.

    `majority` sees nothing, so one probe is enough. `columns` are the encoder's own inputs. `correlation-remover-A`
    subtracts a share A of what the sensitive columns predict linearly, through fairlearn, and drops them.
    """
    train = adapter.table(Split.TRAIN)
    columns = np.arange(train.values.shape[1])
    told = [train.blocks[name].stop - 1 for name in adapter.sensitive]  # one of an attribute's two one-hots says it all
    others = np.setdiff1d(columns, np.concatenate([columns[train.blocks[name]] for name in adapter.sensitive]))
    return [
        Baseline("majority", lambda rows: np.zeros((len(rows), 1), dtype=np.float32), (LinearProbe(standardised=True),)),
        Baseline("columns", lambda rows: rows, probes),
        Baseline("columns-without-sensitive", lambda rows: rows[:, others], probes),
        *(
            Baseline(f"correlation-remover-{alpha:g}", _remover(train.values, told, others, alpha), probes)
            for alpha in REMOVER_ALPHAS
        ),
    ]


def _remover(train: Rows, told: list[int], others: npt.NDArray[np.int64], alpha: float) -> Representation:
    columns = np.concatenate([others, told])
    remover = CorrelationRemover(sensitive_feature_ids=list(range(len(others), len(columns))), alpha=alpha).fit(train[:, columns])
    return lambda rows: np.asarray(remover.transform(rows[:, columns]), dtype=np.float32)
