"""contextssl reproduce, on a toy domain: from nothing to the table, killed and continued, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from contextssl.commands.configuration import compose_config
from contextssl.commands.main import main
from contextssl.commands.reproduce import read_table
from contextssl.evaluation.label_probe import LABEL_PROBE
from contextssl.evaluation.label_shift import LABEL_SHIFT
from contextssl.evaluation.relative import RELATIVE_R2
from contextssl.evaluation.results import read_results

TESTS = Path(__file__).resolve().parent.parent
OWN = ["--configs", str(TESTS / "configs")]
TOY = ["toy/table", *OWN, "out=made"]

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line in an empty folder; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Runs are trained and evaluated by this process, which is faster; what fails is named. Returns the calls."""
    calls: list[list[str]] = []

    def run(words: Sequence[str], log: Path, *_: object) -> None:
        calls.append([word for word in words if not word.startswith("--")])
        if main(words):
            raise RuntimeError(f"contextssl {words[0]} failed")

    monkeypatch.setattr("contextssl.reproduction.jobs.run_command", run)
    return calls


def test_from_nothing_to_the_table(command: Command, in_process: list[list[str]], tmp_path: Path) -> None:
    code, out, _ = command("reproduce", *TOY, "seeds=2")
    assert code == 0 and "made/table" not in out and f"table: {tmp_path / 'made' / 'toy_table.html'}" in out
    record = json.loads((tmp_path / "made/toy_table.json").read_text())
    assert record["complete"] and record["seeds"] == [0, 1]
    assert sum(words[0] == "train" for words in in_process) == 2 * 2 + 2, (
        "both candidates of two rows, then a second seed of each"
    )
    for row in ("plain", "told"):
        chosen = record["learning_rates"][row]
        assert chosen["rate"] == float(max(chosen["scores"], key=chosen["scores"].get))
        results = [read_results(tmp_path / f"made/runs/{row}/lr-{chosen['rate']:g}/seed-{seed}/results.jsonl") for seed in (0, 1)]
        place = ("attribute-probe/1", "shift", "linear", "r2_pooled", "-", "-", "test", row)
        expected = [
            found.value
            for rows in results
            for found in rows
            if (
                found.protocol,
                found.target,
                found.probe,
                found.metric,
                found.environment,
                found.control,
                found.split,
                found.method,
            )
            == place
        ]
        line = next(line for line in record["blocks"][0]["lines"] if line["row"] == row)
        assert list(line["cells"][0]["by_seed"].values()) == pytest.approx(expected, abs=1e-5) and len(expected) == 2
    rates = yaml.safe_load((tmp_path / "made/toy_table_learning_rates.yaml").read_text())
    assert {key: value["rate"] for key, value in rates.items()} == {k: v["rate"] for k, v in record["learning_rates"].items()}
    before = (tmp_path / "made/toy_table.json").read_text()
    in_process.clear()
    assert command("reproduce", *TOY, "seeds=2")[0] == 0
    assert not in_process and (tmp_path / "made/toy_table.json").read_text() == before


def test_a_dry_run_says_what_is_done_and_does_nothing(command: Command, in_process: list[list[str]], tmp_path: Path) -> None:
    code, out, _ = command("reproduce", *TOY, "--dry-run", "train.optimizer.lr=0.01", "seeds=2")
    assert code == 0 and not in_process and not (tmp_path / "made").exists()
    assert out.count("to do") == 4 and "0 of 4 runs are done, 0 begun" in out and "best of these" not in out
    assert command("reproduce", *TOY, "train.optimizer.lr=0.01", "seeds=1")[0] == 0
    (tmp_path / "made/runs/told/seed-0/results.jsonl").unlink()
    out = command("reproduce", *TOY, "--dry-run", "train.optimizer.lr=0.01", "seeds=2")[1]
    assert re.search(r"done +plain, seed 0: made/runs/plain/seed-0", out) and re.search(r"begun +told, seed 0", out)
    assert "1 of 4 runs are done, 1 begun" in out
    assert command("reproduce", *TOY, "--dry-run")[1].count("best of these rates") == 2


def test_a_failing_run_is_named_and_the_others_go_on(command: Command, in_process: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "made/runs/plain/seed-0").mkdir(parents=True)
    (tmp_path / "made/runs/plain/seed-0/notes.txt").write_text("in the way")
    code, out, errors = command("reproduce", *TOY, "train.optimizer.lr=0.01", "seeds=1")
    assert code == 1 and "plain, seed 0: contextssl train failed" in out and "plain, seed 0 failed" in errors
    record = json.loads((tmp_path / "made/toy_table.json").read_text())
    assert not record["complete"] and record["missing"] == ["plain, seed 0"]
    assert (tmp_path / "made/runs/told/seed-0/results.jsonl").is_file()
    assert "This table is not complete" in (tmp_path / "made/toy_table.md").read_text()


