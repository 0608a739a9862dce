"""Features of a split computed once, embeddings once per (environment, context): what every protocol reads.

N rows, T transitions, D feature width, E embedding width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from contextssl.actions import Environment
from contextssl.adapter import DomainAdapter, LabelledData, Split
from contextssl.adapters.relative import relative_action
from contextssl.batch import Transitions
from contextssl.context import ConditionedEncoder
from contextssl.evaluation.controls import Control, noise_actions, shuffled_actions, wrong_environment
from contextssl.evaluation.feature_cache import FeatureCache, origin_of
from contextssl.method import ContextualMethod, Method


@dataclass(frozen=True, slots=True)
class Cell:
    """One way of embedding an item; the fields are those of a `Result`."""

    environment: str
    control: str
    length: int
    draw: int


FEATURES = Cell("-", "-", 0, 0)
"""The encoder's own features, before any context and not normalised; the only cell of a context-free method."""

EMPTY = Cell("-", Control.EMPTY, 0, 0)
"""Embeddings after no context: one cell, because no environment and no draw can differ there. Every curve against
context length starts at it (`intervals.curves` puts it there)."""


class EmbeddingBank:
    """Embeddings of all splits under all contexts. No item is encoded twice, whatever is asked and how often.

    Contexts are drawn at the longest length and shorter ones are their beginnings (protocol 6.0). Everything is
    computed when it is first asked for; features are kept, embeddings up to `memory` bytes.

    Args:
        method: evaluated in eval mode, on the device its parameters are on.
        adapter: where items and contexts come from.
        context_lengths: numbers of context tokens, even; 0 stands for the `EMPTY` cell.
        context_draws: number of contexts drawn for each environment and length.
        environments: what models are told, or names of it (`sex`, `sex+income`, `none`); those of the action space when None
            (each group alone, and none).
        controls: shuffled, noise or wrong-group contexts, for environments that tell something.
        control_lengths: their lengths; only the longest when None.
        seed: of the contexts, not of the model, so that all models are asked with the same contexts.
        context_split: where contexts are drawn from.
        training_seed: the model's seed, copied into results.
        method_name: copied into results.
        batch_size: rows that go through the encoder at once.
        memory: bytes of embeddings to keep; beyond it the least recently used are computed again when asked for.
        feature_cache: where features are kept for later evaluations of the same weights; None for nowhere.

    Raises:
        ValueError: for odd or negative lengths, an unknown control, split or environment, or no draw.
    """

    def __init__(
        self,
        method: Method,
        adapter: DomainAdapter,
        *,
        context_lengths: Sequence[int] = (0, 2, 14, 30, 126),
        context_draws: int = 3,
        environments: Sequence[Environment | str] | None = None,
        controls: Sequence[str] = (Control.SHUFFLED, Control.NOISE, Control.WRONG_GROUP),
        control_lengths: Sequence[int] | None = None,
        seed: int = 0,
        context_split: Split = Split.TRAIN,
        training_seed: int = 0,
        method_name: str = "context_ssl",
        batch_size: int = 4096,
        memory: int = 2**32,
        feature_cache: FeatureCache | None = None,
    ) -> None:
        lengths = sorted({*context_lengths, *(control_lengths or ())})
        if wrong := [length for length in lengths if length % 2 or length < 0]:
            raise ValueError(f"context lengths count tokens, two for each pair, so they are even and >= 0; found {wrong}")
        if context_draws < 1 or not lengths:
            raise ValueError(f"expected at least one context length and one draw, found {lengths} and {context_draws}")
        self.method, self.adapter = method, adapter
        self.context_lengths, self.context_draws = tuple(sorted(set(context_lengths))), context_draws
        named = adapter.actions.environments if environments is None else environments
        self.environments = tuple(adapter.actions.environment(each) if isinstance(each, str) else each for each in named)
        self.controls = tuple(Control(control) for control in controls)
        self.control_lengths = tuple(lengths[-1:] if control_lengths is None else sorted(set(control_lengths)))
        self.seed, self.context_split = seed, Split(context_split)
        self.training_seed, self.method_name = training_seed, method_name
        self.batch_size, self.memory, self.feature_cache = batch_size, memory, feature_cache
        self.longest = lengths[-1]
        self.device = next((p.device for p in method.parameters()), torch.device("cpu"))
        self._start_empty()

    def _start_empty(self) -> None:
        self._labelled: dict[Split, LabelledData] = {}
        self._features: dict[Split, Tensor] = {}
        self._contexts: dict[int, Transitions] = {}
        self._conditioned: dict[Cell, ConditionedEncoder] = {}
        self._embeddings: OrderedDict[tuple[Cell, Split, int | None], Tensor] = OrderedDict()

    def over(self, adapter: DomainAdapter) -> EmbeddingBank:
        """A bank of the same method after the same kind of contexts, over another adapter's rows; its features are not cached."""
        other = copy(self)
        other.adapter, other.feature_cache = adapter, None
        other._start_empty()
        return other

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Everything a protocol reports on: features, no context, true contexts, controls."""
        if not isinstance(self.method, ContextualMethod):
            return (FEATURES,)
        cells = [FEATURES] + [EMPTY] * (0 in self.context_lengths)
        for environment in self.environments:
            cells += self._series(environment, Control.TRUE, self.context_lengths)
            for control in self.controls:
                if self._applies(control, environment):
                    cells += self._series(environment, control, self.control_lengths)
        return tuple(cells)

    def labelled(self, split: Split) -> LabelledData:
        """The split's items and targets, read once."""
        if split not in self._labelled:
            self._labelled[split] = self.adapter.labelled(split)
        return self._labelled[split]

    def features(self, split: Split) -> Tensor:
        """[N, D] context-free features of the split's items, each encoded once, float32 on the method's device."""
        if split not in self._features:
            data = self.labelled(split)

            def encode() -> Tensor:
                found = self.in_pieces(lambda rows: self.method.represent(rows.to(self.device)), data.inputs, self.batch_size)
                return _finite(found, f"features of the {split} split")

            if self.feature_cache is None:
                self._features[split] = encode()
            else:
                origin = origin_of(self.method, self.adapter, split, data)
                self._features[split] = self.feature_cache.features(origin, encode).to(self.device)
        return self._features[split]

    def embeddings(self, cell: Cell, split: Split, bits: int | None = None) -> Tensor:
        """[N, E] embeddings of the split's items in a cell; [N, D] features in `FEATURES`.

        Args:
            cell: one of `cells`, or any other no longer than the longest context.
            split: which items.
            bits: quantise, with one scale for the cell taken from its training embeddings; None for float32.
        """
        if cell == FEATURES:
            if bits is not None:
                raise ValueError(f"only embeddings can be quantised, not encoder features: leave out the cell {cell}")
            return self.features(split)
        key = (self._equivalent(cell), split, bits)
        if key not in self._embeddings:
            self._embeddings[key] = self._embed(cell, split, bits)
        self._embeddings.move_to_end(key)
        found = self._embeddings[key]
        while len(self._embeddings) > 1 and sum(kept.nbytes for kept in self._embeddings.values()) > self.memory:
            self._embeddings.popitem(last=False)
        return found

    def predictions(self, cell: Cell, split: Split, pairs: Tensor, bits: int | None = None) -> Tensor:
        """[P, E] what is predicted of views y from views x and the actions between them, told as the cell says (z^r).

        Args:
            cell: as for `conditioned`.
            split: whose rows.
            pairs: [P, 2] row numbers of x and y.
            bits: as for `embeddings`.
        """
        if cell == FEATURES:
            raise ValueError(f"encoder features predict nothing: leave out the cell {cell}")
        features, latent = self.features(split), self.labelled(split).latent.to(self.device)
        conditioned = self.conditioned(cell)
        if bits is not None:
            conditioned = conditioned.quantised(bits, self.embeddings(cell, Split.TRAIN))

        def query(rows: Tensor) -> Tensor:
            x, y = rows.unbind(1)
            action = relative_action(self.adapter.actions, latent[x], latent[y]).float()
            return conditioned.embed_features(features[x], action)

        return _finite(self.in_pieces(query, pairs.to(self.device), self._num_queries), f"predictions after {cell}")

    def conditioned(self, cell: Cell) -> ConditionedEncoder:
        """The encoder conditioned on the cell's context, for queries with actions.

        After no context a query's action is told as the cell's environment says; in `EMPTY`, all of it.
        """
        cell = self._resolved(cell)
        if cell not in self._conditioned:
            with torch.inference_mode(), _evaluating(self.method):
                self._conditioned[cell] = self._condition(cell)
        return self._conditioned[cell]

    def context(self, draw: int) -> Transitions:
        """[1, T, D] features of the longest context of that draw, encoded once."""
        if draw not in self._contexts:
            seed = int(np.random.SeedSequence((self.seed, draw)).generate_state(1)[0])
            items = self.adapter.held_out(max(1, self.longest // 2), 1, seed=seed, split=self.context_split)
            with torch.inference_mode(), _evaluating(self.method):
                self._contexts[draw] = self._contextual().encode(items.to(self.device))
        return self._contexts[draw]

    def _contextual(self) -> ContextualMethod:
        if not isinstance(self.method, ContextualMethod):
            raise ValueError(f"{type(self.method).__name__} reads no context: only the cell FEATURES exists")
        return self.method

    def _series(self, environment: Environment, control: Control, lengths: Iterable[int]) -> list[Cell]:
        draws = range(self.context_draws)
        return [Cell(environment.name, control, length, draw) for length in lengths if length for draw in draws]

    def _applies(self, control: Control, environment: Environment) -> bool:
        """Whether the control can differ from the true context: not where no action is told."""
        if control is Control.WRONG_GROUP:
            return wrong_environment(environment, self.adapter.actions) is not None
        return bool(environment.groups) and control in (Control.SHUFFLED, Control.NOISE)

    def _equivalent(self, cell: Cell) -> Cell:
        """The cell that has the same embeddings of items without actions: after no context, none is told anything."""
        return EMPTY if cell.length == 0 else self._resolved(cell)

    def _resolved(self, cell: Cell) -> Cell:
        """The cell that tells the same: a wrong group is another environment's true context."""
        if cell.control != Control.WRONG_GROUP:
            return cell
        wrong = wrong_environment(self.adapter.actions.environment(cell.environment), self.adapter.actions)
        if wrong is None:
            raise ValueError(f"no other group can be told in place of {cell.environment!r} in {list(self.adapter.actions.names)}")
        return Cell(wrong.name, Control.TRUE, cell.length, cell.draw)

    def _condition(self, cell: Cell) -> ConditionedEncoder:
        method, context = self._contextual(), self.context(cell.draw)
        if cell.length > self.longest:
            raise ValueError(f"context length {cell.length} is beyond this bank's longest, {self.longest}")
        environment = self.adapter.actions.environment("all" if cell in (EMPTY, FEATURES) else cell.environment)
        if cell.length == 0:
            return method.condition_features(context.first(0), environment)
        if cell.control == Control.TRUE:
            longest = Cell(cell.environment, cell.control, self.longest, cell.draw)
            if cell != longest:
                return self.conditioned(longest).shortened(cell.length)
            return method.condition_features(context.first(self.longest // 2), environment)
        return method.condition_features(self._controlled(context, cell), environment)

    def _controlled(self, context: Transitions, cell: Cell) -> Transitions:
        """A shuffled context exchanges actions among the pairs it holds; noise takes its size from the longest one."""
        control = Control(cell.control)
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence((self.seed, cell.draw, list(Control).index(control))).generate_state(1)[0])
        )
        if control is Control.NOISE:
            context = context.with_action(noise_actions(context.action, self.adapter.actions, generator))
        context = context.first(cell.length // 2)
        if control is Control.SHUFFLED:
            context = context.with_action(shuffled_actions(context.action, generator))
        return context

    def _embed(self, cell: Cell, split: Split, bits: int | None) -> Tensor:
        conditioned = self.conditioned(cell)
        if bits is not None:
            conditioned = conditioned.quantised(bits, self.embeddings(cell, Split.TRAIN))
        embeddings = self.in_pieces(lambda rows: conditioned.embed_features(rows), self.features(split), self._num_queries)
        return _finite(embeddings, f"embeddings of the {split} split after {cell}")

    @property
    def _num_queries(self) -> int:
        """At once: attention of 1,024 to a long context still fits the cache of a CPU; 4,096 take twice the time a row."""
        return 1024 if self.device.type == "cpu" else 2**16

    def in_pieces(self, function: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
        """`function` of `size` rows at a time, in eval mode without gradient, as a float32 tensor that probes may train on."""
        with torch.inference_mode(), _evaluating(self.method):
            pieces = [function(piece).float() for piece in rows.split(size)]
        return torch.cat(pieces)


def _finite(rows: Tensor, what: str) -> Tensor:
    if bad := int((~rows.isfinite()).any(1).sum()):
        raise ValueError(f"{what}: {bad} of {len(rows)} rows are not finite; look for nan in the data or in the weights")
    return rows


class _evaluating:  # noqa: N801 - reads as a statement
    """Puts a module in eval mode for the length of a `with` block, and back."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module, self.modes = module, {child: child.training for child in module.modules()}

    def __enter__(self) -> None:
        self.module.eval()

    def __exit__(self, *_: object) -> None:
        for child, mode in self.modes.items():
            child.training = mode
