"""Metrics, diagnosis, checkpoints and stopping: a run that was stopped anywhere ends as one that was not."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from toy_domain import ToyDomain, ToyMethod

from contextssl import metrics_log
from contextssl.batch import Transitions
from contextssl.checkpoint import complete_checkpoints
from contextssl.method import Method
from contextssl.metrics_log import MetricsLog
from contextssl.recording import Interrupted, Recorder, Recording
from contextssl.run import Run
from contextssl.training import OnStep, Plan, TrainingState, fit

PLAN = Plan(optimizer=partial(torch.optim.AdamW, lr=0.05), num_steps=20, batch_size=2, num_transitions=3)
RECORDING = Recording(log_every=3, checkpoint_every=5, diagnose_every=4)
DIGESTS = {"config": "c", "data": "d", "code": "k"}


class Rows:
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.finished = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.steps.append(step)

    def finish(self) -> None:
        self.finished += 1


def diagnose(method: Method, batch: Transitions) -> tuple[dict[str, float], list[str]]:
    assert not method.training and not torch.is_grad_enabled()
    return {"norm": float(method.represent(batch.pairs()[0]).norm())}, ["norms are strange"]


def recorder(folder: Path, domain: ToyDomain | None = None, recording: Recording = RECORDING) -> Recorder:
    domain = domain or ToyDomain(dropout=0.5)
    torch.manual_seed(0)
    method = ToyMethod(domain.build_encoder(), domain.actions)
    state = TrainingState(method, PLAN.optimizer(method.parameters()), torch.Generator().manual_seed(0))
    folder.mkdir(exist_ok=True)
    return Recorder(Run(folder), state, PLAN.num_steps, recording, DIGESTS, Rows(), diagnose, domain.held_out(3, 2, 0))


def go(recorder: Recorder, domain: ToyDomain | None = None, also: OnStep = lambda *_: None) -> None:
    with recorder.listening() as on_step:

        def each(step: int, terms: dict[str, torch.Tensor]) -> None:
            also(step, terms)
            on_step(step, terms)

        fit(recorder.state, (domain or ToyDomain()).train_sequences(3, 0), PLAN, each)


def files(folder: Path) -> dict[str, bytes]:
    wanted = ["metrics.jsonl", "metrics.csv", "checkpoints/step-000020/weights.safetensors"]
    return {name: (folder / name).read_bytes() for name in wanted}


def test_rows_hold_the_terms_their_sum_the_rate_and_the_diagnosis(tmp_path: Path) -> None:
    seen: dict[int, dict[str, float]] = {}
    made = recorder(tmp_path)
    go(made, also=lambda step, terms: seen.update({step: {name: float(term) for name, term in terms.items()}}))
    rows = {row["step"]: row for row in MetricsLog(tmp_path).rows()}
    assert list(rows) == sorted({*range(3, 21, 3), *range(4, 21, 4), 20})
    for step, row in rows.items():
        assert {name: row[f"train/loss/{name}"] for name in seen[step]} == seen[step]
        assert row["train/loss"] == pytest.approx(sum(seen[step].values()))
        assert ("diagnostics/norm" in row) == (step % 4 == 0)
    assert made.logger.steps == list(rows) and made.logger.finished == 1
    table = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [float(line["train/loss"]) for line in table] == [row["train/loss"] for row in rows.values()]
    assert [path.name for path in complete_checkpoints(tmp_path / "checkpoints")] == ["step-000015", "step-000020"]


@pytest.mark.parametrize("stop_after", [1, 4, 5, 7, 13, 19])
def test_a_run_that_dies_anywhere_and_resumes_equals_one_that_did_not(tmp_path: Path, stop_after: int) -> None:
    class Killed(BaseException):
        """Stands for SIGKILL: nothing of the project catches it."""

    def kill(step: int, _: object) -> None:
        if step == stop_after + 1:
            raise Killed

    go(recorder(tmp_path / "whole"))
    with pytest.raises(Killed):
        go(recorder(tmp_path / "stopped"), also=kill)
    with (tmp_path / "stopped" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1')  # a line cut short by the kill
    torch.manual_seed(99)
    again = recorder(tmp_path / "stopped")
    again.resume()
    assert again.state.step == stop_after // 5 * 5
    go(again)
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_a_checkpoint_and_the_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, number: signal.Signals
) -> None:
    go(recorder(tmp_path / "whole"))
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as stopped:
        go(recorder(tmp_path / "stopped"), also=lambda step, _: os.kill(os.getpid(), number) if step == 7 else None)
    assert signal.getsignal(number) is before
    assert stopped.value.signal_number == number
    assert (
        str(stopped.value)
        == f"stopped by {number.name} after step 7; continue with: contextssl train resume={tmp_path / 'stopped'}"
    )
    assert complete_checkpoints(tmp_path / "stopped" / "checkpoints")[-1].name == "step-000007"
    again = recorder(tmp_path / "stopped")
    again.resume()
    go(again)
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_a_term_that_is_not_finite_stops_the_run_and_is_named_with_its_step(tmp_path: Path) -> None:
    broken = ToyDomain(broken_from=15)  # sequences 14 and 15 make step 8, which no row logs
    with pytest.raises(FloatingPointError) as error:
        go(recorder(tmp_path, broken, Recording(log_every=10, checkpoint_every=5)), broken)
    last = tmp_path / "checkpoints" / "step-000005"
    expected = f"loss term 'prediction' is nan at step 8: check the data for it or lower the learning rate; the last checkpoint is {last}"
    assert str(error.value) == expected
    assert [row["step"] for row in MetricsLog(tmp_path).rows()] == []


def test_weights_that_broke_do_not_replace_a_good_checkpoint(tmp_path: Path) -> None:
    made = recorder(tmp_path)

    def spoil(step: int, _: object) -> None:
        if step == 10:
            made.state.method.predictor.bias.data[1] = float("inf")

    with pytest.raises(FloatingPointError, match="weights 'predictor.bias' are not finite after step 10"):
        go(made, also=spoil)
    assert complete_checkpoints(tmp_path / "checkpoints")[-1].name == "step-000005"


@pytest.mark.parametrize(("what", "said"), [("config", "config.yaml is not what"), ("data", "the data are not what")])
def test_a_run_does_not_resume_with_another_configuration_or_other_data(tmp_path: Path, what: str, said: str) -> None:
    go(recorder(tmp_path))
    other = recorder(tmp_path)
    other.digests = DIGESTS | {what: "other"}
    with pytest.raises(ValueError, match=said):
        other.resume()


def test_a_full_disk_leaves_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MetricsLog(tmp_path)
    log.append(1, {"a": 0.5})

    class Full:
        def __init__(self, file: object) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, line: bytes) -> None:
            self.file.write(line[:5])
            self.file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    opened = Path.open
    monkeypatch.setattr(metrics_log.Path, "open", lambda path, *mode, **more: Full(opened(path, *mode, **more)))
    with pytest.raises(OSError) as error:
        log.append(2, {"a": 0.25})
    monkeypatch.undo()
    assert str(error.value) == f"cannot write {tmp_path / 'metrics.jsonl'}: No space left on device; the rows before are intact"
    assert (tmp_path / "metrics.jsonl").read_text() == json.dumps({"step": 1, "a": 0.5}) + "\n"


@pytest.mark.parametrize("wrong", [{"log_every": 0}, {"log_every": None}, {"keep_last": 0}, {"diagnose_every": 1.5}])
def test_a_recording_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"record.{next(iter(wrong))}: expected a whole number of at least 1, found"):
        Recording(**wrong)  # type: ignore[arg-type]
