"""An encoder trained against a reader of the sensitive attributes, after LAFTR (Madras et al. 2018).

Letters: N rows, D columns, C combinations of sensitive values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.adapter import Split
from domains.tabular.baselines.fixed import Representation, Rows
from domains.tabular.samplers import attribute_cell
from domains.tabular.sensitive_table import SensitiveTable


class Criterion(StrEnum):
    """Among which rows the adversary's guesses are averaged before groups are weighed alike."""

    DEMOGRAPHIC_PARITY = "demographic-parity"  # all rows of a group
    EQUALIZED_ODDS = "equalized-odds"  # those of one group and class


@dataclass(frozen=True, slots=True)
class AdversarialEncoder:
    """The choices of one encoder; each weight is another training for another point.

    The encoder's loss is the classifier's cross-entropy, plus `reconstruction` times the squared error of a decoder that is
    told the groups, plus `weight` times how far the adversary is from knowing nothing: the cross-entropy of even odds under
    what it says (Tzeng et al. 2015), with all groups (and classes) weighed alike. LAFTR's own term, the probability of the
    true group, has no gradient where the group is read with certainty, as it is at first from columns that hold it. Codes are
    batch-normalised, so that nothing is hidden from the adversary by making it small, and the adversary learns faster than
    the encoder. Unlike self-supervised methods this one is trained with its target's labels.

    Attributes:
        weight: of the adversary; 0 trains none.
        criterion: which strata are weighed alike.
        code_dim, hidden_dim: widths of the code and of the one hidden layer of each network.
        reconstruction: weight of the decoder.
        num_steps, batch_size, learning_rate: of Adam, for all networks.
        adversary_updates, adversary_rate: steps of the adversary for one of the encoder, and its learning rate in units of
            the encoder's.
    """

    weight: float = 1.0
    criterion: Criterion = Criterion.EQUALIZED_ODDS
    code_dim: int = 32
    hidden_dim: int = 128
    reconstruction: float = 0.3
    num_steps: int = 2500
    batch_size: int = 256
    learning_rate: float = 1e-3
    adversary_updates: int = 6
    adversary_rate: float = 4.0

    @property
    def name(self) -> str:
        """`adversarial-1` for weight 1."""
        return f"adversarial-{self.weight:g}"

    def fit(self, adapter: SensitiveTable, target: str, seed: int = 0) -> Representation:
        """From rows to codes [N, code_dim], trained on the adapter's training rows."""
        table, labels = adapter.table(Split.TRAIN), adapter.labelled(Split.TRAIN).target(target)
        rows, group = torch.from_numpy(table.values), torch.from_numpy(attribute_cell(table.sensitive))
        assert labels.num_classes is not None
        with torch.random.fork_rng(devices=[]):  # modules draw their weights from the global stream
            torch.manual_seed(seed)
            num_groups = 2 ** table.sensitive.shape[1]
            parts = _Parts(self, rows.shape[1], num_groups, labels.num_classes)
        self._train(parts, rows, group, labels.values, torch.Generator().manual_seed(seed))
        encoder = parts.encoder.eval()

        def represent(of: Rows) -> Rows:
            with torch.inference_mode():
                codes: Rows = encoder(torch.from_numpy(of)).numpy()
            return codes

        return represent

    def _train(self, parts: _Parts, rows: Tensor, group: Tensor, labels: Tensor, draws: torch.Generator) -> None:
        own = torch.optim.Adam([*parts.encoder.parameters(), *parts.readers()], lr=self.learning_rate)
        other = torch.optim.Adam(parts.adversary.parameters(), lr=self.adversary_rate * self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(own, self.num_steps)
        for batch in self._batches(len(rows), draws):
            x, s, y = rows[batch], group[batch], labels[batch]
            strata = s if self.criterion is Criterion.DEMOGRAPHIC_PARITY else s * int(labels.max() + 1) + y
            for _ in range(self.adversary_updates if self.weight else 0):
                other.zero_grad()
                scores = parts.adversary(parts.encoder(x).detach())
                balanced(F.cross_entropy(scores, s, reduction="none"), strata).backward()
                other.step()
            own.zero_grad()
            code = parts.encoder(x)
            told = torch.cat([code, F.one_hot(s, parts.num_groups).float()], dim=1)
            loss = F.cross_entropy(parts.classifier(code), y) + self.reconstruction * F.mse_loss(parts.decoder(told), x)
            (loss + self.weight * doubt(parts.adversary(code), strata)).backward()
            own.step()
            schedule.step()

    def _batches(self, num_rows: int, draws: torch.Generator) -> Iterator[Tensor]:
        for _ in range(self.num_steps):
            yield torch.randint(num_rows, (self.batch_size,), generator=draws)


def balanced(values: Tensor, strata: Tensor) -> Tensor:
    """The mean over strata of the mean of their values [N]."""
    return torch.stack([values[strata == stratum].mean() for stratum in strata.unique()]).mean()


def doubt(scores: Tensor, strata: Tensor) -> Tensor:
    """Cross-entropy of even odds under scores [N, C], every stratum weighed alike; log C where they are even."""
    return balanced(-scores.log_softmax(1).mean(1), strata)


class _Parts:
    """The four networks."""

    def __init__(self, choices: AdversarialEncoder, in_dim: int, num_groups: int, num_classes: int) -> None:
        def network(before: int, after: int) -> nn.Sequential:
            hidden = choices.hidden_dim
            return nn.Sequential(nn.Linear(before, hidden), nn.ReLU(), nn.Linear(hidden, after))

        self.num_groups = num_groups
        self.encoder = network(in_dim, choices.code_dim).append(nn.BatchNorm1d(choices.code_dim, affine=False))
        self.classifier = network(choices.code_dim, num_classes)
        self.decoder = network(choices.code_dim + num_groups, in_dim)
        self.adversary = network(choices.code_dim, num_groups)

    def readers(self) -> list[nn.Parameter]:
        """Parameters of what works with the encoder."""
        return [*self.classifier.parameters(), *self.decoder.parameters()]
