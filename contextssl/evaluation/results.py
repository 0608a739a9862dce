"""One measured number, and the file of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from contextssl.files import write_text


@dataclass(frozen=True, slots=True)
class Result:
    """One measured number and everything needed to know what it is.

    Attributes:
        protocol: id and version, `attribute-probe/1`.
        target: what was read out, `income`, `rotation`, or `-` when the metric has no target.
        probe: `linear`, `linear-standardised`, `mlp`, `knn`..., or `-`.
        metric: `accuracy`, `r2_pooled`, `equalized_odds_difference`...
        environment: the context's environment, or `-` for context-free representations.
        control: `true` actions, or `shuffled`, `noise`, `empty`, `wrong-group`.
        context_length: number of context tokens c (images or rows), 0 for none.
        context_draw: which draw of the context.
        seed: training seed of the model.
        split: the split the number was measured on.
        value: the number.
        floor: what a constant predictor or chance would score, None where there is no such thing.
        low, high: 95 % interval over test items where one was computed, else None.
        method: what was evaluated: `context_ssl`, `simclr`, or a baseline's name.
    """

    protocol: str
    target: str
    probe: str
    metric: str
    environment: str
    control: str
    context_length: int
    context_draw: int
    seed: int
    split: str
    value: float
    floor: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = "context_ssl"


def write_results(results: Iterable[Result], path: Path) -> None:
    """Write rows as JSON lines, atomically."""
    write_text(path, "".join(json.dumps(asdict(result)) + "\n" for result in results))


def read_results(path: Path) -> list[Result]:
    """Read rows written by `write_results`; ValueError naming the line that does not fit."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            rows.append(Result(**json.loads(line)))
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path}:{number}: not a result row ({error})") from error
    return rows
