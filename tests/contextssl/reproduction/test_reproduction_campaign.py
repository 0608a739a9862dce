"""What is run for a table, in which order, and what its record says on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from planted_table import CONTENT, classes, pair, table, validation

from contextssl.evaluation.results import write_results
from contextssl.reproduction.campaign import Campaign
from contextssl.reproduction.jobs import Job
from contextssl.reproduction.launchers import Outcome
from contextssl.reproduction.learning_rates import Choice
from contextssl.reproduction.matrix import Matrix


class Planted:
    """A launcher that leaves run folders with planted results: rate .1 is the better one, but for the row `told`."""

    def __init__(self, fail: Sequence[str] = (), most: int = 1000) -> None:
        self.fail, self.most, self.done = fail, most, list[str]()

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in jobs:
            if len(self.done) >= self.most:
                raise KeyboardInterrupt
            if job.name in self.fail:
                yield Outcome(job, "it broke")
                continue
            self.done.append(job.name)
            self.leave(job)
            yield Outcome(job)

    def leave(self, job: Job) -> None:
        row, rate, seed = job.name.split(", ")
        number, good = int(seed.removeprefix("seed ")), (rate == "rate 0.1") != (row == "told")
        job.folder.mkdir(parents=True)
        (job.folder / "config.yaml").write_text(job.config)
        (job.folder / "manifest.json").write_text(json.dumps({"name": "planted", "source": "/somewhere"}))
        job.folder.with_name(f"{job.folder.name}.seconds.json").write_text('{"train": 2.0, "evaluate": 1.0}')
        where = [("-", "-", 0), ("shift", "true", 14), ("turn", "true", 14)]
        score = 0.9 if good else 0.1
        rows = [validation(target, score, place) for place in where for target in ("shift", "turn", "class")]
        rows += [pair(score + number / 100, number), pair(0.5, number, ("-", "empty", 0)), classes(score, number)]
        write_results(rows, job.folder / "results.jsonl")


def campaign(folder: Path, num_seeds: int = 2, scale: str = "small", rows: Any = None, **other: Any) -> Campaign:
    matrix = Matrix(table() if rows is None else table(rows=rows), scale, num_seeds, folder, lambda settings: "\n".join(settings))
    return Campaign(matrix, ("contextssl", "reproduce", "planted"), **other)


SWEPT = [f"{row}, rate {rate}, seed 0" for row in ("plain", "told", "context") for rate in (0.01, 0.1)]
SEEDS = ["plain, rate 0.1, seed 1", "told, rate 0.01, seed 1", "context, rate 0.1, seed 1"]


def test_candidates_are_tried_first_and_the_chosen_ones_are_not_run_again(tmp_path: Path) -> None:
    launcher, found, records = Planted(), campaign(tmp_path), []
    found.run(launcher, records.append)
    assert launcher.done == SWEPT + SEEDS
    assert {key: choice.rate for key, choice in found.choices.items()} == {"plain": 0.1, "told": 0.01, "context": 0.1}
    last = records[-1]
    assert last["complete"] and not last["missing"] and not last["failed"]
    assert last["learning_rates"]["told"] == {"rate": 0.01, "scores": {"0.01": pytest.approx(0.9), "0.1": pytest.approx(0.1)}}
    assert last["blocks"][0]["lines"][0]["cells"][0]["by_seed"] == {"0": 0.9, "1": 0.91}
    assert last["seconds"]["plain"] == {"train": [2.0, 2.0], "evaluate": [1.0, 1.0]} and last["data"] == [{"name": "planted"}]


def test_the_record_grows_with_every_run(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    campaign(tmp_path).run(Planted(), records.append)
    assert len(records) == len(SWEPT) + len(SEEDS) + 2
    assert [record["complete"] for record in records] == [False] * (len(records) - 2) + [True, True]
    assert records[0]["missing"] == ["plain", "told", "context"]
    missing = [len(record["missing"]) for record in records[len(SWEPT) + 1 :]]
    assert missing == sorted(missing, reverse=True)


def test_an_interrupted_call_goes_on_and_comes_to_the_same_table(tmp_path: Path) -> None:
    whole: list[dict[str, Any]] = []
    campaign(tmp_path / "whole").run(Planted(), whole.append)
    for most in range(len(SWEPT) + len(SEEDS)):
        first, records = Planted(most=most), []
        with pytest.raises(KeyboardInterrupt):
            campaign(tmp_path / str(most)).run(first, lambda record: None)
        second = Planted()
        campaign(tmp_path / str(most)).run(second, records.append)
        assert first.done + second.done == SWEPT + SEEDS
        assert records[-1]["blocks"] == whole[-1]["blocks"] and records[-1]["learning_rates"] == whole[-1]["learning_rates"]
    third = Planted()
    campaign(tmp_path / "whole").run(third, whole.append)
    assert third.done == [] and whole[-1]["blocks"] == whole[-2]["blocks"]


def test_rates_that_were_chosen_earlier_are_taken(tmp_path: Path) -> None:
    launcher, records = Planted(), []
    choices = {row: Choice(0.01, {0.01: 0.5}) for row in ("plain", "told")}
    campaign(tmp_path, choices=choices).run(launcher, records.append)
    assert launcher.done[:2] == SWEPT[4:] and "plain, rate 0.1, seed 0" not in launcher.done
    assert "plain, rate 0.01, seed 1" in launcher.done and records[-1]["learning_rates"]["plain"]["rate"] == 0.01


def test_a_failure_stops_nothing_else_and_is_on_record(tmp_path: Path) -> None:
    failing = ["plain, rate 0.1, seed 0", "told, rate 0.01, seed 1"]
    launcher, found, records = Planted(failing), campaign(tmp_path), []
    found.run(launcher, records.append)
    assert found.failed == dict.fromkeys(failing, "it broke") == records[-1]["failed"]
    assert found.choices["plain"] == Choice(0.01, {0.01: pytest.approx(0.1), 0.1: None})
    assert not records[-1]["complete"] and records[-1]["missing"] == ["told, rate 0.01, seed 1"]
    assert "context, rate 0.1, seed 1" in launcher.done


def test_a_row_whose_candidates_all_fail_is_left_out(tmp_path: Path) -> None:
    launcher, found, records = Planted(SWEPT[:2]), campaign(tmp_path), []
    found.run(launcher, records.append)
    assert "plain" not in found.choices and records[-1]["missing"] == ["plain"]
    assert records[-1]["blocks"][0]["lines"][0]["cells"][0]["shown"] is None
    assert records[-1]["blocks"][0]["lines"][1]["cells"][0]["shown"] is not None


def test_nothing_is_run_when_a_folder_holds_another_run(tmp_path: Path) -> None:
    campaign(tmp_path, 1).run(Planted(), lambda record: None)
    (tmp_path / "told/lr-0.1/seed-0/config.yaml").write_text("another")
    launcher = Planted()
    with pytest.raises(ValueError, match="made by another configuration"):
        campaign(tmp_path, 3).run(launcher, lambda record: None)
    assert launcher.done == []


def test_a_variant_takes_the_rate_of_its_method_and_waits_for_it(tmp_path: Path) -> None:
    rows = [*CONTENT["rows"], {**CONTENT["rows"][1], "key": "variant", "rate_of": "told"}]
    launcher, found, records = Planted(), campaign(tmp_path, rows=rows), []
    found.run(launcher, records.append)
    assert launcher.done[: len(SWEPT)] == SWEPT
    assert [name for name in launcher.done if name.startswith("variant")] == [
        "variant, rate 0.01, seed 0",
        "variant, rate 0.01, seed 1",
    ]
    assert records[0]["missing"] == ["plain", "told", "context", "variant"] and records[-1]["complete"]
    assert set(records[-1]["learning_rates"]) == {"plain", "told", "context"}


@pytest.mark.parametrize("rate_of", ["nobody", "variant"])
def test_a_rate_is_taken_from_a_row_that_chooses_its_own(rate_of: str) -> None:
    rows = [*CONTENT["rows"], {"key": "variant", "label": "Variant", "rate_of": rate_of}]
    with pytest.raises(ValueError, match=f"'{rate_of}' is named but not described; there are plain, told, context"):
        table(rows=rows)
