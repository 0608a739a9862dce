"""Which environment each training sequence is in, and which sequences tell the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from contextssl.actions import ActionSpace, hide
from contextssl.batch import Transitions
from contextssl.distributed import num_processes, own
from contextssl.transfer import send


@dataclass(frozen=True, slots=True)
class Told:
    """What every sequence of a batch is told.

    Attributes:
        action: [B, T, A] the actions as shown: hidden where not told, shuffled among pairs in decoys.
        shown: [B, A] 1 where the sequence shows the coordinate, truthfully or not.
        presence: [B, G] 1 where a group is shown, -1 where it is hidden.
        groups: [B, G] 1 where a group is told truthfully; hidden groups and decoys count as not told.
        fits: [B, T] whether the shown action of a pair is its own; a decoy's may be by chance.
    """

    action: Tensor
    shown: Tensor
    presence: Tensor
    groups: Tensor
    fits: Tensor

    def groups_after(self, num_pairs: Tensor) -> Tensor:
        """[B, G] the groups told truthfully as far as each sequence's first num_pairs [B] pairs show.

        A decoy is one from its first misfit on.
        """
        later = torch.arange(self.fits.shape[1], device=self.fits.device) >= num_pairs[:, None]
        return (self.presence > 0) * (self.fits | later).all(1, keepdim=True).float()


class EnvironmentSampler:
    """Draws environments for training sequences.

    Args:
        probabilities: probability of each environment by name (`ActionSpace.environment`). None for the paper's:
            every group told alone, equally often, and for a single group told or not (protocol 1.4).
        per_sequence: draw for every sequence, stratified so that a batch holds each in its share; otherwise one draw
            for the whole batch, as the authors' code does (protocol 1.4).
        decoy_share: share of the telling sequences whose actions are shuffled among their pairs. They count as told
            nothing, so that the values of the actions matter and not only their presence.

    Raises:
        ValueError: for probabilities that do not sum to 1.
    """

    def __init__(
        self, probabilities: Mapping[str, float] | None = None, *, per_sequence: bool = True, decoy_share: float = 0.0
    ) -> None:
        if probabilities is not None and (
            min(probabilities.values(), default=0) < 0 or abs(sum(probabilities.values()) - 1) > 1e-6
        ):
            raise ValueError(f"environment probabilities must be non-negative and sum to 1, found {dict(probabilities)}")
        if not 0 <= decoy_share < 1:
            raise ValueError(f"decoy_share: expected 0 <= share < 1, found {decoy_share}")
        self.probabilities = probabilities
        self.per_sequence = per_sequence
        self.decoy_share = decoy_share

    def draw(self, batch: Transitions, actions: ActionSpace, generator: torch.Generator) -> Told:
        """What each sequence of the batch is told."""
        masks, shares, faithful = [], [], []
        names = actions.names if len(actions.names) > 1 else (*actions.names, "none")
        for name, probability in (self.probabilities or dict.fromkeys(names, 1 / len(names))).items():
            environment = actions.environment(name)
            mask = [float(group in environment.groups) for group in actions.names]
            decoys = self.decoy_share if environment.groups else 0.0
            masks += [mask, mask]
            shares += [probability * (1 - decoys), probability * decoys]
            faithful += [1.0, 0.0]
        choice = own(self._choose(torch.tensor(shares), num_processes() * batch.num_sequences, generator))
        widths = torch.tensor([group.action_dim for group in actions.groups])
        drawn = torch.tensor(masks)[choice]
        shown, coordinates, truthful = (
            send(part, batch.action.device)
            for part in (drawn, drawn.repeat_interleave(widths, dim=1), torch.tensor(faithful)[choice])
        )
        action = torch.where(truthful[:, None, None] > 0, batch.action, shuffled(batch.action, generator))
        visible = hide(action, coordinates.unsqueeze(1))
        fits = (visible == hide(batch.action, coordinates.unsqueeze(1))).all(-1)
        return Told(visible, coordinates, 2 * shown - 1, shown * truthful[:, None], fits)

    def _choose(self, shares: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """[count] indices: systematic sampling in random order, or one index for all."""
        if not self.per_sequence:
            return torch.multinomial(shares, 1, generator=generator).expand(count)
        start = torch.rand((), generator=generator)
        points = (torch.arange(count) + start) / count
        indices = torch.searchsorted(shares.cumsum(0), points, right=True).clamp_max(len(shares) - 1)
        return indices[torch.randperm(count, generator=generator)]


def shuffled(action: Tensor, generator: torch.Generator) -> Tensor:
    """The actions [B, T, A] of every sequence in an order of their own: they no longer fit their pairs."""
    draws = own(torch.rand(num_processes() * len(action), action.shape[1], generator=generator))
    order = send(draws.argsort(1), action.device)
    return action.gather(1, order.unsqueeze(-1).expand_as(action))
