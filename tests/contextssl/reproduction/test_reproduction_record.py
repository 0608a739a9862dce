"""Cells of a table by hand, what they are compared with, and the pages made of them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from planted_table import CONTENT, classes, pair, table

from contextssl.evaluation.results import Result
from contextssl.reproduction.noise import difference
from contextssl.reproduction.pages import block_table, compose, write_pages
from contextssl.reproduction.record import as_json, blocks

PLAIN, TOLD = (0.50, 0.52, 0.51), (0.60, 0.63, 0.61)


def results() -> dict[str, list[Result]]:
    """Plain and told over three seeds; contexts over two seeds and two draws, of which the second seed is one draw short."""
    found = {
        "plain": [pair(value, seed) for seed, value in enumerate(PLAIN)] + [classes(0.9, seed) for seed in range(3)],
        "told": [pair(value, seed) for seed, value in enumerate(TOLD)] + [pair(0.3, metric="r2_varw", floor=-0.01)],
    }
    shift = [("shift", "true", 2), ("shift", "true", 14)]
    found["context"] = [pair(0.55, seed, ("-", "empty", 0)) for seed in range(2)] + [classes(0.8, seed) for seed in range(2)]
    found["context"] += [
        pair(0.6 + 0.02 * draw + 0.1 * seed, seed, shift[0], draw) for seed in range(2) for draw in range(2 - seed)
    ]
    found["context"] += [pair(0.95 + 0.001 * seed, seed, shift[1]) for seed in range(2)]
    # None of these belong anywhere.
    found["context"] += [
        pair(9.0, 0, ("turn", "true", 2)), pair(9.0, 0, ("shift", "noise", 14)), pair(9.0, 0, split="validation"),
        pair(9.0, 0, protocol="pairs-released/1"), pair(9.0, 0, target="relative_turn"),
    ]  # fmt: skip
    return found


def cell(line: int, column: int, block: int = 0) -> dict[str, object]:
    return blocks(table(), results())[block]["lines"][line]["cells"][column]


def test_a_cell_is_the_mean_over_seeds_with_spread_floor_and_the_published_number() -> None:
    found = cell(0, 0)
    assert found["published"] == 0.4 and found["by_seed"] == {"0": 0.5, "1": 0.52, "2": 0.51}
    shown = found["shown"]
    assert (shown["mean"], shown["sd"], shown["floor"], shown["num_seeds"]) == (0.51, pytest.approx(0.01), 0.25, 3)
    assert cell(1, 0)["published"] is None and cell(1, 1)["shown"] is None and cell(2, 0)["shown"] is None
    assert [(one["metric"], one["mean"]) for one in cell(1, 0)["others"]] == [("r2_varw", 0.3)]


def test_lengths_begin_with_the_empty_context_and_draws_are_averaged_within_their_seed() -> None:
    means = [cell(0, column, 1)["shown"]["mean"] for column in range(3)]
    assert means == pytest.approx([0.55, (0.61 + 0.7) / 2, 0.9505])
    assert [cell(0, column, 1)["published"] for column in range(3)] == [0.1, 0.2, 0.3]
    assert cell(0, 3, 1)["shown"]["mean"] == pytest.approx(0.8), "classes are read from features beside contexts too"


def test_columns_without_lengths_are_compared_with_their_best_line() -> None:
    best, other = cell(1, 0), cell(0, 0)
    assert best["best"] and best["against"] is None and not other["best"]
    expected = difference(dict(enumerate(PLAIN)), dict(enumerate(TOLD)))
    against = other["against"]
    assert against["what"] == "Told" and against["paired"] and against["beyond_noise"]
    assert (against["mean"], against["low"]) == (pytest.approx(expected.mean, abs=1e-5), pytest.approx(expected.low, abs=1e-5))
    assert cell(0, 1)["best"] and not cell(2, 1)["best"], "classes: .9 and .8"


def test_columns_with_lengths_are_compared_with_their_shortest() -> None:
    first, second, third = (cell(0, column, 1)["against"] for column in range(3))
    assert first is None and second["what"] == third["what"] == "0 tokens"
    assert third["mean"] == pytest.approx(0.4005) and third["beyond_noise"] and not second["beyond_noise"]


def test_a_line_may_show_another_reading_and_a_column_tell_another_environment() -> None:
    block = {
        "title": "x",
        "columns": [{"read": "class", "lengths": None}, {"read": "shift", "lengths": [14], "environment": "turn"}],
        "lines": [{"row": "context", "environment": "shift", "instead": {"class": "score_class"}}, {"row": "context"}],
    }
    planted = results()
    planted["context"] += [pair(0.33, 0, ("turn", "true", 14)), classes(0.7, 5)]
    planted["context"] += [
        pair(0.66, 0, target="class", protocol="single/1", probe="linear", metric="accuracy", split="validation")
    ]
    first, second = blocks(table(blocks=[block]), planted)[0]["lines"]
    assert [one["shown"]["mean"] for one in first["cells"]] == [0.66, 0.33]
    assert second["cells"][1]["shown"]["mean"] == 0.33 and second["cells"][0]["shown"]["num_seeds"] == 3


def test_retrieval_without_context_is_a_number_for_each_environment() -> None:
    block = {
        "title": "x",
        "columns": [{"read": "rank", "lengths": [0, 2]}],
        "lines": [{"row": "context", "environment": "shift"}],
    }
    known = {"protocol": "retrieval/1", "target": "next", "probe": "-", "metric": "mrr"}
    planted = {"context": [pair(value, 0, where, **known) for value, where in (
        (0.1, ("-", "empty", 0)), (0.2, ("shift", "true", 0)), (0.3, ("turn", "true", 0)), (0.4, ("shift", "true", 2)))]}  # fmt: skip
    (line,) = blocks(table(blocks=[block]), planted)[0]["lines"]
    assert [one["shown"]["mean"] for one in line["cells"]] == [0.2, 0.4]


def record(complete: bool = True) -> dict[str, object]:
    return {
        "title": "A table", "source": "A paper", "note": "A note.", "scale": "small", "about_scale": "Small.",
        "command": ["contextssl", "reproduce", "planted"], "complete": complete, "missing": [] if complete else ["told, seed 2"],
        "failed": {} if complete else {"told, seed 2": "it broke"}, "environment": {"gpus": [], "processor": "P", "num_cpus": 2},
        "data": [], "seeds": [0, 1, 2], "seconds": {"plain": {"train": [10.0, 12.0], "evaluate": [2.0, 3.0]}},
        "score": [CONTENT["readings"]["score_shift"]], "learning_rates": {"plain": {"rate": 0.1, "scores": {"0.01": None, "0.1": 0.5}}},
        "blocks": blocks(table(), results()),
    }  # fmt: skip


def test_the_headline_table_has_the_papers_numbers_beside_ours_or_below_where_there_are_lengths() -> None:
    features, contexts = (block_table(block) for block in record()["blocks"])
    assert features.columns == (("shift", "", "ours"), ("shift", "", "paper"), ("top-1", "", "ours"), ("top-1", "", "paper"))
    ours, paper, top1, published = features.cells[0]
    assert (ours.mean, ours.mark, paper.mean, top1.mean, published.mean) == (0.51, "*", 0.4, 90, 90)
    assert ours.high == pytest.approx(0.52) and features.cells[1][0].mark == "¹"
    assert features.rows[-1][0] == "constant predictor" and [c.mean for c in features.cells[-1]] == [0.25, None, 50, None]
    assert contexts.rows[:2] == (("Context", "shift", "ours"), ("Context", "shift", "paper"))
    assert [c.mean for c in contexts.cells[1]][:3] == [0.1, 0.2, 0.3] and contexts.cells[0][2].mark == "*"


def test_pages_say_what_is_missing_and_what_failed(tmp_path) -> None:
    whole = write_pages(record(), tmp_path, "planted").read_text()
    assert "not complete" not in whole and "A table" in whole and "<table>" in whole and "http" not in whole
    text = (tmp_path / "planted.md").read_text()
    assert re.search(r"\| Plain \| nothing \| \.510\*? ± \.010\*? \| \.400 \|", text) and "10 to 12 s to train" in text
    assert "| Plain | 0.1 | – | .500 |" in text and "variance-weighted R²" in text
    write_pages(record(complete=False), tmp_path, "planted")
    for name in ("planted.md", "planted.html"):
        partial = (tmp_path / name).read_text()
        assert "This table is not complete." in partial and "told, seed 2 failed: it broke" in partial


def test_the_file_is_the_record_and_pages_come_from_it_alone() -> None:
    text = as_json(record())
    stored = json.loads(text)
    assert stored == json.loads(json.dumps(record())) and compose(stored) == compose(record())
    assert sum(line.startswith('{"row"') for line in text.splitlines()) == 4


def test_a_table_without_any_result_is_a_page_too() -> None:
    empty = {**record(), "blocks": blocks(table(), {}), "seconds": {}, "learning_rates": {}}
    document = compose(empty)
    assert [section.title for section in document.sections] == ["Features", "Contexts", "How it was made"]
    assert all(c.mean is None for row in block_table(empty["blocks"][1]).cells[:1] for c in row)


def test_one_seed_has_no_spread_and_no_mark() -> None:
    (block, _) = blocks(table(), {"plain": [pair(0.5)], "told": [pair(0.7)]})
    cells = block_table(block).cells
    assert (cells[0][0].low, cells[0][0].mark, cells[1][0].mark) == (None, "", "¹")
    assert np.isclose(cells[0][0].mean, 0.5)
