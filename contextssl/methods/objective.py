"""Objectives on pairs of embeddings: what a pairwise method asks, apart from the heads that answer.

The same objective trains the method's own projector and predictor, or the context transformer in their place
(`plus.py`). N rows, E embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class PairObjective(ABC):
    """Named, weighted loss terms of embedded pairs. Subclasses are frozen records of weights, without parameters.

    Attributes:
        predicts: whether it wants predictions, and so actions.
    """

    predicts: ClassVar[bool]

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor, predicted: Tensor) -> dict[str, Tensor]:
        """Weighted scalars by name.

        Args:
            x: [N, E] embeddings of the items.
            y: [N, E] embeddings of the transformed items.
            predicted: [N, E] what is predicted of y from x and the action; x itself where nothing predicts.
        """


def split_embedding(embedding: Tensor, invariant_share: float) -> tuple[Tensor, Tensor]:
    """The invariant columns of [..., E], which come first, and the equivariant ones."""
    width = invariant_width(embedding.shape[-1], invariant_share)
    return embedding[..., :width], embedding[..., width:]


def invariant_width(width: int, invariant_share: float) -> int:
    """How many of so many columns are invariant; ValueError unless both parts get at least one."""
    invariant = round(invariant_share * width)
    if not 0 < invariant < width:
        raise ValueError(
            f"invariant_share {invariant_share} leaves {invariant} of {width} columns invariant: both parts need at least one"
        )
    return invariant
