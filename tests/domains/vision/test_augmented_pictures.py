"""Pictures of augmentations: pairs are what they say, candidates all combinations, and a planted method finds what it was told."""

from __future__ import annotations

import io
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_texts import assert_texts_apart
from PIL import Image
from planted_views import ACTIONS, Corner, Planted
from torch import Tensor

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.adapter import LabelledData, Split
from contextssl.adapters import TransformedItems
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.methods.simclr import SimCLR
from contextssl.reporting.style import house_style
from domains.vision import augmented_pairs
from domains.vision.augmented_pairs import AugmentedPairs, crops_first, draw, draw_pairs
from domains.vision.augmented_retrieval import AugmentedRetrieval, AugmentedViews, combinations, far_apart, first_queries
from domains.vision.parameter_words import pair_lines
from domains.vision.pictures import Asked
from domains.vision.transforms import (
    ColorJitter,
    Compose,
    GaussianBlur,
    Greyscale,
    HorizontalFlip,
    RandomResizedCrop,
    Rotation,
    Solarise,
    Transform,
)

ALL = [
    RandomResizedCrop(32),
    ColorJitter(order=None),
    GaussianBlur(),
    HorizontalFlip(),
    Rotation(),
    Greyscale(),
    Solarise((0, 1)),
]


class Stamp:
    """Writes its two parameters into the first two channels, so that a view shows what it was made with."""

    groups = ACTIONS.groups

    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[N, 2]."""
        return torch.rand(num_rows, 2, generator=generator)

    def apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        """The third channel stays."""
        return torch.cat([parameters[:, :, None, None].expand(-1, -1, *images.shape[2:]), images[:, 2:]], dim=1)

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        parameters = self.draw(len(images), generator)
        return self.apply(images, parameters), parameters


class Stamped(TransformedItems):
    """Images whose third channel says which one it is."""

    def __init__(self) -> None:
        self.whole = (torch.arange(60) / 100).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
        super().__init__(self.whole, Stamp(), ACTIONS, [], encoder=Corner, shares=(0.1, 0.5))

    def untransformed(self, split: Split) -> LabelledData:
        items = self.items[split]
        return LabelledData(self.whole[items], items, torch.zeros(len(items), 2), ())


@pytest.fixture(scope="module")
def domain() -> Stamped:
    return Stamped()


@pytest.fixture(scope="module")
def bank(domain: Stamped) -> EmbeddingBank:
    return EmbeddingBank(Planted(), domain, context_lengths=(0, 4), context_draws=1)


def test_candidates_are_all_combinations_of_values_that_differ_from_the_source(domain: Stamped) -> None:
    drawn = Stamp().draw(64, torch.Generator().manual_seed(0))
    rows = combinations(ACTIONS, drawn, 25)
    assert rows.shape == (26, 2) and torch.equal(rows[0], drawn[0])
    turns, hues = (rows[1:, column].unique().tolist() for column in (0, 1))
    assert len(turns) == len(hues) == 5 and not {rows[0, 0].item()} & {*turns} and not {rows[0, 1].item()} & {*hues}
    assert sorted(map(tuple, rows[1:].tolist())) == sorted(itertools.product(turns, hues))
    assert {*turns} <= {*drawn[:, 0].tolist()} and {*hues} <= {*drawn[:, 1].tolist()}


@pytest.mark.parametrize(("transforms", "counts"), [([3], [2]), ([0], [25]), ([0, 2, 4], [3, 3, 3]), ([3, 2, 5], [2, 3, 2])])
def test_any_groups_have_their_combinations(transforms: list[int], counts: list[int]) -> None:
    transform = Compose([ALL[index] for index in transforms])
    space = ActionSpace(transform.groups)
    rows = combinations(space, transform.draw(64, torch.Generator().manual_seed(1)), 25)[1:]
    assert [len(rows[:, space.latent_slice(name)].unique(dim=0)) for name in space.names] == counts
    assert len(rows) == len(rows.unique(dim=0)) == math.prod(counts)


def test_values_are_those_farthest_from_each_other() -> None:
    hue = Group("hue", 1, 1, Kind.CIRCULAR, "turns")
    drawn = torch.tensor([[0.0], [0.0], [0.9], [0.3], [0.55], [0.8]])  # 0.9 is a tenth of a turn from 0
    assert far_apart(hue, drawn, torch.ones(1), 3).flatten().tolist() == pytest.approx([0.0, 0.55, 0.3])
    assert len(far_apart(hue, drawn[:2], torch.ones(1), 3)) == 1


def test_views_are_made_of_their_images_with_their_parameters(domain: Stamped) -> None:
    data = AugmentedViews(domain, Stamp(), 7, 4, seed=2).labelled(Split.TEST)
    items, counts = data.item.unique(return_counts=True)
    assert len(items) == 7 and {*items.tolist()} <= {*domain.items[Split.TEST].tolist()} and counts.tolist() == [5] * 7
    assert torch.equal(data.inputs[:, :2, 0, 0], data.latent)
    assert torch.allclose(data.inputs[:, 2, 0, 0], data.item / 100)
    again, other = (AugmentedViews(domain, Stamp(), 7, 4, seed=seed).labelled(Split.TEST) for seed in (2, 3))
    assert torch.equal(again.inputs, data.inputs) and not torch.equal(other.latent, data.latent)
    for query in first_queries(data, 0):
        own = torch.nonzero(data.item == data.item[query.source]).flatten().tolist()
        assert [query.source, *query.candidates.tolist()] == own and query.target in own[1:]


def test_the_nearest_views_have_what_was_told_and_anything_else(
    bank: EmbeddingBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[Asked, list[list[list[list[bool]]]]]] = []
    whole = AugmentedRetrieval._items

    def note(self, asked, answers, rows):  # type: ignore[no-untyped-def]
        told = [[answer.close.tolist() for answer in answers[environment, 4]] for environment in bank.environments[:2]]
        shown.append((asked, told))
        return whole(self, asked, answers, rows)

    monkeypatch.setattr(AugmentedRetrieval, "_items", note)
    AugmentedRetrieval(transform=Stamp(), num_images=12, num_neighbours=5)(bank, tmp_path)
    (asked, (told_turn, told_hue)) = shown[0]
    assert len(asked.queries) == len(told_turn) == len(told_hue) == 12
    for place, answers in enumerate((told_turn, told_hue)):
        for close in answers:  # the five views with the target's value, one of which has the target's other value too
            assert [row[place] for row in close] == [True] * 5 and sum(row[1 - place] for row in close) == 1
    caption = json.loads((tmp_path / "retrieval.json").read_text())["caption"]
    assert "25 combinations of 5 turn and 5 hue" in caption and "all 12 images" in caption
    ((_, told, untold),) = re.findall(r"(turn): (\d+) % told turn and (\d+) % told hue \(20 % by chance\)", caption)
    assert told == "100" and int(untold) == round(100 * sum(close[0][0] for close in told_hue) / 12)


def test_pairs_are_two_views_of_images_of_the_split(domain: Stamped) -> None:
    images = domain.untransformed(Split.TEST).inputs
    pairs = draw_pairs(Stamp(), images, 5, seed=0)
    assert len({pair.image[2, 0, 0].item() for pair in pairs}) == 5
    for pair in pairs:
        assert any(torch.equal(pair.image, image) for image in images)
        for view, parameters in ((pair.x, pair.t_x), (pair.y, pair.t_y)):
            assert view[:2, 0, 0].tolist() == parameters.tolist() and torch.equal(view[2], pair.image[2])
    assert len({value for pair in pairs for value in (*pair.t_x.tolist(), *pair.t_y.tolist())}) == 20
    again, other = draw_pairs(Stamp(), images, 5, seed=0), draw_pairs(Stamp(), images, 5, seed=1)
    assert torch.equal(again[4].y, pairs[4].y) and not torch.equal(other[0].t_x, pairs[0].t_x)


def test_each_view_stands_in_its_place_and_boxes_where_it_was_cut() -> None:
    transform = Compose([RandomResizedCrop(32)])
    image = torch.zeros(3, 32, 32)
    image[0, :16], image[1, 16:] = 1, 1  # red above green
    t_x, t_y = torch.tensor([0.25, 0.5, 0.5, 1.0]), torch.tensor([0.75, 0.25, 0.5, 0.5])
    views = transform.apply(image.expand(2, -1, -1, -1), torch.stack([t_x, t_y]))
    pairs = [augmented_pairs.Pair(image, *views, t_x, t_y)] * 3
    page = augmented_pairs._Page(3, 5)
    with Image.open(io.BytesIO(draw(transform, pairs))) as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    inch = pixels.shape[0] / page.height

    def at(panel: int, place: int, row: float, column: float) -> list[int]:
        """The pixel at a share of a view's height and width."""
        down, across = divmod(panel, 2)
        left = augmented_pairs.MARGIN + across * (augmented_pairs.PANEL + augmented_pairs.PANEL_GAP)
        left += place * (augmented_pairs.SIDE + augmented_pairs.GAP)
        top = down * page.panel_height + augmented_pairs.HEAD
        y, x = (top + row * augmented_pairs.SIDE) * inch, (left + column * augmented_pairs.SIDE) * inch
        return pixels[round(y), round(x)].tolist()

    red, green, orange, sky = [255, 0, 0], [0, 255, 0], [230, 159, 0], [86, 180, 233]
    for panel in range(3):
        assert [at(panel, 0, row, 0.6) for row in (0.3, 0.7)] == [red, green]
        assert [at(panel, place, row, 0.6) for place in (1, 2) for row in (0.3, 0.7)] == [red, red, green, green]
        assert at(panel, 0, 0.5, 0.8) == orange and at(panel, 0, 0.75, 0.5) == sky  # lower edge of x, right edge of y
        assert at(panel, 1, 0.5, 0.0) == orange and at(panel, 2, 0.5, 0.0) == sky


