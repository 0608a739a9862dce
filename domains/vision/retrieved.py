"""What a model takes for the transformed view: queries between views of one object, and their nearest neighbours.

N rows of a split, J candidates, K neighbours, G groups, L latent width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from contextssl.actions import ActionSpace, Environment, Group, Kind
from contextssl.adapter import LabelledData, Split
from contextssl.evaluation.controls import Control
from contextssl.evaluation.embeddings import Cell, EmbeddingBank
from contextssl.seeding import generator

CLOSE_SHARE = 0.25  # the quarter of the candidates nearest to the target in a group counts as close to it


class Query(NamedTuple):
    """A source view, the target that the action leads to, and the views [J] to find it among: rows of a split."""

    source: int
    target: int
    candidates: Tensor


class Answer(NamedTuple):
    """The nearest candidates: their rows [K], the nearest first, and in which groups each is marked, [K, G]."""

    rows: Tensor
    close: Tensor


Marks = Callable[[ActionSpace, Tensor, Query], Tensor]
"""(actions, latents [N, L] of the split, query) -> bool [J, G] for its candidates: `close_to_target` or `same_as_target`."""


def draw_queries(data: LabelledData, seed: int) -> list[Query]:
    """One query for each item: a random ordered pair of its views, all but the source being candidates (protocol 6.8).

    Items of fewer than two views are left out.
    """
    draws, queries = generator(seed, "retrieval pictures"), []
    order = data.item.cpu().argsort(stable=True)
    _, counts = data.item.cpu()[order].unique_consecutive(return_counts=True)
    for rows in order.split(counts.tolist()):
        if len(rows) > 1:
            source, target = rows[torch.randperm(len(rows), generator=draws)[:2]].tolist()
            queries.append(Query(source, target, rows[rows != source]))
    return queries


def retrieve(
    bank: EmbeddingBank, split: Split, queries: Sequence[Query], environment: Environment, length: int, *,
    marks: Marks, num_neighbours: int, draw: int = 0,
) -> list[Answer]:  # fmt: skip
    """The answer to each query after a context of `length` tokens that tells the environment's groups.

    Queries are the source with the action to the target, as far as it is told; candidates are embedded without action.
    `marks` says in which groups they share what was asked for.
    """
    data, actions, cell = bank.labelled(split), bank.adapter.actions, Cell(environment.name, Control.TRUE, length, draw)
    predicted = bank.predictions(cell, split, torch.tensor([[query.source, query.target] for query in queries])).cpu()
    embeddings = bank.embeddings(cell, split).cpu()
    answers = []
    for query, embedding in zip(queries, predicted, strict=True):
        order = (embeddings[query.candidates] @ embedding).argsort(descending=True)[:num_neighbours]
        answers.append(Answer(query.candidates[order], marks(actions, data.latent, query)[order]))
    return answers


def close_to_target(actions: ActionSpace, latent: Tensor, query: Query) -> Tensor:
    """[J, G] whether each candidate is among the `CLOSE_SHARE` of them that are nearest to the target in each group."""
    columns = []
    for group in actions.groups:
        place = actions.latent_slice(group.name)
        away = distance(group, latent[query.candidates, place], latent[query.target, place], actions.latent_scale[place])
        columns.append(away <= away.sort().values[num_close(len(away)) - 1])
    return torch.stack(columns, dim=1)


def same_as_target(actions: ActionSpace, latent: Tensor, query: Query) -> Tensor:
    """[J, G] whether each candidate has the very parameters of the target in each group."""
    places = [actions.latent_slice(name) for name in actions.names]
    return torch.stack([(latent[query.candidates, place] == latent[query.target, place]).all(1) for place in places], dim=1)


def num_close(num_candidates: int) -> int:
    """How many candidates count as close."""
    return max(1, round(CLOSE_SHARE * num_candidates))


def distance(group: Group, latent: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """[J] distance of latents [J, L] of a group from a target [L]: an angle, turns, or standard deviations, by its kind."""
    if group.kind is Kind.QUATERNION:
        return 2 * (latent @ target).abs().clamp(max=1).arccos()
    difference = (latent - target).abs()
    if group.kind is Kind.CIRCULAR:
        difference = torch.minimum(difference % 1, 1 - difference % 1)
    elif group.kind is Kind.REAL:
        difference = difference / scale
    length: Tensor = difference.norm(dim=1)
    return length
