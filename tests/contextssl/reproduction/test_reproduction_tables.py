"""Descriptions of tables, and the runs that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planted_table import CONTENT, table

from contextssl.reproduction.matrix import Matrix
from contextssl.reproduction.tables import PaperTable, on_base

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"colour": 1}, "table t: unknown key 'colour'; there are title, source"),
    "no title": ({"title": None}, "table t: 'title' is missing"),
    "twice": ({"rows": [*CONTENT["rows"], CONTENT["rows"][0]]}, "table t: two rows are called 'plain'"),
    "no such row": ({"rows": CONTENT["rows"][:2]}, "table t: 'context' is named but not described; there are plain, told"),
    "no such score": ({"score": ["speed"]}, "table t: 'speed' is named but not described; there are shift, class"),
    "reading": ({"readings": {"shift": {"label": "x"}}}, "t: reading shift: 'protocol' is missing"),
    "no such scale": ({"scales": {"small": CONTENT["scales"]["small"]}}, "table t: 'large' is named but not described; there are small"),
    "a word": ({"blocks": [{"title": "x", "columns": [], "lines": [{"row": "plain", "published": {"shift": [0.1, "-.5"]}}]}]}, "table t: the published '-.5' is a word, not a number"),
    "line": ({"blocks": [{"title": "x", "columns": [], "lines": [{"row": "plain", "lable": "x"}]}]}, "t: blocks: line: unknown key 'lable'"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_wrong_description_is_a_sentence(case: str) -> None:
    changes, said = FAULTS[case]
    content = {key: value for key, value in {**CONTENT, **changes}.items() if value is not None}
    with pytest.raises(ValueError) as found:
        PaperTable.read(content, "t")
    assert str(found.value).startswith(said)


def test_a_table_takes_readings_scales_and_named_rows_from_another() -> None:
    own = {"key": "own", "label": "Own"}
    blocks = [{"title": "x", "columns": [{"read": "shift"}, {"read": "mine"}], "lines": [{"row": "told"}, {"row": "own"}]}]
    mine = {**CONTENT["readings"]["shift"], "label": "mine"}
    content = {"title": "B", "source": "S", "rows": ["told", own], "readings": {"mine": mine}, "blocks": blocks}
    found = PaperTable.read(on_base(content, CONTENT, "b"), "b")
    assert [row.key for row in found.rows] == ["told", "own"] and found.rows[0] == table().row("told")
    assert found.scales == table().scales and found.score == table().score and found.readings["mine"].label == "mine"
    with pytest.raises(ValueError, match="row 'tolt' is not in the table it builds on; there are plain, told, context"):
        on_base({**content, "rows": ["tolt"]}, CONTENT, "b")


def test_a_variant_taken_over_without_its_method_chooses_its_own_rate() -> None:
    base = {**CONTENT, "rows": [*CONTENT["rows"], {"key": "variant", "label": "Variant", "rate_of": "told"}]}
    for names, expected in ((["variant"], None), (["told", "variant"], "told")):
        assert PaperTable.read(on_base({**CONTENT, "rows": names, "blocks": []}, base, "b"), "b").rows[-1].rate_of == expected


def matrix(scale: str = "small", **other: Any) -> Matrix:
    return Matrix(table(), scale, 2, Path("runs"), lambda settings: "\n".join(settings), **other)


def test_a_run_is_its_scale_its_row_its_rate_and_what_the_caller_wants() -> None:
    found = matrix(overrides=("train.num_steps=3",), options=("--configs", "mine"))
    one = found.job(found.table.row("told"), 0.01, 1)
    told = ["domain=d", "train=t", "method=told", "train.optimizer.lr=0.01", "train.num_steps=3"]
    settings = [*told, "++evaluation.bank.method_name=told", "seed=1", "name=told"]
    assert list(one.settings) == ["--configs", "mine", *settings] and one.config.splitlines() == settings
    assert one.folder == Path("runs/told/lr-0.01/seed-1") and one.name == "told, rate 0.01, seed 1"
    wide = matrix("large")
    assert "method.wide=true" in wide.job(wide.table.row("plain"), None, 0).settings
    assert "method.wide=true" not in found.job(found.table.row("plain"), None, 0).settings
    assert wide.job(wide.table.row("plain"), None, 0).folder == Path("runs/plain/seed-0")


def test_the_candidate_that_is_chosen_is_the_first_run() -> None:
    found = matrix()
    row = found.table.row("plain")
    assert list(found.candidates(row)) == [0.01, 0.1]
    assert found.runs(row, 0.1)[0] == found.candidates(row)[0.1] and len(found.runs(row, 0.1)) == 2


def test_all_runs_stand_in_folders_of_their_own() -> None:
    found = matrix()
    jobs = [job for row in found.table.rows for rate in found.rates for job in found.runs(row, rate)]
    assert len({job.folder for job in jobs}) == len({job.name for job in jobs}) == len(jobs) == 12


def test_a_rate_that_is_given_is_not_chosen() -> None:
    assert matrix(overrides=("train.optimizer.lr=0.5",)).rates == () == matrix("large").rates
