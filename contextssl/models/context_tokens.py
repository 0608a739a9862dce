"""How items, told actions and shown labels are laid side by side in a token, each part with equal energy."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from contextssl.actions import ActionSpace


class ContextTokens(nn.Module):
    """[..., D] features and what is told of them -> tokens [..., out_dim].

    Args:
        features_dim: D.
        actions: the domain's action space; A coordinates, G groups.
        standardise: scale told actions by their training statistics to the energy of D standardised features.
        tell_presence: one more number for each group: 1 told, -1 withheld, 0 in tokens that tell no action.
        num_labels: number of labels that a token may show; 0 for none.
    """

    gain: Tensor

    def __init__(
        self, features_dim: int, actions: ActionSpace, *, standardise: bool, tell_presence: bool, num_labels: int = 0
    ) -> None:
        super().__init__()
        self.num_actions, self.num_groups, self.num_labels = actions.action_dim, tell_presence * len(actions.groups), num_labels
        gain = (features_dim / actions.action_dim) ** 0.5 / actions.action_scale
        self.register_buffer("gain", gain if standardise else torch.ones(actions.action_dim))
        self.presence_gain, self.label_gain = (features_dim / len(actions.groups)) ** 0.5, features_dim**0.5
        self.out_dim = features_dim + self.num_actions + self.num_groups + num_labels

    def forward(
        self, features: Tensor, told_action: Tensor | None = None, presence: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Tokens; what is not given is zero.

        Args:
            features: [B, S, D].
            told_action: [B, S, A], hidden where it is not told.
            presence: [B, S or 1, G] 1 or -1, for tokens that tell an action.
            labels: [B, S] int64.
        """
        told = features.new_zeros(self.num_actions) if told_action is None else told_action * self.gain
        parts = [features, told]
        if self.num_groups:
            parts.append(features.new_zeros(self.num_groups) if presence is None else self.presence_gain * presence)
        if self.num_labels:
            shown = None if labels is None else self.label_gain * F.one_hot(labels, self.num_labels)
            parts.append(features.new_zeros(self.num_labels) if shown is None else shown.to(features))
        return torch.cat([part.expand(*features.shape[:-1], -1) for part in parts], dim=-1)
