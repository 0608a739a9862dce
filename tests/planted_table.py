"""A small table and results with planted numbers, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contextssl.evaluation.results import Result
from contextssl.reproduction.tables import PaperTable

CONTENT: dict[str, Any] = {
    "title": "A table",
    "source": "A paper",
    "readings": {
        "shift": {"label": "shift", "protocol": "pairs", "target": "relative_shift", "probe": "mlp", "metric": "r2_pooled", "group": "shift"},
        "class": {
            "label": "top-1", "protocol": "single", "target": "class", "probe": "linear", "metric": "accuracy", "features": True, "percent": True,
        },
        "score_shift": {
            "label": "shift", "protocol": "single", "target": "shift", "probe": "linear", "metric": "r2_dim_mean", "group": "shift",
            "split": "validation",
        },
        "score_turn": {
            "label": "turn", "protocol": "single", "target": "turn", "probe": "linear", "metric": "r2_dim_mean", "group": "turn",
            "split": "validation",
        },
        "score_class": {
            "label": "class", "protocol": "single", "target": "class", "probe": "linear", "metric": "accuracy", "features": True,
            "split": "validation",
        },
        "rank": {"label": "MRR", "protocol": "retrieval", "target": "next", "probe": "-", "metric": "mrr", "told_at_zero": True},
    },
    "score": ["score_shift", "score_turn", "score_class"],
    "rows": [
        {"key": "plain", "label": "Plain", "overrides": ["method=plain"], "at": {"large": ["method.wide=true"]}},
        {"key": "told", "label": "Told", "groups": ["shift"], "overrides": ["method=told"]},
        {"key": "context", "label": "Context", "groups": ["shift", "turn"], "length": 14, "overrides": ["method=context"]},
    ],
    "blocks": [
        {
            "title": "Features",
            "columns": [{"read": "shift"}, {"read": "class"}],
            "lines": [
                {"row": "plain", "published": {"shift": 0.4, "class": 90}},
                {"row": "told", "published": {"shift": None}},
                {"row": "context", "label": "no context"},
            ],
            "note": "A note.",
        },
        {
            "title": "Contexts",
            "columns": [{"read": "shift", "lengths": [0, 2, 14]}, {"read": "class"}],
            "lines": [{"row": "context", "environment": "shift", "label": "shift", "published": {"shift": [0.1, 0.2, 0.3]}}],
        },
    ],
    "scales": {
        "small": {"about": "Small.", "overrides": ["domain=d", "train=t"], "rates": [0.01, 0.1]},
        "large": {"about": "Large.", "overrides": ["domain=d"]},
    },
}  # fmt: skip


def table(**changes: Any) -> PaperTable:
    return PaperTable.read({**CONTENT, **changes}, "planted")


def pair(value: float, seed: int = 0, where: tuple[str, str, int] = ("-", "-", 0), draw: int = 0, **other: Any) -> Result:
    """A number of the pair read-out of shift."""
    known = {
        "protocol": "pairs/1",
        "target": "relative_shift",
        "probe": "mlp",
        "metric": "r2_pooled",
        "split": "test",
        "floor": 0.25,
    }
    environment, control, length = where
    return Result(
        value=value,
        seed=seed,
        environment=environment,
        control=control,
        context_length=length,
        context_draw=draw,
        **(known | other),
    )


def classes(value: float, seed: int = 0) -> Result:
    return pair(value, seed, protocol="single/1", target="class", probe="linear", metric="accuracy", floor=0.5)


def validation(target: str, value: float, where: tuple[str, str, int] = ("-", "-", 0), **other: Any) -> Result:
    metric = "accuracy" if target == "class" else "r2_dim_mean"
    known = {"protocol": "single/1", "target": target, "probe": "linear", "metric": metric, "split": "validation"}
    return pair(value, 0, where, **(known | other))


def scored(shift: float, turn: float, label: float) -> Sequence[Result]:
    return [validation("shift", shift), validation("turn", turn), validation("class", label)]
