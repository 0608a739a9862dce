"""Jobs: nothing is done twice, nothing goes on twice at a time, and a killed process leaves what the next one finishes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contextssl.evaluation.results import Result, write_results
from contextssl.reproduction import jobs, locks
from contextssl.reproduction.jobs import Job
from contextssl.reproduction.locks import Stopped, exclusive

CHECKOUT = Path(__file__).resolve().parents[3]
RESULT = Result("p/1", "shift", "linear", "r2_pooled", "-", "-", 0, 0, 0, "test", 0.5)

# Stands for the commands: train makes a run folder, evaluate its results, and what is asked for in its settings happens first.
STUB = """
import sys, time
from pathlib import Path
verb, *words = sys.argv[1:]
settings = dict(word.split("=", 1) for word in words)
folder = Path(settings.get("run") or settings["resume"])
with open(folder.parent / "calls", "a") as calls:
    calls.write(" ".join([verb, *sorted(settings)]) + "\\n")
print("said by", verb)
if verb == "train" and "run" in settings:
    folder.mkdir()
    (folder / "config.yaml").write_text("a: 1\\n")
if (folder.parent / ("fail-" + verb)).exists():
    sys.exit("no luck")
if (folder.parent / ("sleep-" + verb)).exists():
    (folder.parent / "asleep").touch()
    time.sleep(60 if settings.get("long") else 3)
if verb == "evaluate":
    (folder / "results.jsonl").write_text("")
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands are the stub."""
    path = tmp_path / "stub.py"
    path.write_text(STUB)
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, str(path)))
    return path


def job(tmp_path: Path, *settings: str) -> Job:
    return Job("one", tmp_path / "runs" / "seed-0", settings, "a: 1\n")


def calls(one: Job) -> list[str]:
    return (one.folder.parent / "calls").read_text().splitlines()


def carry_out(one: Job, stop: threading.Event | None = None) -> None:
    one.carry_out({}, stop or threading.Event())


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.02)


def test_a_job_is_trained_and_evaluated_once(stub: Path, tmp_path: Path) -> None:
    one = job(tmp_path, "seed=0")
    assert one.state == "to do"
    carry_out(one)
    assert calls(one) == ["train run seed", "evaluate run"] and one.state == "done"
    assert set(one.seconds) == {"train", "evaluate"} and one.log.read_text().splitlines() == ["said by train", "said by evaluate"]
    carry_out(one)
    assert len(calls(one)) == 2


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_failure_names_command_and_log_and_the_next_call_goes_on(stub: Path, tmp_path: Path, verb: str) -> None:
    one = job(tmp_path)
    one.folder.parent.mkdir()
    (one.folder.parent / f"fail-{verb}").touch()
    with pytest.raises(RuntimeError, match=rf"contextssl {verb} .*failed \(no luck\); .*seed-0.log says more"):
        carry_out(one)
    assert one.state == "begun"
    before = one.seconds[verb]
    (one.folder.parent / f"fail-{verb}").unlink()
    carry_out(one)
    assert calls(one)[-2:] == ["train resume", "evaluate run"] and one.state == "done" and one.seconds[verb] > before


def test_another_configuration_is_refused(stub: Path, tmp_path: Path) -> None:
    carry_out(job(tmp_path))
    other = Job("one", tmp_path / "runs" / "seed-0", (), "a: 2\n")
    for act in (other.check, lambda: carry_out(other)):
        with pytest.raises(ValueError, match="seed-0 was made by another configuration: remove it"):
            act()


def test_what_was_killed_before_its_config_is_begun_anew_and_what_is_not_ours_is_kept(stub: Path, tmp_path: Path) -> None:
    one = job(tmp_path)
    one.folder.mkdir(parents=True)
    for name in ("manifest.json", "environment.json", ".config.yaml.x1"):
        (one.folder / name).write_text("{}")
    carry_out(one)
    assert one.state == "done" and not (one.folder / ".config.yaml.x1").exists()
    other = Job("two", tmp_path / "runs" / "mine", (), "")
    other.folder.mkdir()
    (other.folder / "notes.txt").write_text("keep")
    with pytest.raises(RuntimeError):
        carry_out(other)
    assert (other.folder / "notes.txt").read_text() == "keep"


def test_results_are_those_of_a_finished_run(tmp_path: Path) -> None:
    one = job(tmp_path)
    assert one.results == []
    one.folder.mkdir(parents=True)
    write_results([RESULT], one.folder / "results.jsonl")
    assert one.results == [RESULT]


def test_a_job_that_is_stopped_ends_its_process(stub: Path, tmp_path: Path) -> None:
    one, stop = job(tmp_path, "long=1"), threading.Event()
    one.folder.parent.mkdir()
    (one.folder.parent / "sleep-train").touch()
    threading.Thread(target=lambda: (until((one.folder.parent / "asleep").exists), stop.set())).start()
    start = time.monotonic()
    with pytest.raises(Stopped):
        carry_out(one, stop)
    assert time.monotonic() - start < 30
    assert one.state == "begun" and "train" in one.seconds


def test_the_orphan_of_a_killed_process_keeps_its_successor_waiting(stub: Path, tmp_path: Path) -> None:
    """The stub does not care that its starter is gone, as a process may that is busy; the folder is its own until it ends."""
    one = job(tmp_path)
    one.folder.parent.mkdir()
    (one.folder.parent / "sleep-train").touch()
    program = f"""
        import threading
        from pathlib import Path
        from contextssl.reproduction import jobs
        jobs.COMMAND = {(sys.executable, str(stub))!r}
        jobs.Job("one", Path({str(one.folder)!r}), (), "a: 1\\n").carry_out({{}}, threading.Event())
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], env={"PYTHONPATH": str(CHECKOUT)})
    until((one.folder.parent / "asleep").exists)
    (one.folder.parent / "sleep-train").unlink()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    lock, soon = one.folder.with_name("seed-0.lock"), threading.Event()
    threading.Timer(0.5, soon.set).start()
    with pytest.raises(Stopped), exclusive(lock, soon):
        pytest.fail("the orphan is still at work")
    carry_out(one)
    assert calls(one) == ["train run", "train resume", "evaluate run"] and one.state == "done"


def test_a_lock_is_free_again_after_its_block_and_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL", 0.01)
    path, never = tmp_path / "a.lock", threading.Event()
    never.set()
    with exclusive(path), pytest.raises(Stopped), exclusive(path, never):
        pass
    with pytest.raises(KeyError), exclusive(path):
        raise KeyError
    with exclusive(path, never):
        pass


def test_an_attended_command_ends_with_its_starter() -> None:
    """A command of a minute, started as `python -m contextssl.commands.attended` starts it, has no longer than its input."""
    program = """
        import runpy, time
        import contextssl.commands.main
        contextssl.commands.main.main = lambda: time.sleep(60)
        runpy.run_module("contextssl.commands.attended", run_name="__main__")
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={"PYTHONPATH": str(CHECKOUT)}) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == -signal.SIGTERM


def test_the_clock_is_a_file_beside_the_run(stub: Path, tmp_path: Path) -> None:
    one = job(tmp_path)
    carry_out(one)
    stored = json.loads((one.folder.parent / "seed-0.seconds.json").read_text())
    assert stored == one.seconds and all(isinstance(value, float) for value in stored.values())
