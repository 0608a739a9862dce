"""The part of an action that a predictor is told."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from contextssl.actions import ActionSpace


class ToldAction(nn.Module):
    """The columns of some groups, each divided by its training scale: [..., A] -> [..., out_dim].

    Dividing lets a predictor read every group equally well, whatever its units; the released code of SIE feeds the
    numbers as they are.

    Args:
        actions: the domain's action space.
        groups: names of the groups to tell; all when None.

    Raises:
        ValueError: for an unknown group, or none.
    """

    columns: Tensor
    scale: Tensor

    def __init__(self, actions: ActionSpace, groups: Sequence[str] | None = None) -> None:
        super().__init__()
        columns = actions.action_columns(actions.names if groups is None else groups)
        self.out_dim = len(columns)
        self.register_buffer("columns", columns)
        self.register_buffer("scale", actions.action_scale[columns])

    def forward(self, action: Tensor) -> Tensor:
        """[..., A] -> [..., out_dim]."""
        return action[..., self.columns] / self.scale
