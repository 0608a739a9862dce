"""Pictures of retrieval: Figures 1 and 6 of Gupta et al. 2024 and their context-length variant (protocol 6.8).

A source view and the action to a target view are given, the action only as far as it is told. The nearest of the object's
other views should share with the target what was told, and need not share the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contextssl.actions import Environment
from contextssl.adapter import Split
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.method import ContextualMethod
from contextssl.reporting import names
from contextssl.reporting.pictures import Picture, write_picture
from domains.vision.picture_grid import Row, draw_grid
from domains.vision.retrieved import CLOSE_SHARE, Answer, Query, draw_queries, num_close, retrieve

LOG = logging.getLogger("contextssl")

Answers = Mapping[tuple[Environment, int], Sequence[Answer]]
"""Environment and context length -> the answer to each query."""


@dataclass(frozen=True)
class RetrievalPictures:
    """Two pictures: one row an object, after the longest contexts; and one row a context length, for the first object.

    Objects, sources and targets are drawn at random. A method that reads no context gets no picture.

    Attributes:
        split: whose objects are shown.
        num_objects: rows of the first picture.
        num_neighbours: views shown for each environment.
        draw: which of the bank's contexts.
        seed: of the queries.

    Raises:
        ValueError: for numbers below 1, and for an unknown split.
    """

    split: Split = Split.TEST
    num_objects: int = 6
    num_neighbours: int = 3
    draw: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", Split(self.split))  # configs give it as a word
        if self.num_objects < 1 or self.num_neighbours < 1:
            found = f"{self.num_objects} and {self.num_neighbours}"
            raise ValueError(f"retrieval pictures: num_objects and num_neighbours are at least 1, found {found}")

    def __call__(self, bank: EmbeddingBank, folder: Path) -> list[Path]:
        """Write `retrieval.png` and `retrieval-lengths.png` with their captions into a folder; returns their paths."""
        if not isinstance(bank.method, ContextualMethod):
            LOG.info("no retrieval pictures: %s reads no context", type(bank.method).__name__)
            return []
        queries = draw_queries(bank.labelled(self.split), self.seed)
        answers = {
            (environment, length): retrieve(
                bank, self.split, queries, environment, length, num_neighbours=self.num_neighbours, draw=self.draw
            )
            for environment in bank.environments
            if environment.groups
            for length in bank.context_lengths
        }
        count = min(self.num_objects, len(queries))
        # Items come category by category: evenly spaced ones are of as many categories as there are rows for.
        shown = [index * len(queries) // count for index in range(count)]
        return [
            write_picture(folder, self._objects(bank, queries, answers, shown)),
            write_picture(folder, self._lengths(bank, queries, answers, shown[0])),
        ]

    def _objects(self, bank: EmbeddingBank, queries: Sequence[Query], answers: Answers, shown: Sequence[int]) -> Picture:
        longest = bank.context_lengths[-1]
        told = [environment for environment, length in answers if length == longest]
        rows = [Row("", queries[index], [answers[environment, longest][index] for environment in told]) for index in shown]
        caption = (
            f"Given the source and the action to the target, as far as it is told: the object's other views nearest to the answer, "
            f"after contexts of {longest} tokens. Marks below a view: it is among the {100 * CLOSE_SHARE:.0f} % of the views that are "
            f"nearest to the target in that group. A frame: it is the target. One row an object of the {self.split} split; objects, "
            f"sources and targets are drawn at random. {self._shares(bank, queries, answers, [longest])}"
        )
        return self._picture("retrieval", "one row an object", caption, bank, told, rows)

    def _lengths(self, bank: EmbeddingBank, queries: Sequence[Query], answers: Answers, index: int) -> Picture:
        told = list(dict.fromkeys(environment for environment, _ in answers))
        rows = [
            Row(f"c = {length}", queries[index], [answers[environment, length][index] for environment in told])
            for length in bank.context_lengths
        ]
        caption = (
            f"The first of these queries after contexts of {names.join([str(length) for length in bank.context_lengths])} tokens. "
            f"{self._shares(bank, queries, answers, bank.context_lengths)}"
        )
        return self._picture("retrieval-lengths", "one row a context length", caption, bank, told, rows)

    def _picture(
        self, name: str, what: str, caption: str, bank: EmbeddingBank, told: Sequence[Environment], rows: Sequence[Row]
    ) -> Picture:  # fmt: skip
        headings = [names.environment_name(environment.name) for environment in told]
        description = f"Source, target and the {self.num_neighbours} nearest views when {names.join(headings, 'or')}, {what}"
        png = draw_grid(bank.labelled(self.split).inputs, rows, headings, bank.adapter.actions.names)
        return Picture(name, description, caption, png)

    def _shares(self, bank: EmbeddingBank, queries: Sequence[Query], answers: Answers, lengths: Sequence[int]) -> str:
        """How often the nearest view is close to the target in each group, over all queries."""
        told = list(dict.fromkeys(environment for environment, _ in answers))
        said = []
        for place, group in enumerate(bank.adapter.actions.names):
            parts = []
            for environment in told:
                found = [sum(float(one.close[0, place]) for one in answers[environment, length]) for length in lengths]
                percent = ", ".join(f"{100 * count / len(queries):.0f}" for count in found)
                parts.append(f"{percent} % {names.environment_name(environment.name)}")
            said.append(f"in {group}: {names.join(parts)}")
        chance = sum(num_close(len(query.candidates)) / len(query.candidates) for query in queries) / len(queries)
        return (
            f"Share of all {len(queries)} objects whose nearest view is close to the target {'; '.join(said)} "
            f"({100 * chance:.0f} % by chance)."
        )
