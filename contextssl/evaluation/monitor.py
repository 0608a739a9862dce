"""The collapse monitor of a training run: what `diagnostics` measures, for any method."""

from __future__ import annotations

from dataclasses import asdict, replace

from contextssl.batch import Transitions
from contextssl.evaluation.diagnostics import Diagnostics, context_effect, diagnose, explain
from contextssl.method import ContextualMethod, Method


def watch(method: Method, batch: Transitions) -> tuple[dict[str, float], list[str]]:
    """Measurements by name and sentences of warning for a batch of at least two sequences.

    A contextual method embeds the second sequence's items after the first sequence as context.
    """
    found = _contextual(method, batch) if isinstance(method, ContextualMethod) else _context_free(method, batch)
    return {name: value for name, value in asdict(found).items() if value is not None}, explain(found)


def _contextual(method: ContextualMethod, batch: Transitions) -> Diagnostics:
    encoded = method.encode(batch)
    context = Transitions(encoded.state[:1], encoded.action[:1], encoded.next_state[:1], encoded.latent[:1])
    x, action, y = encoded.state[1:].flatten(0, 1), encoded.action[1:].flatten(0, 1), encoded.next_state[1:].flatten(0, 1)
    told, untold = (method.condition_features(context, method.actions.environment(name)) for name in ("all", "none"))
    found = diagnose(x, told.embed_features(x, action), told.embed_features(y))
    if not (method.reads_context and method.reads_actions):
        return found
    return replace(found, context_effect=context_effect(told.embed_features(x), untold.embed_features(x)))


def _context_free(method: Method, batch: Transitions) -> Diagnostics:
    state, _, next_state, _ = batch.pairs()
    features = method.represent(state)
    return diagnose(features, features, method.represent(next_state))
