"""The probes of the paper's released code, for comparing with its numbers (protocol 6.2 to 6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from contextssl.evaluation.probe import Labels, Parts, initial_network, losses, network_outputs


@dataclass(frozen=True)
class ReleasedProbe:
    """A ReLU network, or a linear layer, on raw inputs and raw targets: Adam at a constant rate, the last weights kept.

    Nothing is chosen on the rows to choose on. The paper draws one new pair of each item in each of 200 epochs; one
    epoch over 200 pairs of each item, drawn once, is the same number of steps on as many different pairs. Where so many
    do not fit the memory, 25 epochs over 8 pairs are the same number of steps.

    Attributes:
        hidden_dims: widths of the hidden layers; none for a linear probe.
        epochs: passes over the rows to fit on.
        batch_size, learning_rate: of Adam.
        seed: of the first weights and of the order of the rows.
    """

    hidden_dims: tuple[int, ...] = ()
    epochs: int = 25
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0

    @property
    def name(self) -> str:
        """`mlp-released` or `linear-released`."""
        return "mlp-released" if self.hidden_dims else "linear-released"

    def outputs(self, parts: Parts, targets: Sequence[Labels]) -> list[Tensor]:
        """See `contextssl.evaluation.probe.Probe`."""
        return [network_outputs(self._train(parts.fit, target), parts.report) for target in targets]

    def _train(self, fit: Tensor, target: Labels) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        out_dim = target.fit.shape[1] if target.num_classes is None else target.num_classes
        parameters = initial_network(fit, (*self.hidden_dims, out_dim), generator)
        optimizer = torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)
        for _ in range(self.epochs):
            order = torch.randperm(fit.shape[1], generator=generator).to(fit.device)
            for batch in order.split(self.batch_size):
                optimizer.zero_grad()
                losses(network_outputs(parameters, fit[:, batch]), target.fit[batch]).sum().backward()
                optimizer.step()
        return [parameter.detach() for parameter in parameters]
