"""Pictures of retrieval: Figures 1 and 6 of Gupta et al. 2024 and their context-length variant (protocol 6.8).

A source view and the action to a target view are given, the action only as far as it is told. The nearest of the object's
other views should share with the target what was told, and need not share the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from contextssl.actions import Environment
from contextssl.adapter import Split
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.method import ContextualMethod
from contextssl.reporting import names
from contextssl.reporting.pictures import Picture, write_picture
from domains.vision.picture_grid import Row, draw_grid
from domains.vision.retrieved import CLOSE_SHARE, Answer, Marks, Query, close_to_target, draw_queries, retrieve

LOG = logging.getLogger("contextssl")

Answers = Mapping[tuple[Environment, int], Sequence[Answer]]
"""Environment and context length -> the answer to each query."""


@dataclass(frozen=True)
class Asked:
    """What is asked, and how the pictures speak of it.

    Attributes:
        bank: of the views.
        queries: among them.
        marks: which candidates are marked.
        key: what a mark means, with `{}` for its group.
        counted: what is counted in captions, one phrase for all groups.
        item: what a query is about, `object` or `image`.
        opening: the caption's first sentences; `{length}` stands for the context length.
    """

    bank: EmbeddingBank
    queries: Sequence[Query]
    marks: Marks
    key: str
    counted: str
    item: str
    opening: str

    @property
    def keys(self) -> list[str]:
        """What the marks of the groups mean."""
        return [self.key.format(name) for name in self.bank.adapter.actions.names]


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
        asked = self.asked(bank)
        answers = {
            (environment, length): retrieve(
                asked.bank, self.split, asked.queries, environment, length,
                marks=asked.marks, num_neighbours=self.num_neighbours, draw=self.draw,
            )
            for environment in bank.environments
            if environment.groups
            for length in bank.context_lengths
        }  # fmt: skip
        num_queries = len(asked.queries)
        count = min(self.num_objects, num_queries)
        # Items come category by category: evenly spaced ones are of as many categories as there are rows for.
        shown = [index * num_queries // count for index in range(count)]
        return [
            write_picture(folder, self._items(asked, answers, shown)),
            write_picture(folder, self._lengths(asked, answers, shown[0])),
        ]

    def asked(self, bank: EmbeddingBank) -> Asked:
        """Queries among the views that the domain shows to probes."""
        opening = (
            "Given the source and the action to the target, as far as it is told: the object's other views nearest to the answer, "
            "after contexts of {length} tokens. "
            f"Marks below a view: it is among the {100 * CLOSE_SHARE:.0f} % of the views that are nearest to the target in that "
            "group. A frame: it is the target. "
            f"One row an object of the {self.split} split; objects, sources and targets are drawn at random."
        )
        queries = draw_queries(bank.labelled(self.split), self.seed)
        counted = "is close to the target in that group"
        return Asked(bank, queries, close_to_target, "close to the target in {}", counted, "object", opening)

    def _items(self, asked: Asked, answers: Answers, shown: Sequence[int]) -> Picture:
        longest = asked.bank.context_lengths[-1]
        told = [environment for environment, length in answers if length == longest]
        rows = [Row("", asked.queries[index], [answers[environment, longest][index] for environment in told]) for index in shown]
        caption = f"{asked.opening.format(length=longest)} {self._shares(asked, answers, [longest])}"
        article = "an" if asked.item[0] in "aeiou" else "a"
        return self._picture("retrieval", f"one row {article} {asked.item}", caption, asked, told, rows)

    def _lengths(self, asked: Asked, answers: Answers, index: int) -> Picture:
        told, lengths = list(dict.fromkeys(environment for environment, _ in answers)), asked.bank.context_lengths
        rows = [
            Row(f"c = {length}", asked.queries[index], [answers[environment, length][index] for environment in told])
            for length in lengths
        ]
        caption = (
            f"The first of these queries after contexts of {names.join([str(length) for length in lengths])} tokens. "
            f"{self._shares(asked, answers, lengths)}"
        )
        return self._picture("retrieval-lengths", "one row a context length", caption, asked, told, rows)

    def _picture(
        self, name: str, what: str, caption: str, asked: Asked, told: Sequence[Environment], rows: Sequence[Row]
    ) -> Picture:  # fmt: skip
        headings = [names.environment_name(environment.name) for environment in told]
        description = f"Source, target and the {self.num_neighbours} nearest views when {names.join(headings, 'or')}, {what}"
        png = draw_grid(asked.bank.labelled(self.split).inputs, rows, headings, asked.keys)
        return Picture(name, description, caption, png)

    def _shares(self, asked: Asked, answers: Answers, lengths: Sequence[int]) -> str:
        """How often the nearest view is marked in each group, over all queries, and how often a view drawn at random would be."""
        told = list(dict.fromkeys(environment for environment, _ in answers))
        chance, said = self._chance(asked), []
        for place, group in enumerate(asked.bank.adapter.actions.names):
            parts = []
            for environment in told:
                found = [sum(float(one.close[0, place]) for one in answers[environment, length]) for length in lengths]
                percent = ", ".join(f"{100 * count / len(asked.queries):.0f}" for count in found)
                parts.append(f"{percent} % {names.environment_name(environment.name)}")
            said.append(f"{group}: {names.join(parts)} ({100 * chance[place]:.0f} % by chance)")
        return f"Share of all {len(asked.queries)} {asked.item}s whose nearest view {asked.counted}: {'; '.join(said)}."

    def _chance(self, asked: Asked) -> list[float]:
        """The share of candidates that are marked in each group."""
        actions, latent = asked.bank.adapter.actions, asked.bank.labelled(self.split).latent
        marked = [asked.marks(actions, latent, query).float().mean(0) for query in asked.queries]
        shares: list[float] = torch.stack(marked).mean(0).tolist()
        return shares
