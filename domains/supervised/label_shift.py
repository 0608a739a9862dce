"""Any labelled domain with labels that depend on the environment (Gupta et al. 2024, Section 4.6; protocol 8).

I items, N rows, T transitions, L latent width, K targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import torch
from torch import Tensor, nn

from contextssl.adapter import DomainAdapter, LabelledData, ProbeTarget, Split
from contextssl.adapters.items import DrawnSequences, as_float
from contextssl.adapters.relative import relative_action
from contextssl.batch import Transitions, stack
from contextssl.labels import LabelledActions, LabelRule
from domains.supervised.rules import Rule


class LabelShift(DomainAdapter):
    """A domain's items, encoder and groups, with a label for every item in every environment.

    Sequences carry the classes of both items behind the latents (`contextssl.labels`). They are drawn from the
    domain's labelled rows, because only those come with classes: a pair is two different rows of one item, and where an
    item has a single row its partner is any other row of the split. Actions follow from the latents by the groups' kinds.
    A domain whose labelled views are a sample (`views_per_object` of 3DIEBench, `views_per_image` of CIFAR-10) is
    trained on that sample; it is kept in memory.

    Targets: those of the domain, and `label_<rule>` for every rule.

    Args:
        adapter: the domain.
        target: its target whose classes the rules start from.
        rules: for each environment by name (`rotation`, `none`, `rotation+color`) what its labels are.
        unseen: further rules, which no training sequence follows.
        num_labels: width of the head; one more than the largest label when None.
        disjoint: whether no two rules may share a label, so that a label alone says which rule holds.

    Raises:
        ValueError: for a target that has no classes or does not exist, a rule that does not fit the classes, a label
            outside the head or shared though `disjoint`, or a domain whose actions do not follow from its latents.
    """

    actions: LabelledActions

    def __init__(
        self, adapter: DomainAdapter, target: str, rules: Mapping[str, Rule], unseen: Mapping[str, Rule] | None = None,
        num_labels: int | None = None, disjoint: bool = False,
    ) -> None:  # fmt: skip
        self.adapter, self._rows = adapter, dict[Split, _Rows]()
        data = adapter.labelled(Split.TEST)
        resolved = [_resolved(name, rule, target, data, unseen=False) for name, rule in rules.items()]
        resolved += [_resolved(name, rule, target, data, unseen=True) for name, rule in (unseen or {}).items()]
        if disjoint:
            _refuse_shared_labels(resolved)
        largest = max((label for rule in resolved for label in rule.labels), default=0)
        self._targets = tuple(dict.fromkeys(rule.target for rule in resolved))
        self.actions = LabelledActions(
            adapter.actions, self._targets, resolved, largest + 1 if num_labels is None else num_labels
        )
        self._check_actions()
        described = {rule.name: {"target": rule.target, "labels": list(rule.labels), "unseen": rule.unseen} for rule in resolved}
        self.manifest = adapter.manifest | {"labels": described, "num_labels": self.actions.num_labels}

    def build_encoder(self) -> nn.Module:
        """The domain's."""
        return self.adapter.build_encoder()

    def train_sequences(self, length: int, seed: int) -> DrawnSequences:
        """Sequences of different training items, as long as there are enough of them."""
        return self._sequences(length, seed, Split.TRAIN, "train")

    def held_out(self, length: int, count: int, seed: int, split: Split = Split.TRAIN) -> Transitions:
        """`count` sequences of the split's items."""
        sequences = self._sequences(length, seed, Split(split), f"held-out/{Split(split)}")
        return stack([sequences[index] for index in range(count)])

    def labelled(self, split: Split) -> LabelledData:
        """The domain's rows, with their classes behind the latents and their labels by every rule as targets."""
        return self._of(split).data

    def _of(self, split: Split) -> _Rows:
        """The split's rows, read once."""
        split = Split(split)
        if split not in self._rows:
            data = self.adapter.labelled(split)
            classes = torch.stack([data.target(name).values for name in self._targets], dim=1)
            latent = torch.cat([data.latent.float(), classes.float()], dim=1)
            labels = self.actions.labels(latent.unsqueeze(1), torch.arange(len(self.actions.rules)))
            own = [
                ProbeTarget(f"label_{rule.name}", labels[:, number], self.actions.num_labels)
                for number, rule in enumerate(self.actions.rules)
            ]
            self._rows[split] = _Rows(replace(data, latent=latent, targets=(*data.targets, *own)))
        return self._rows[split]

    def _sequences(self, length: int, seed: int, split: Split, purpose: str) -> DrawnSequences:
        rows = self._of(split)

        def draw(draws: torch.Generator) -> Transitions:
            x, y = rows.draw_pairs(length, draws)
            latent = torch.stack([rows.data.latent[x], rows.data.latent[y]], dim=1)
            state, next_state = (as_float(rows.data.inputs[side]) for side in (x, y))
            action = relative_action(self.actions, latent[:, 0], latent[:, 1]).float()
            return Transitions(state[None], action[None], next_state[None], latent[None])

        return DrawnSequences(draw, max(1, rows.num_items // max(1, length)), seed, purpose)

    def _check_actions(self) -> None:
        """The domain's own actions must be those that are drawn here."""
        own = self.adapter.held_out(4, 1, seed=0)
        if not torch.allclose(
            own.action, relative_action(self.actions, own.latent[:, :, 0], own.latent[:, :, 1]).float(), atol=1e-4
        ):
            raise ValueError(
                "the domain's actions do not follow from its latents by the kinds of its groups (relative_action): "
                "use actions of that form, such as action_code=target of Adult"
            )


@dataclass(frozen=True)
class _Rows:
    """A split's rows, found by their items."""

    data: LabelledData

    @cached_property
    def _by_item(self) -> tuple[Tensor, Tensor, Tensor]:
        """[N] rows, item by item; [I] where an item's rows start; [I] how many they are."""
        order = self.data.item.argsort(stable=True)
        _, counts = self.data.item[order].unique_consecutive(return_counts=True)
        return order, counts.cumsum(0) - counts, counts

    @property
    def num_items(self) -> int:
        """I."""
        return len(self._by_item[1])

    def draw_pairs(self, length: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """[T] rows of x, of different items while there are enough, and [T] rows of y."""
        order, first, counts = self._by_item
        num_items, num_rows = len(first), len(order)
        repeats = -(-length // num_items) or 1
        items = torch.cat([torch.randperm(num_items, generator=draws) for _ in range(repeats)])[:length]
        place = torch.rand(2, length, generator=draws, dtype=torch.float64)
        x = (place[0] * counts[items]).long()
        other = (x + 1 + (place[1] * (counts[items] - 1)).long()) % counts[items]
        anywhere = (first[items] + x + 1 + (place[1] * (num_rows - 1)).long()) % num_rows
        return order[first[items] + x], order[torch.where(counts[items] > 1, first[items] + other, anywhere)]


def _resolved(name: str, rule: Rule, target: str, data: LabelledData, unseen: bool) -> LabelRule:
    """The rule with the labels of all classes of its target."""
    source = data.target(rule.target or target)
    if source.num_classes is None:
        raise ValueError(f"rule {name!r}: the target {source.name!r} has values, not classes; name another one")
    try:
        return LabelRule(name, source.name, rule.labels(source.num_classes), unseen)
    except ValueError as error:
        raise ValueError(f"rule {name!r}: {error}") from error


def _refuse_shared_labels(rules: list[LabelRule]) -> None:
    for one, other in combinations(rules, 2):
        if shared := sorted(set(one.labels) & set(other.labels)):
            raise ValueError(
                f"rules {one.name!r} and {other.name!r} share the labels {shared[:5]}, though disjoint is set: "
                "use a larger offset, or leave disjoint out"
            )
