"""The typed batch: the only thing that crosses the border between a domain and the core.

Axis letters, the same in every file of the core:
B sequences, T transitions (pairs) in a sequence, N rows, A action width, L latent width, D width, S tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from contextssl.transfer import send


@dataclass(frozen=True, slots=True)
class Transitions:
    """B sequences of T transitions (x, a, y): an item, a relative transformation, the transformed item.

    Attributes:
        state: [B, T, *input], the items x before the transformation.
        action: [B, T, A], the true relative transformation, in the units its ActionSpace states. Never hidden
            here: what a model is told is decided by an Environment, in the core.
        next_state: [B, T, *output], the items y after it (`*output` is `*input` unless y is a label).
        latent: [B, T, 2, L], the individual transformation parameters t^x and t^y of both views.

    Raises:
        ValueError: when the leading axes disagree, naming the expected and the found shape.
    """

    state: Tensor
    action: Tensor
    next_state: Tensor
    latent: Tensor

    def __post_init__(self) -> None:
        if self.action.ndim != 3:
            raise ValueError(f"action: expected shape [B, T, A], found {list(self.action.shape)}")
        leading = self.action.shape[:2]
        for name, expected in (("state", "[B, T, *input]"), ("next_state", "[B, T, *output]")):
            shape = getattr(self, name).shape
            if len(shape) < 3 or shape[:2] != leading:
                raise ValueError(f"{name}: expected shape {expected} with B, T = {list(leading)}, found {list(shape)}")
        if self.latent.ndim != 4 or self.latent.shape[:3] != (*leading, 2):
            raise ValueError(f"latent: expected shape {[*leading, 2, 'L']}, found {list(self.latent.shape)}")

    @property
    def num_sequences(self) -> int:
        """Number of sequences B."""
        return self.action.shape[0]

    @property
    def length(self) -> int:
        """Number of transitions T in each sequence; the context has 2T tokens."""
        return self.action.shape[1]

    def pairs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """State, action, next state and latent with B and T merged into N = B*T rows, for pairwise methods."""
        return (self.state.flatten(0, 1), self.action.flatten(0, 1), self.next_state.flatten(0, 1), self.latent.flatten(0, 1))

    def first(self, length: int) -> Transitions:
        """The first `length` transitions of every sequence (views, no copy)."""
        return Transitions(self.state[:, :length], self.action[:, :length], self.next_state[:, :length], self.latent[:, :length])

    def with_items(self, state: Tensor, next_state: Tensor) -> Transitions:
        """The same transitions with other items in their place, for instance encoder features [B, T, D]."""
        return Transitions(state, self.action, next_state, self.latent)

    def with_action(self, action: Tensor) -> Transitions:
        """The same items with other actions [B, T, A]: what controls and decoys need."""
        return Transitions(self.state, action, self.next_state, self.latent)

    def to(self, device: torch.device | str) -> Transitions:
        """The same transitions on another device."""
        state, action, next_state, latent = (
            send(part, device) for part in (self.state, self.action, self.next_state, self.latent)
        )
        return Transitions(state, action, next_state, latent)


def stack(sequences: Sequence[Transitions]) -> Transitions:
    """One batch of all the sequences, in their order. This is the collate function of every loader."""
    return Transitions(
        torch.cat([sequence.state for sequence in sequences]),
        torch.cat([sequence.action for sequence in sequences]),
        torch.cat([sequence.next_state for sequence in sequences]),
        torch.cat([sequence.latent for sequence in sequences]),
    )
