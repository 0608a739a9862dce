"""Run folders: never mixed, never half made, and with what one needs to know."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from contextssl import run as run_module
from contextssl.run import Run, describe_environment, new_folder


def test_a_new_run_says_what_was_asked_on_what_and_with_what(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a" / "b", "seed: 0\n", {"name": "toy"}, ["contextssl", "train"])
    assert run.config.read_text() == "seed: 0\n"
    assert json.loads(run.manifest.read_text()) == {"name": "toy"}
    environment = json.loads(run.environment.read_text())
    assert environment["command"] == ["contextssl", "train"]
    assert set(environment["packages"]) >= {"torch", "numpy"} and environment["packages"]["torch"]


def test_a_folder_that_holds_something_is_refused_and_an_empty_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    Run.create(tmp_path / "empty", "", {}, [])
    before = sorted((tmp_path / "empty").iterdir())
    with pytest.raises(FileExistsError) as error:
        Run.create(tmp_path / "empty", "other", {}, [])
    assert (
        str(error.value)
        == f"run folder {tmp_path / 'empty'} exists: choose another run=..., or continue it with resume={tmp_path / 'empty'}"
    )
    assert sorted((tmp_path / "empty").iterdir()) == before


def test_a_full_disk_leaves_no_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def write(path: Path, text: str) -> None:
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        path.write_text(text)

    monkeypatch.setattr(run_module, "write_text", write)
    with pytest.raises(OSError, match="No space left on device"):
        Run.create(tmp_path / "new", "", {}, [])
    assert written and not (tmp_path / "new").exists()


def test_what_is_not_a_run_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a run folder: it has no config.yaml"):
        Run.open(tmp_path)


def test_digests_follow_the_content_of_data_and_not_their_place(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", "seed: 0\n", {}, [])
    here, there, other = ({"source": source, "digests": digest} for source, digest in (("/a", "1"), ("/b", "1"), ("/a", "2")))
    assert run.digests(here) == run.digests(there)
    assert run.digests(here)["data"] != run.digests(other)["data"]
    assert run.digests(here)["config"] != Run.create(tmp_path / "b", "seed: 1\n", {}, []).digests(here)["config"]


def test_folders_of_runs_started_in_the_same_second_differ() -> None:
    assert len({new_folder("x") for _ in range(20)}) > 15


def test_the_environment_names_the_commit_only_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "SOURCES", tmp_path / "contextssl")
    (tmp_path / "contextssl").mkdir()
    assert describe_environment([])["commit"] is None