def test_boxes_are_shown_only_where_the_crop_is_of_the_original() -> None:
    crop, flip = RandomResizedCrop(32), HorizontalFlip()
    assert crops_first(Compose([crop, flip])) and not crops_first(Compose([flip, crop])) and not crops_first(Stamp())


@pytest.mark.parametrize("transforms", [ALL, ALL[:1], ALL[1:3], ALL[3:4], [ALL[4], ALL[6]]])
def test_no_text_below_pairs_leaves_the_page_or_covers_another(transforms: list[Transform]) -> None:
    transform = Compose(transforms)
    pairs = draw_pairs(transform, torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), 3, seed=4)
    lines = [pair_lines(transform, pair.t_x.tolist(), pair.t_y.tolist()) for pair in pairs]
    with house_style():
        page = augmented_pairs._Page(3, max(map(len, lines)))
        for position, (pair, own) in enumerate(zip(pairs, lines, strict=True)):
            page.pair(position, pair, own, boxes=False)
    assert_texts_apart(page.figure)
    said = {text.get_text() for text in page.axes.texts}
    assert {"original", "view x", "view y", "action x → y", *(group.name for group in transform.groups)} <= said
    assert {line.change for own in lines for line in own if line.change} <= said


def test_a_long_unit_is_cut_to_fit() -> None:
    page = augmented_pairs._Page(1, 2)
    group = Group(
        "lamp", 1, 1, Kind.REAL, "a very long explanation of what the number of this group means and where it comes from"
    )
    flat = torch.zeros(3, 4, 4)
    lines = pair_lines(type("One", (Stamp,), {"groups": [group]})(), [0.5], [0.25])
    page.pair(0, augmented_pairs.Pair(flat, flat, flat, torch.zeros(1), torch.zeros(1)), lines, boxes=False)
    assert_texts_apart(page.figure)


