"""Retrieval pictures, on a planted method whose embeddings are known: the right neighbours, marks, numbers and places."""

from __future__ import annotations

import io
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

from contextssl.actions import Group, Kind
from contextssl.adapter import Split
from contextssl.adapters import ViewsAdapter
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.methods.simclr import SimCLR
from contextssl.reporting.style import house_style
from domains.vision import picture_grid
from domains.vision.picture_grid import Row, draw_grid
from domains.vision.pictures import RetrievalPictures
from domains.vision.retrieved import Answer, Query, close_to_target, distance, draw_queries, num_close, retrieve, same_as_target

NUM_ITEMS, NUM_VIEWS = 20, 9


@pytest.fixture(scope="module")
def bank() -> EmbeddingBank:
    latents = torch.rand(NUM_ITEMS, NUM_VIEWS, 2, generator=torch.Generator().manual_seed(0))
    views = torch.cat([latents, torch.zeros(NUM_ITEMS, NUM_VIEWS, 1)], dim=2)[..., None, None].expand(-1, -1, -1, 2, 2)
    adapter = ViewsAdapter(views, latents, ACTIONS, [], encoder=Corner, shares=(0.1, 0.4))
    return EmbeddingBank(Planted(), adapter, context_lengths=(0, 4), context_draws=1)


def away(bank: EmbeddingBank, rows: list[int], turn: float, hue: float) -> dict[str, list[float]]:
    """Distances of rows from a place, one by one."""
    latent = bank.labelled(Split.TEST).latent.tolist()
    turns = [abs(latent[row][0] - turn) for row in rows]
    hues = [min(abs(latent[row][1] - hue), 1 - abs(latent[row][1] - hue)) for row in rows]
    both = [-math.cos(math.pi * one) - math.cos(2 * math.pi * other) for one, other in zip(turns, hues, strict=True)]
    return {"turn": turns, "hue": hues, "both": both}


@pytest.mark.parametrize("told", ["turn", "hue"])
def test_neighbours_are_the_views_nearest_in_what_was_told(bank: EmbeddingBank, told: str) -> None:
    queries = draw_queries(bank.labelled(Split.TEST), seed=3)
    environment = ACTIONS.environment(told)
    latent = bank.labelled(Split.TEST).latent.tolist()
    answers = retrieve(bank, Split.TEST, queries, environment, 4, marks=close_to_target, num_neighbours=3)
    empty = retrieve(bank, Split.TEST, queries, environment, 0, marks=close_to_target, num_neighbours=3)
    assert len(queries) == 8
    for query, answer, before in zip(queries, answers, empty, strict=True):
        rows = query.candidates.tolist()
        from_target = away(bank, rows, *latent[query.target])
        order = sorted(range(len(rows)), key=lambda index: from_target[told][index])
        assert answer.rows.tolist() == [rows[index] for index in order[:3]] and answer.rows[0] == query.target
        # After no context everything is embedded, but the action is still told as far as the environment goes.
        place = [latent[query.target if told == name else query.source][column] for column, name in enumerate(("turn", "hue"))]
        from_there = away(bank, rows, *place)["both"]
        assert before.rows.tolist() == [rows[index] for index in sorted(range(len(rows)), key=lambda i: from_there[i])[:3]]
        quarter = {name: sorted(from_target[name])[1] for name in ("turn", "hue")}  # a quarter of 8 candidates are 2
        for row, close in zip(answer.rows.tolist(), answer.close.tolist(), strict=True):
            index = rows.index(row)
            assert close == [from_target[name][index] <= quarter[name] + 1e-6 for name in ("turn", "hue")]


def test_queries_are_pairs_of_different_views_of_one_item_and_leave_out_the_source(bank: EmbeddingBank) -> None:
    data = bank.labelled(Split.TEST)
    queries, again, other = (draw_queries(data, seed) for seed in (0, 0, 1))
    assert [query[:2] for query in queries] == [query[:2] for query in again] != [query[:2] for query in other]
    for query in queries:
        own = torch.nonzero(data.item == data.item[query.source]).flatten().tolist()
        assert query.target != query.source and query.target in own
        assert sorted([query.source, *query.candidates.tolist()]) == own