def test_other_settings_need_another_folder(command: Command, in_process: list[list[str]]) -> None:
    assert command("reproduce", *TOY, "train.optimizer.lr=0.01", "seeds=1")[0] == 0
    code, _, errors = command("reproduce", *TOY, "train.optimizer.lr=0.01", "seeds=1", "train.num_steps=3")
    assert code == 1 and "made/runs/plain/seed-0 was made by another configuration: remove it" in errors


def test_committed_rates_are_taken_unless_a_sweep_is_asked_for(
    command: Command, in_process: list[list[str]], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    for kind in ("domain", "method", "evaluation", "reproduce/toy"):
        for path in (TESTS / "configs" / kind).glob("*.yaml"):
            target = own / kind / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text())
    table = own / "reproduce/toy/table.yaml"
    table.write_text(table.read_text() + "    learning_rates: learning_rates/toy.yaml\n")
    words = ["reproduce", "toy/table", "--configs", str(own), "out=made", "seeds=1"]
    code, _, errors = command(*words)
    assert code == 2 and "there is no learning_rates/toy.yaml" in errors and "sweep=true" in errors
    (own / "reproduce/learning_rates").mkdir()
    text = "plain: {rate: 0.01, scores: {0.001: 0.1, 0.01: 0.2}}\ntold: {rate: 0.001, scores: {0.001: 0.3}}\n"
    (own / "reproduce/learning_rates/toy.yaml").write_text(text)
    assert "toy/learning" not in command("reproduce", "--list", "--configs", str(own))[1]
    assert command(*words)[0] == 0
    trained = [
        word.removeprefix("run=made/runs/")
        for call in in_process
        for word in call
        if call[0] == "train" and word.startswith("run=")
    ]
    assert trained == ["plain/lr-0.01/seed-0", "told/lr-0.001/seed-0"]
    assert json.loads((tmp_path / "made/toy_table.json").read_text())["learning_rates"]["plain"]["scores"] == {
        "0.001": 0.1,
        "0.01": 0.2,
    }
    in_process.clear()
    assert command(*words, "sweep=true")[0] == 0
    assert sum(call[0] == "train" for call in in_process) == 2


