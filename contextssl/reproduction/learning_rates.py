"""The learning rate of every method: the best of the same candidates, by the same score, on validation items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from contextssl.evaluation.results import Result
from contextssl.reproduction.tables import PaperTable, Row


@dataclass(frozen=True, slots=True)
class Choice:
    """A rate and what it was chosen from.

    Attributes:
        rate: the chosen one.
        scores: of every candidate; None where a run failed.
    """

    rate: float
    scores: Mapping[float, float | None]


def score(table: PaperTable, row: Row, results: Sequence[Result]) -> float:
    """How good a run is, by which rates are chosen: the mean of the table's score readings that concern the row.

    These are the readings of the groups it is told and those of no group, such as classes. A row that is told nothing is
    scored on all groups: so its rate favours it where it is expected to trail. A contextual row is read after contexts
    of its own length that tell the group, all others from encoder features.

    Raises:
        ValueError: when the run's evaluation has not measured one of them.
    """
    readings = [table.readings[key] for key in table.score]
    values = []
    for key, reading in zip(table.score, readings, strict=True):
        if reading.group is not None and row.groups and reading.group not in row.groups:
            continue
        found = reading.select(results, reading.group, row.length)
        numbers = [result.value for result in found if (result.probe, result.metric) == (reading.probe, reading.metric)]
        if not numbers:
            raise ValueError(
                f"{row.key}: no {key} was measured on {reading.split} items: its evaluation must do so to choose a rate"
            )
        values.append(float(np.mean(numbers)))
    return float(np.mean(values))


def choose(table: PaperTable, row: Row, results: Mapping[float, Sequence[Result]]) -> Choice | None:
    """The candidate with the highest score, the first of equals; None when all runs failed.

    Args:
        table: with the score.
        row: whose rate.
        results: candidate -> what its run measured, nothing where it failed.
    """
    scores = {rate: score(table, row, found) if found else None for rate, found in results.items()}
    known = {rate: value for rate, value in scores.items() if value is not None}
    return Choice(max(known, key=lambda rate: known[rate]), scores) if known else None


def as_yaml(choices: Mapping[str, Choice], command: Sequence[str]) -> str:
    """Choices as a file of configs/reproduce/learning_rates keeps them."""
    lines = [f"# Chosen on validation items by: {' '.join(command)}", "# Scores are listed by candidate."]
    for key, choice in choices.items():
        scores = ", ".join(f"{rate:g}: {'null' if value is None else f'{value:.4f}'}" for rate, value in choice.scores.items())
        lines.append(f"{key}: {{rate: {choice.rate:g}, scores: {{{scores}}}}}")
    return "\n".join(lines) + "\n"


def from_mapping(content: Mapping[str, Mapping[str, object]]) -> dict[str, Choice]:
    """The choices of such a file; YAML reads `5e-05` as a word."""
    return {
        str(key): Choice(_number(value["rate"]), {_number(rate): _score(found) for rate, found in dict(value["scores"]).items()})  # type: ignore[call-overload]
        for key, value in content.items()
    }


def _number(value: object) -> float:
    return float(str(value))


def _score(value: object) -> float | None:
    return None if value is None else _number(value)