def test_distances_by_kind() -> None:
    turned = torch.tensor([[0.0, 0.0, math.sin(math.pi / 8), math.cos(math.pi / 8)]])
    upright = torch.tensor([0.0, 0.0, 0.0, 1.0])
    rotation = Group("rotation", 4, 4, Kind.QUATERNION, "-")
    for sign in (1, -1):  # q and -q are one rotation, here by 45 degrees
        assert distance(rotation, sign * turned, upright, torch.ones(4)).item() == pytest.approx(math.pi / 4)
    hues = Group("hues", 2, 2, Kind.CIRCULAR, "-")
    found = distance(hues, torch.tensor([[0.95, 0.5]]), torch.tensor([0.05, 0.5]), torch.ones(2))
    assert found.item() == pytest.approx(0.1, abs=1e-6)
    width = Group("width", 1, 1, Kind.REAL, "-")
    assert distance(width, torch.tensor([[3.0]]), torch.tensor([1.0]), torch.tensor([4.0])).item() == pytest.approx(0.5)


def test_a_quarter_is_close_and_at_least_one_view() -> None:
    assert [num_close(count) for count in (1, 2, 8, 23)] == [1, 1, 2, 6]
    latent = torch.tensor([[0.0, 0.0], [0.1, 0.5], [0.2, 0.4], [0.3, 0.3], [0.4, 0.2]])
    close = close_to_target(ACTIONS, latent, Query(0, 2, torch.tensor([1, 2, 3, 4])))
    assert close.tolist() == [[False, False], [True, True], [False, False], [False, False]]


def test_only_the_very_parameters_of_the_target_are_the_same() -> None:
    latent = torch.tensor([[0.0, 0.0], [0.2, 0.5], [0.2, 0.4], [0.21, 0.4]])
    assert same_as_target(ACTIONS, latent, Query(0, 2, torch.tensor([1, 2, 3]))).tolist() == [
        [True, False],
        [True, True],
        [False, True],
    ]


def test_both_pictures_show_what_was_retrieved_and_their_captions_count_it(
    bank: EmbeddingBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[Row], list[str]]] = []

    def note(inputs: Tensor, rows: list[Row], headings: list[str], groups: list[str]) -> bytes:
        drawn.append((rows, headings))
        return draw_grid(inputs, rows, headings, groups)

    monkeypatch.setattr("domains.vision.pictures.draw_grid", note)
    paths = RetrievalPictures(num_objects=4, num_neighbours=2, seed=3)(bank, tmp_path)
    assert [path.name for path in paths] == ["retrieval.png", "retrieval-lengths.png"]
    queries = draw_queries(bank.labelled(Split.TEST), seed=3)
    (objects, headings), (lengths, _) = drawn
    assert headings == ["told turn", "told hue"]
    assert [row.query.source for row in objects] == [queries[index].source for index in (0, 2, 4, 6)]
    assert [row.label for row in lengths] == ["c = 0", "c = 4"] and {row.query.source for row in lengths} == {queries[0].source}
    answers = {
        (told, length): retrieve(
            bank, Split.TEST, queries, ACTIONS.environment(told), length, marks=close_to_target, num_neighbours=2
        )
        for told in ("turn", "hue")
        for length in (0, 4)
    }
    for row, index in zip(objects, (0, 2, 4, 6), strict=True):
        assert [answer.rows.tolist() for answer in row.answers] == [
            answers[told, 4][index].rows.tolist() for told in ("turn", "hue")
        ]
    assert [answer.rows.tolist() for answer in lengths[0].answers] == [answers[t, 0][0].rows.tolist() for t in ("turn", "hue")]
    caption = json.loads((tmp_path / "retrieval-lengths.json").read_text())["caption"]
    found = re.findall(r"(turn|hue): (.*?) told hue", caption)
    assert len(found) == 2
    for place, (group, text) in enumerate(found):
        percents = [int(number) for number in re.findall(r"\d+", text)]
        counted = [sum(answer.close[0, place].item() for answer in answers[t, n]) / 8 for t in ("turn", "hue") for n in (0, 4)]
        assert group == ("turn", "hue")[place] and percents == [round(100 * share) for share in counted]
    assert caption.count("(25 % by chance)") == 2 and "all 8 objects" in caption
    assert len(list(tmp_path.iterdir())) == 4