BAD = {
    "no table": (["seeds=2"], 2, "reproduce needs one table, such as paper/table1"),
    "unknown table": (["paper/tabel1"], 2, "unknown table 'paper/tabel1': did you mean 'paper/table1'? there are paper/figure4"),
    "unknown scale": ([*TOY, "scale=huge"], 2, "toy/table has no scale 'huge': there are mini"),
    "seeds": ([*TOY, "seeds=two"], 2, "cannot read 'seeds=two': seeds is a whole number"),
    "none": ([*TOY, "jobs=0"], 2, "seeds and jobs are at least 1; found seeds=3 jobs=0"),
    "sweep": ([*TOY, "sweep=maybe"], 2, "sweep is true or false"),
    "seed": ([*TOY, "seed=1"], 2, "seed=1 is set for each run by the table; give seeds=N and out=DIR"),
    "launcher": ([*TOY, "launcher=joblib"], 2, "unknown launcher 'joblib': there are local and submitit"),
    "key": ([*TOY, "train.num_step=3"], 2, "unknown key 'train.num_step': did you mean 'train.num_steps'?"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_user_can_get_wrong_is_one_sentence(command: Command, tmp_path: Path, case: str) -> None:
    words, expected, said = BAD[case]
    code, out, errors = command("reproduce", *words)
    assert code == expected and not out and said in errors and len(errors.splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_submitit_is_asked_for_before_anything_is_done(
    command: Command, in_process: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    code, _, errors = command("reproduce", *TOY, "launcher=submitit", "slurm.timeout_min=5")
    assert code == 1 and "pip install 'contextssl[slurm]'" in errors and not in_process and not any(tmp_path.iterdir())


def test_every_table_is_listed_and_its_first_and_last_row_compose_at_every_scale(command: Command) -> None:
    listed = [line.partition(":")[0] for line in command("reproduce", "--list")[1].splitlines()]
    assert {
        "paper/table1",
        "paper/table2",
        "paper/table3",
        "paper/table4",
        "paper/table5",
        "paper/figure4",
        "paper/figure5",
        "seq_jepa/table",
    } == set(listed)
    for name in listed:
        table = read_table(name)
        shown = {line.row for block in table.blocks for line in block.lines}
        assert shown == {row.key for row in table.rows}, f"{name} runs what it does not show"
    for row in (table.rows[0], table.rows[-1]):
        for scale, plan in table.scales.items():
            compose_config([*plan.overrides, *row.overrides, *row.at.get(scale, ())])


@pytest.mark.slow
def test_every_row_composes_and_equal_names_are_equal_runs_in_all_tables() -> None:
    known: dict[tuple[str, str], object] = {}
    for name in (
        "paper/table1",
        "paper/table2",
        "paper/table3",
        "paper/table4",
        "paper/table5",
        "paper/figure4",
        "paper/figure5",
        "seq_jepa/table",
    ):
        table = read_table(name)
        for scale, plan in table.scales.items():
            for row in table.rows:
                config = compose_config([*plan.overrides, *row.overrides, *row.at.get(scale, ())])
                assert known.setdefault((scale, row.key), config) == config, f"{name}: {row.key} is another run elsewhere"


def test_the_rows_of_table_1_differ_in_the_method_alone() -> None:
    table = read_table("paper/table1")
    overrides = table.scales["mini"].overrides
    configs = {key: compose_config([*overrides, *table.row(key).overrides, *table.row(key).at.get("mini", ())])
               for key in ("simclr", "vicreg_plus_alone", "sie_color", "context_ssl")}  # fmt: skip
    one = configs["simclr"]
    assert all(config.domain == one.domain and config.train == one.train for config in configs.values())
    assert one.train.batch_size * one.train.num_transitions == 128
    assert configs["sie_color"].method.groups == ["color"] and configs["vicreg_plus_alone"].method.alone is True


def test_the_rows_of_table_5_differ_in_the_method_and_are_read_by_the_same_rules() -> None:
    table, plan = read_table("paper/table5"), read_table("paper/table5").scales["mini"]
    configs = {row.key: compose_config([*plan.overrides, *row.overrides, *row.at["mini"]]) for row in table.rows}
    one = configs["labels_simclr"]
    for config in configs.values():
        assert config.domain == one.domain and config.domain.adapter.root.name == "iebench-easy"
        assert config.train.num_steps * config.train.batch_size * config.train.num_transitions == 700 * 128
        lengths = config.evaluation.protocols.relative.cells.lengths
        assert set(lengths) <= set(config.evaluation.bank.context_lengths)
    asked = {length for block in table.blocks for column in block.columns for length in column.places if length is not None}
    for key in ("labels_simclr_plus", "labels_context_ssl"):
        assert asked <= set(configs[key].evaluation.bank.context_lengths)
    assert asked <= set(configs["labels_context_ssl"].evaluation.protocols.relative.cells.lengths)
    protocols = {key: config.evaluation.protocols.labels._target_.rpartition(".")[2] for key, config in configs.items()}
    assert [key for key, name in protocols.items() if name != "LabelProbe"] == ["labels_context_ssl"]
    assert protocols["labels_context_ssl"] == "LabelShiftProtocol"
    known = {name.partition("/")[0] for name in (LABEL_PROBE, LABEL_SHIFT, RELATIVE_R2)}
    assert {reading.protocol for reading in table.readings.values()} == known
    assert configs["labels_simclr_plus_alone"].method.alone and not configs["labels_simclr_plus"].method.alone


@pytest.mark.slow
def test_killed_while_training_and_called_again_it_comes_to_the_same_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL ends the caller; its run saves a checkpoint and ends too. The second call goes on from there."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS.parent), str(TESTS)]))
    steps = [
        "train.num_steps=600",
        "record.checkpoint_every=50",
        "record.diagnose_every=null",
        "seeds=1",
        "train.optimizer.lr=0.01",
        "jobs=2",  # everywhere: another number of threads rounds otherwise
    ]
    base = [sys.executable, "-m", "contextssl.commands.main", "reproduce", "toy/table", *OWN, *steps]
    whole = subprocess.Popen([*base, "out=whole"], cwd=tmp_path)
    killed = subprocess.Popen([*base, "out=killed"], cwd=tmp_path)
    run = tmp_path / "killed/runs/plain/seed-0"
    end = time.monotonic() + 600
    while not list(run.glob("checkpoints/step-*")):
        assert killed.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (run / "results.jsonl").exists() and "This table is not complete" in (tmp_path / "killed/toy_table.md").read_text()
    assert subprocess.run([*base, "out=killed"], cwd=tmp_path).returncode == 0
    assert whole.wait() == 0
    log = (run.parent / "seed-0.log").read_text()
    assert "stopped by SIGTERM after step" in log and "resumed after step" in log
    for row in ("plain", "told"):
        for name in ("results.jsonl", "metrics.jsonl"):
            one, other = (tmp_path / out / "runs" / row / "seed-0" / name for out in ("whole", "killed"))
            assert one.read_bytes() == other.read_bytes(), f"{row} {name}"
