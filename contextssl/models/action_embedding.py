"""Actions as tokens carry them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from contextssl.actions import ActionSpace
from contextssl.models.told_action import ToldAction


class ActionEmbedding(nn.Module):
    """The told coordinates of actions, by Linear and BatchNorm without bias or affine part: [..., A] -> [..., out_dim].

    Args:
        actions: the domain's action space.
        groups: names of the groups to tell, all when None. With none of them there is nothing to embed: `out_dim` is 0.
        width: `out_dim` otherwise.

    Raises:
        ValueError: for an unknown group.
    """

    def __init__(self, actions: ActionSpace, groups: Sequence[str] | None, width: int) -> None:
        super().__init__()
        self.out_dim, self.layers = 0, nn.Sequential()
        if groups is None or groups:
            told = ToldAction(actions, groups)
            self.layers.extend([told, nn.Linear(told.out_dim, width, bias=False), nn.BatchNorm1d(width, affine=False)])
            self.out_dim = width

    def forward(self, action: Tensor) -> Tensor:
        """[..., out_dim]."""
        rows = action.flatten(0, -2)
        if not len(rows) or not self.out_dim:
            return action.new_zeros(*action.shape[:-1], self.out_dim)
        embedded: Tensor = self.layers(rows)
        return embedded.view(*action.shape[:-1], self.out_dim)