def test_the_grid_shows_each_view_in_its_place_with_its_marks() -> None:
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]], dtype=torch.uint8)
    inputs = colours[:, :, None, None].expand(-1, -1, 4, 4)
    answers = [
        Answer(torch.tensor([1, 2]), torch.tensor([[True, True], [False, True]])),
        Answer(torch.tensor([3, 4]), torch.tensor([[False, False], [True, False]])),
    ]
    rows = [Row("", Query(0, 1, torch.tensor([1, 2, 3, 4])), answers)] * 2
    page = picture_grid._Page(2, 2, 2, labelled=False)
    with Image.open(io.BytesIO(draw_grid(inputs, rows, ["one", "other"], ["a", "b"]))) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    inch = pixels.shape[0] / page.height
    side, bar = picture_grid.SIDE, picture_grid.MARK

    def at(x: float, y: float) -> list[int]:
        return pixels[round((page.height - y) * inch), round(x * inch)].tolist()

    lefts = [page.left(block, place) for block in (0, 1, 2) for place in (0, 1)]
    assert all(after - before > side for before, after in zip(lefts, lefts[1:], strict=False))
    assert lefts[0] > 0 and lefts[-1] + side < pixels.shape[1] / inch
    for position in (0, 1):
        top = page.top(position)
        shown = [((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((1, 1), 2), ((2, 0), 3), ((2, 1), 4)]
        for (block, place), row in shown:
            assert at(page.left(block, place) + side / 2, top - side / 2) == colours[row].tolist()
        framed = [at(page.left(block, place) + side / 2, top - 0.004) == [31, 35, 40] for (block, place), _ in shown]
        assert framed == [False, True, True, False, False, False]
        marks = [
            [at(page.left(block, place) + share * side, top - side - picture_grid.GAP - bar / 2) for share in (0.2, 0.8)]
            for block in (1, 2)
            for place in (0, 1)
        ]
        blue, orange, none = [0, 114, 178], [213, 94, 0], [213, 216, 221]
        assert marks == [[blue, orange], [none, orange], [none, none], [blue, none]]


def test_fractions_and_one_channel_are_drawn_like_bytes() -> None:
    bytes_ = torch.tensor([0, 128, 255], dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    rows = [Row("c = 2", Query(0, 1, torch.tensor([1, 2])), [Answer(torch.tensor([2]), torch.ones(1, 1, dtype=torch.bool))])]
    expected = draw_grid(bytes_, rows, ["told"], ["a"])
    assert draw_grid(bytes_ / 255, rows, ["told"], ["a"]) == expected
    assert draw_grid(bytes_[:, :1], rows, ["told"], ["a"]) == expected


def test_small_views_are_enlarged_as_squares_and_large_ones_are_smoothed() -> None:
    board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 255
    assert grey_levels(board.byte().expand(3, 3, 32, 32)) == {0, 255}
    assert not grey_levels(board.byte().repeat(4, 4).expand(3, 3, 128, 128)) & {0, 255}


def grey_levels(inputs: Tensor) -> set[int]:
    """What the pixels inside the first view of a page are."""
    rows = [Row("", Query(0, 1, torch.tensor([1, 2])), [Answer(torch.tensor([2, 1, 2]), torch.ones(3, 1, dtype=torch.bool))])]
    page = picture_grid._Page(1, 1, 3, labelled=False)
    with Image.open(io.BytesIO(draw_grid(inputs, rows, ["told"], ["a"]))) as image:
        pixels = np.asarray(image.convert("L"))
    inch = pixels.shape[0] / page.height
    left, top = round(page.left(0, 0) * inch), round((page.height - page.top(0)) * inch)
    inner = round(picture_grid.SIDE * inch) - 3
    return set(pixels[top + 3 : top + inner, left + 3 : left + inner].flatten().tolist())


@pytest.mark.parametrize("num_groups", [1, 2, 3, 7])
@pytest.mark.parametrize("num_views", [2, 3])
def test_no_text_of_the_grid_leaves_the_page_or_covers_another(num_groups: int, num_views: int) -> None:
    names = ["crop", "color", "blur", "flip", "rotation", "greyscale", "solarise"][:num_groups]
    with house_style():
        page = picture_grid._Page(
            2, num_groups, num_views, labelled=True, marks=[f"close to the target in {name}" for name in names]
        )
        page.head([f"told {name}" for name in names])
        page.key()
    assert_texts_apart(page.figure)


def test_seven_groups_have_colours_of_their_own() -> None:
    assert len({picture_grid.group_colour(group) for group in range(7)}) == 7


def test_a_method_without_context_gets_no_pictures(bank: EmbeddingBank, tmp_path: Path) -> None:
    method = SimCLR(Corner(), ACTIONS)
    assert RetrievalPictures()(EmbeddingBank(method, bank.adapter), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, found 0 and 3"):
        RetrievalPictures(num_objects=0)
