"""Pictures of retrieval where views are augmentations: every combination of some crops and some blurs of one image.

The candidates are made with given parameters, which is what the pure `apply` of a transform is for. One crop is there with every
blur and one blur with every crop, so that one sees what a context asked for and what it left free (protocol 6.8).

P parameter rows, L latent width, J candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from contextssl.actions import ActionSpace, Group
from contextssl.adapter import DomainAdapter, LabelledData, Split
from contextssl.adapters.items import as_float
from contextssl.adapters.relabelled import RelabelledDomain
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.reporting import names
from contextssl.seeding import generator
from domains.vision.augmented_images import Augmentation
from domains.vision.pictures import Asked, RetrievalPictures
from domains.vision.retrieved import Query, distance, same_as_target
from domains.vision.untransformed import HasUntransformed

NUM_DRAWN = 64  # parameter rows from which the values that differ most are chosen


@dataclass(frozen=True)
class AugmentedRetrieval(RetrievalPictures):
    """The pictures of retrieval among combinations of augmentations of one image; marks are the target's very parameters.

    Attributes:
        transform: the domain's.
        num_images: asked about; `num_objects` of them are shown.
        num_candidates: about so many combinations of each image.

    Raises:
        ValueError: as `RetrievalPictures`, and without a transform or with fewer than two candidates.
    """

    transform: Augmentation | None = None
    num_images: int = 60
    num_candidates: int = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_transform(self.transform)
        if self.num_images < 1 or self.num_candidates < 2:
            found = f"{self.num_images} and {self.num_candidates}"
            raise ValueError(f"retrieval pictures: num_images is at least 1, num_candidates at least 2, found {found}")

    def asked(self, bank: EmbeddingBank) -> Asked:
        """The first view of each image with the action to one of its other views."""
        transform = checked_transform(self.transform, bank.adapter)
        views = AugmentedViews(bank.adapter, transform, self.num_images, self.num_candidates, self.seed)
        own = bank.over(views)
        data = own.labelled(self.split)
        queries = first_queries(data, self.seed)
        actions, latent = bank.adapter.actions, data.latent[queries[0].candidates]
        values = names.join([f"{len(latent[:, actions.latent_slice(name)].unique(dim=0))} {name}" for name in actions.names])
        opening = (
            "**Where a context tells a group, the nearest views should have the target's parameters of that group (its mark is "
            "coloured) and any of the others.** Given the source and the action to the target, as far as it is told: the views of "
            "the same image nearest to the answer, after contexts of {length} tokens. Candidates are the "
            f"{len(queries[0].candidates)} combinations of {values} parameters, drawn for each image and applied to it. A frame: the target. "
            f"One row an image of the {self.split} split."
        )
        return Asked(own, queries, same_as_target, "the target's {}", "has the target's parameters", "image", opening)


class AugmentedViews(RelabelledDomain):
    """The same domain, the same contexts; labelled rows are a drawn view of each image and then its combinations.

    Args:
        domain: an adapter that shows its images as they are.
        transform: the domain's.
        num_images: so many of each split, drawn at random.
        num_candidates: as in `combinations`.
        seed: of the parameters.

    Raises:
        ValueError: for a domain that does not show its images as they are.
    """

    def __init__(
        self, domain: DomainAdapter, transform: Augmentation, num_images: int, num_candidates: int, seed: int
    ) -> None:  # fmt: skip
        super().__init__(domain)
        self._images = with_images(domain)
        self._transform, self._num_images, self._num_candidates, self._seed = transform, num_images, num_candidates, seed

    def labelled(self, split: Split) -> LabelledData:
        """[1 + J] views of each image, the source first; float32."""
        data, draws = self._images.untransformed(split), generator(self._seed, f"augmented views/{split}")
        chosen = torch.randperm(len(data), generator=draws)[: self._num_images]
        latents = [combinations(self.actions, self._transform.draw(NUM_DRAWN, draws), self._num_candidates) for _ in chosen]
        rows, latent = chosen.repeat_interleave(torch.tensor([len(part) for part in latents])), torch.cat(latents)
        return LabelledData(self._transform.apply(as_float(data.inputs[rows]), latent), data.item[rows], latent, ())


def combinations(actions: ActionSpace, drawn: Tensor, num_candidates: int) -> Tensor:
    """[1 + J, L]: the first of the drawn rows [P, L], then all combinations of some values of each group.

    The groups have equally many values, as far as so many differ, so that J is about `num_candidates`; they are as far from
    each other, and from the first row's, as the draws allow.
    """
    count = max(2, round(num_candidates ** (1 / len(actions.groups))))
    chosen = []
    for group in actions.groups:
        place = actions.latent_slice(group.name)
        values = far_apart(group, drawn[:, place], actions.latent_scale[place], 1 + count)
        chosen.append(values[1:] if len(values) > count else values)  # a switch has no value apart from the first row's
    grid = torch.cartesian_prod(*(torch.arange(len(values)) for values in chosen)).view(-1, len(chosen))
    rows = [values[index] for values, index in zip(chosen, grid.unbind(1), strict=True)]
    return torch.cat([drawn[:1], torch.cat(rows, dim=1)])


def far_apart(group: Group, drawn: Tensor, scale: Tensor, count: int) -> Tensor:
    """[K, width] at most `count` different rows of a group's latents [P, width]: the first, then always the one farthest from those."""
    kept = [drawn[0]]
    nearest = distance(group, drawn, drawn[0], scale)
    while len(kept) < count and nearest.max() > 1e-6:
        kept.append(drawn[nearest.argmax()])
        nearest = torch.minimum(nearest, distance(group, drawn, kept[-1], scale))
    return torch.stack(kept)


def first_queries(data: LabelledData, seed: int) -> list[Query]:
    """One query for each item: its first row with the action to another, all others being candidates."""
    draws, queries = generator(seed, "augmented retrieval"), []
    _, counts = data.item.unique_consecutive(return_counts=True)
    for rows in torch.arange(len(data)).split(counts.tolist()):
        target = rows[1 + int(torch.randint(len(rows) - 1, (), generator=draws))]
        queries.append(Query(int(rows[0]), int(target), rows[1:]))
    return queries


def checked_transform(transform: Augmentation | None, domain: DomainAdapter | None = None) -> Augmentation:
    """The transform; ValueError when there is none, or when its groups are not those of the domain."""
    if transform is None:
        raise ValueError(
            "pictures of augmentations need the domain's transform, and this domain has none: set evaluation.pictures={}"
        )
    found = [group.name for group in transform.groups]
    if domain is not None and found != list(domain.actions.names):
        raise ValueError(
            f"pictures: the transform has the groups {found}, the domain {list(domain.actions.names)}; give the domain's"
        )
    return transform


def with_images(domain: DomainAdapter) -> HasUntransformed:
    """The domain, if it can show its images as they are; ValueError otherwise."""
    if not isinstance(domain, HasUntransformed):
        raise ValueError(f"{type(domain).__name__} does not show its images as they are: set evaluation.pictures={{}}")
    return domain
