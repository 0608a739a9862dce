"""Labels that depend on the environment: what of them travels in a batch, and which label a rule gives an item.

A `Transitions` carries the classes of both of its items as further columns of its latents, behind the parameters of the
groups. So they pass through stacking, cutting, devices and contexts with everything else, and an action space that knows
of them says where they are. They are no group: nothing can tell them, and no action has them.

B sequences, T transitions, L latent width, K class columns, R rules, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from contextssl.actions import ActionSpace, Environment
from contextssl.transfer import send


@dataclass(frozen=True, slots=True)
class LabelRule:
    """The label of every class of one target.

    Attributes:
        name: of the environment in which the rule holds, or any other.
        target: the target whose classes it reads, one of the class columns.
        labels: label of class 0, 1...
        unseen: whether no training sequence follows it.
    """

    name: str
    target: str
    labels: tuple[int, ...]
    unseen: bool = False


class LabelledActions(ActionSpace):
    """An action space whose latents also hold the items' classes, one column for each of `targets`.

    Args:
        actions: the groups and their scales.
        targets: names of the class columns, in their order.
        rules: all rules; those that are not `unseen` come first.
        num_labels: width of a classifier's output; every label is below it.

    Raises:
        ValueError: for a rule that reads no column, repeated names, no rule to train on, or a label outside the head.
    """

    def __init__(self, actions: ActionSpace, targets: Sequence[str], rules: Sequence[LabelRule], num_labels: int) -> None:
        self.targets, self.num_labels = tuple(targets), num_labels
        self.rules = tuple(sorted(rules, key=lambda rule: rule.unseen))
        self.num_seen_rules = sum(not rule.unseen for rule in self.rules)
        self._check_rules()
        nothing, ones = torch.zeros(len(self.targets)), torch.ones(len(self.targets))
        super().__init__(
            actions.groups,
            actions.action_scale,
            torch.cat([actions.latent_mean, nothing]),
            torch.cat([actions.latent_scale, ones]),
        )

    @cached_property
    def latent_dim(self) -> int:
        """Width L of the latent: the groups' parameters, then the class columns."""
        return self.num_parameters + len(self.targets)

    @cached_property
    def num_parameters(self) -> int:
        """Number of the latent's columns that are parameters of groups."""
        return sum(group.latent_dim for group in self.groups)

    def latent_mask(self, environment: Environment) -> Tensor:
        """[L], 1 where the coordinate belongs to a told group; classes belong to none."""
        return torch.cat([super().latent_mask(environment), torch.zeros(len(self.targets))])

    def rule(self, name: str) -> int:
        """The number of the rule of that name; ValueError with the known names otherwise."""
        names = [rule.name for rule in self.rules]
        if name not in names:
            raise ValueError(f"environment {name!r} has no rule: this domain has rules for {names}; add one to its `rules`")
        return names.index(name)

    def classes(self, latent: Tensor) -> Tensor:
        """[..., K] int64 classes in latents [..., L]."""
        return latent[..., self.num_parameters :].round().long()

    def labels(self, latent: Tensor, rule: Tensor) -> Tensor:
        """[...] int64 labels of items with latents [..., L] under rules [...] (numbers); the leading axes broadcast."""
        classes = self.classes(latent)
        shape = torch.broadcast_shapes(classes.shape[:-1], rule.shape)
        rule, columns, table = (send(part, latent.device) for part in (rule, self._columns, self.table))
        rule = rule.expand(shape)
        column = columns[rule].unsqueeze(-1)
        labels: Tensor = table[rule, classes.expand(*shape, -1).gather(-1, column).squeeze(-1)]
        return labels

    @cached_property
    def table(self) -> Tensor:
        """[R, C] label of each class under each rule; -1 where a rule's target has fewer classes."""
        rows = [torch.tensor(rule.labels) for rule in self.rules]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)

    @cached_property
    def told_by_rule(self) -> Tensor:
        """[R, G] 1 where the environment of the rule's name tells the group; zeros for rules of other names."""
        return torch.tensor([[float(group in rule.name.split("+")) for group in self.names] for rule in self.rules])

    @cached_property
    def _columns(self) -> Tensor:
        """[R] the class column that each rule reads."""
        return torch.tensor([self.targets.index(rule.target) for rule in self.rules])

    def _check_rules(self) -> None:
        names = [rule.name for rule in self.rules]
        if not self.num_seen_rules or len(set(names)) < len(names):
            raise ValueError(f"rules: expected distinct names and at least one rule to train on, found {names}")
        for rule in self.rules:
            if rule.target not in self.targets:
                raise ValueError(f"rule {rule.name!r} reads {rule.target!r}, but the classes are those of {list(self.targets)}")
            for number, label in enumerate(rule.labels):
                if not 0 <= label < self.num_labels:
                    raise ValueError(
                        f"rule {rule.name!r} gives class {number} of {rule.target!r} the label {label}, outside a head of "
                        f"{self.num_labels} labels; set num_labels to at least {max(rule.labels) + 1}, or change the rule"
                    )
