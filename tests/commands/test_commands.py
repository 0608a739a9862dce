"""The command line, on a toy domain: what it does, and the one sentence it says when it cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from contextssl.commands.main import main
from contextssl.evaluation.results import read_results
from contextssl.metrics_log import MetricsLog

TESTS = Path(__file__).resolve().parent.parent
OWN = ["--configs", str(TESTS / "configs")]
TOY = [*OWN, "domain=toy", "method=toy", "debug=cpu_tiny"]

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line in an empty folder; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("CONTEXTSSL_FULL_ERROR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def trained(command: Command, tmp_path: Path) -> Path:
    """A finished run of the toy domain."""
    assert command("train", *TOY, "run=trained")[0] == 0
    return tmp_path / "trained"


def test_train_leaves_a_whole_run_folder(command: Command, trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names == {
        "config.yaml",
        "environment.json",
        "manifest.json",
        "metrics.jsonl",
        "metrics.csv",
        "timing.jsonl",
        "log.txt",
        "checkpoints",
    }
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["seed"] == 0 and config["domain"]["dropout"] == 0.1 and "run" not in config
    assert json.loads((trained / "environment.json").read_text())["command"] == ["contextssl", "train", *TOY, "run=trained"]
    assert [row["step"] for row in MetricsLog(trained).rows()] == [5, 10, 15, 20]
    assert "diagnostics/effective_rank" in MetricsLog(trained).rows()[-1]


def test_equal_seeds_give_equal_runs_and_other_seeds_do_not(command: Command, trained: Path, tmp_path: Path) -> None:
    torch.rand(3)  # what happened before in this process does not matter
    command("train", *TOY, "run=again")
    command("train", *TOY, "run=other", "seed=1")
    same, again, other = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("trained", "again", "other"))
    assert same == again != other


def test_without_a_folder_runs_get_their_own_under_outputs(command: Command, tmp_path: Path) -> None:
    code, out, _ = command("train", *TOY, "-m", "seed=0,1", "train.num_steps=2", "name=sweep")
    folders = [Path(line.removeprefix("run folder: ")) for line in out.splitlines()]
    assert code == 0 and len(set(folders)) == 2
    assert all((tmp_path / folder).parent == tmp_path / "outputs" / "sweep" for folder in folders)
    assert [yaml.safe_load((folder / "config.yaml").read_text())["seed"] for folder in folders] == [0, 1]


def test_cfg_prints_what_a_run_would_keep_and_trains_nothing(command: Command, trained: Path, tmp_path: Path) -> None:
    code, out, _ = command("train", *TOY, "run=none", "--cfg", "job")
    assert code == 0 and out == (trained / "config.yaml").read_text()
    assert not (tmp_path / "none").exists()


def test_init_from_takes_the_weights_and_nothing_else(command: Command, trained: Path, tmp_path: Path) -> None:
    code, *_ = command(
        "train", *TOY, f"init_from={trained}", "run=next", "train.num_steps=1", "train.warmup_steps=0", "train.optimizer.lr=1e-12"
    )
    assert code == 0
    first, then = (
        next((folder / "checkpoints").rglob(f"{step}/*.safetensors"))
        for folder, step in ((trained, "step-000020"), (tmp_path / "next", "step-000001"))
    )
    assert torch.allclose(load_file(first)["predictor.weight"], load_file(then)["predictor.weight"], atol=1e-9)


def test_evaluate_report_and_compare(command: Command, trained: Path, tmp_path: Path) -> None:
    code, out, _ = command("evaluate", "run=trained", "evaluation=quick", "evaluation.protocols.attributes.num_train=64")
    rows = read_results(trained / "results.jsonl")
    assert code == 0 and f"{len(rows)} results" in out
    assert {row.target for row in rows} == {"shift", "switch"} and {row.seed for row in rows} == {0}
    code, out, _ = command("report", "run=trained")
    assert code == 0 and (trained / "report.html").exists() and (trained / "report.md").exists()
    command("train", *TOY, "seed=1", "run=other")
    command("evaluate", "run=other", "evaluation=quick")
    code, out, _ = command("compare", "trained", "other", "--metric", "r2_pooled")
    other = {row.probe: row.value for row in read_results(tmp_path / "other" / "results.jsonl") if row.metric == "r2_pooled"}
    mine = {row.probe: row.value for row in rows if row.metric == "r2_pooled"}
    assert code == 0 and all(f"{other[probe] - mine[probe]:+.4f}" in out for probe in mine)


def test_a_contextual_method_is_evaluated_in_contexts(command: Command, trained: Path, tmp_path: Path) -> None:
    assert command("train", *OWN, "domain=toy", "method=tiny", "debug=cpu_tiny", "run=tiny")[0] == 0
    assert command("evaluate", "run=tiny", "evaluation=quick")[0] == 0
    rows = read_results(tmp_path / "tiny" / "results.jsonl")
    assert {(row.environment, row.context_length) for row in rows} >= {("shift", 14), ("switch", 14), ("none", 14), ("-", 0)}


def test_help_names_every_verb_and_group(command: Command) -> None:
    code, out, _ = command("--help")
    assert code == 0 and all(verb in out for verb in ("train", "evaluate", "report", "compare", "data", "doctor"))
    with pytest.raises(SystemExit) as ended:
        command("train", "--help")
    assert ended.value.code == 0


def test_doctor_finds_nothing_wrong_here_and_says_how_to_get_data(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CONTEXTSSL_DATA", raising=False)
    monkeypatch.setenv("CONTEXTSSL_CACHE", str(tmp_path / "nothing"))
    code, out, _ = command("doctor")
    assert code == 0 and "FAIL" not in out
    assert "contextssl data prepare adult" in out


BAD_COMMANDS = {
    "unknown verb": (["trian"], 2, "contextssl: unknown verb 'trian'; there are train, evaluate,"),
    "unknown key": (["train", *TOY, "train.num_step=3"], 2, "unknown key 'train.num_step': did you mean 'train.num_steps'?"),
    "unknown top key": (["train", *TOY, "steps=3"], 2, "unknown key 'steps'"),
    "added key": (["train", *TOY, "+steps=3"], 2, "unknown key 'steps': nothing reads it"),
    "unknown argument": (["train", *TOY, "+method.nois=1"], 2, "method: ToyMethod got an unexpected keyword argument 'nois'"),
    "unknown option": (["train", *TOY, "train=long"], 2, "unknown option 'long' of the config group 'train': there are "),
    "not key=value": (["train", *TOY, "seed"], 2, "cannot read 'seed': settings are given as key=value"),
    "bad grammar": (["train", *TOY, "name=[a"], 2, "cannot read 'name=[a': the value is not in Hydra's grammar"),
    "bad value": (
        ["train", *TOY, "train.num_steps=many"],
        1,
        "train.num_steps: expected a whole number of at least 1, found 'many'",
    ),
    "bad seed": (["train", *TOY, "seed=x"], 2, "seed: expected a whole number, found 'x'"),
    "no such target": (["train", *TOY, "method._target_=toy_domain.NoMethod"], 2, "toy_domain.NoMethod"),
    "run exists": (
        ["train", *TOY, "run=trained"],
        1,
        "run folder trained exists: choose another run=..., or continue it with resume=trained",
    ),
    "resume and init_from": (["train", "resume=trained", "init_from=trained"], 2, "resume and init_from exclude each other"),
    "resume and more": (
        ["train", "resume=trained", "seed=3"],
        2,
        "resume continues a run with its own configuration: leave out seed=3",
    ),
    "resume auto of nothing": (
        ["train", *TOY, "resume=auto"],
        2,
        "resume=auto goes on with the run at run=FOLDER if there is one",
    ),
    "resume auto of another": (
        ["train", *TOY, "seed=5", "run=trained", "resume=auto"],
        2,
        "run folder trained holds a run with another configuration: choose another run=..., or continue it with resume=trained",
    ),
    "resume nothing": (["train", "resume=nothing"], 1, "nothing is not a run folder: it has no config.yaml"),
    "init from nothing": (["train", *TOY, "init_from=nothing"], 1, "no weights at nothing"),
    "init from others": (
        ["train", *OWN, "domain=toy", "method=tiny", "debug=cpu_tiny", "init_from=trained"],
        1,
        "does not fit ContextSSL: missing:",
    ),
    "NaN in the data": (["train", *TOY, "domain.broken_from=40", "run=broken"], 1, "loss term 'prediction' is nan at step 11"),
    "evaluate nothing": (["evaluate", "run=nothing"], 1, "nothing is not a run folder"),
    "evaluate without run": (["evaluate", "evaluation=quick"], 2, "evaluate needs one run=RUN"),
    "evaluate another seed": (["evaluate", "run=trained", "seed=3"], 2, "seed=3 would change what was trained"),
    "evaluate typo": (
        ["evaluate", "run=trained", "domain.dropot=1"],
        2,
        "unknown key 'domain.dropot': did you mean 'domain.dropout'?",
    ),
    "report nothing": (["report", "run=nothing"], 1, "there is no run folder nothing"),
    "compare unmeasured": (["compare", "trained", "trained"], 1, "trained has no results yet: contextssl evaluate run=trained"),
    "unknown data": (["data", "info", "cifar"], 2, "unknown data set 'cifar': there are adult"),
    "data in the wrong place": (["data", "verify", "adult", "root=nothing"], 1, "nothing does not exist"),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_what_a_user_can_get_wrong_is_one_sentence(command: Command, trained: Path, tmp_path: Path, case: str) -> None:
    words, expected_code, said = BAD_COMMANDS[case]
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file() and path.name != "log.txt"}
    code, out, errors = command(*words)
    sentences = [line for line in errors.splitlines() if not line.startswith("step ")]
    assert code == expected_code and not out
    assert len(sentences) == 1 and sentences[0].startswith("contextssl") and said in sentences[0]
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file() and path.name != "log.txt"} == before
    assert {path.name for path in tmp_path.iterdir()} <= {"trained", "broken"}


def test_a_run_stopped_by_nan_keeps_its_traceback_in_the_log(command: Command, tmp_path: Path) -> None:
    command("train", *TOY, "domain.broken_from=0", "run=broken")
    log = (tmp_path / "broken" / "log.txt").read_text()
    assert "ERROR loss term 'prediction' is nan at step 1" in log and "Traceback" in log


def test_damaged_weights_of_a_run_are_refused(command: Command, trained: Path) -> None:
    for weights in trained.rglob("*.safetensors"):
        kept = load_file(weights)
        kept["encoder.layer.bias"] = torch.zeros(3)
        save_file(kept, weights)
    for words in (["evaluate", "run=trained"], ["train", "resume=trained"]):
        code, _, errors = command(*words)
        assert code == 1 and "wrongly shaped: encoder.layer.bias (expected [4], found [3])" in errors


def test_tracebacks_on_request(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTSSL_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="unknown key"):
        command("train", *TOY, "stepz=3")


def test_a_killed_run_resumes_from_the_command_line_bit_for_bit(command: Command, tmp_path: Path) -> None:
    """SIGKILL between two checkpoints, in a process of its own."""
    longer = [*TOY, "train.num_steps=300", "record.checkpoint_every=50", "record.log_every=1", "record.diagnose_every=20"]
    assert command("train", *longer, "run=whole")[0] == 0
    metrics = tmp_path / "killed" / "metrics.jsonl"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    process = subprocess.Popen(
        [sys.executable, "-m", "contextssl.commands.main", "train", *longer, "run=killed"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and 60 < metrics.read_bytes().count(b"\n") < 95:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "killed" / "checkpoints" / "step-000050").exists()
    assert not (tmp_path / "killed" / "checkpoints" / "step-000300").exists()
    assert command("train", "resume=killed")[0] == 0
    for name in ("metrics.jsonl", "metrics.csv", "config.yaml", "checkpoints/step-000300/weights.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_resume_auto_begins_a_run_and_leaves_a_finished_one_alone(command: Command, trained: Path, tmp_path: Path) -> None:
    words, kept = ("train", *TOY, "run=mine", "resume=auto"), ("metrics.jsonl", "metrics.csv", "config.yaml")
    for _ in range(2):
        code, out, _ = command(*words)
        assert (code, out) == (0, "run folder: mine\n")
        assert [(tmp_path / "mine" / name).read_bytes() for name in kept] == [(trained / name).read_bytes() for name in kept]


def test_wandb_works_offline_and_a_resumed_run_keeps_its_id(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]), "WANDB_SILENT": "true"}
    start = [sys.executable, "-m", "contextssl.commands.main", "train"]
    logged = [*TOY, "logger=wandb", "logger.mode=offline", "run=logged", "train.num_steps=4"]
    for words in (logged, ["resume=logged"]):
        subprocess.run([*start, *words], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    kept = (tmp_path / "logged" / "wandb_id").read_text()
    folders = list((tmp_path / "logged" / "wandb").glob("offline-run-*"))
    assert folders and all(folder.name.endswith(kept) for folder in folders)


def test_training_on_a_cpu_keeps_freed_memory(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("contextssl.commands.train.keep_freed_memory", lambda: asked.append("kept"))
    assert command("train", *TOY, "device=cpu", "run=run")[0] == 0 and asked == ["kept"]