def test_pairs_are_shown_for_methods_without_context_too(domain: Stamped, tmp_path: Path) -> None:
    bank = EmbeddingBank(SimCLR(Corner(), ACTIONS), domain)
    assert AugmentedRetrieval(transform=Stamp())(bank, tmp_path) == []
    (path,) = AugmentedPairs(Stamp(), num_images=2)(bank, tmp_path)
    assert path.name == "augmented-pairs.png"
    caption = json.loads(path.with_suffix(".json").read_text())["caption"]
    assert "made of 2 images of the test split" in caption and "box" not in caption


class NoImages(TransformedItems):
    """A domain that shows no images as they are."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(20, 3, 4, 4), Stamp(), ACTIONS, [], encoder=Corner)


def test_what_cannot_be_drawn_is_said(bank: EmbeddingBank, tmp_path: Path) -> None:
    for kind in (AugmentedPairs, AugmentedRetrieval):
        with pytest.raises(ValueError, match="need the domain's transform"):
            kind()
        with pytest.raises(ValueError, match=r"the transform has the groups \['flip'\], the domain \['turn', 'hue'\]"):
            kind(transform=Compose([HorizontalFlip()]))(bank, tmp_path)
        with pytest.raises(ValueError, match="NoImages does not show its images as they are"):
            kind(transform=Stamp())(EmbeddingBank(Planted(), NoImages()), tmp_path)
        with pytest.raises(ValueError, match="at least 1,.* found 0"):
            kind(transform=Stamp(), num_images=0)
    with pytest.raises(ValueError, match="num_candidates at least 2, found 60 and 1"):
        AugmentedRetrieval(transform=Stamp(), num_candidates=1)
    assert list(tmp_path.iterdir()) == []
