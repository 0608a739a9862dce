"""Reading a run folder; every file that is missing or broken is named in one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from contextssl.evaluation.results import Result, read_results
from contextssl.reporting.pictures import Picture, read_pictures


@dataclass(frozen=True, slots=True)
class RunFolder:
    """What a run left behind.

    Attributes:
        config: the resolved configuration.
        config_text: the same, as written.
        environment: versions, commit, hardware, command.
        manifest: the adapter's description of its data; `stand_in` is true for generated data.
        metrics: rows of training metrics, each with a `step`; empty when there are none.
        results: evaluation rows.
        evaluated: whether it was evaluated, be it without a row to report.
        pictures: what the evaluation drew.
        warnings: warning lines of the run's log.
    """

    config: Mapping[str, Any]
    config_text: str
    environment: Mapping[str, Any]
    manifest: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]
    results: tuple[Result, ...]
    evaluated: bool
    pictures: tuple[Picture, ...]
    warnings: tuple[str, ...]

    @property
    def stand_in(self) -> bool:
        """Whether generated data stand in for the real ones."""
        return bool(self.manifest.get("stand_in", False))


def read_run(run: Path) -> RunFolder:
    """The run folder's content.

    Raises:
        FileNotFoundError: when the folder, or one of config.yaml, environment.json and manifest.json, is not there.
        ValueError: when a file does not hold what it should, naming the file and the line where there is one.
    """
    if not run.is_dir():
        raise FileNotFoundError(f"there is no run folder {run}: give the folder that `contextssl train` printed")
    config_text = _text(run, "config.yaml")
    return RunFolder(
        config=_yaml(run / "config.yaml", config_text),
        config_text=config_text,
        environment=_json(run, "environment.json"),
        manifest=_json(run, "manifest.json"),
        metrics=_metrics(run / "metrics.jsonl"),
        results=_results(run / "results.jsonl"),
        evaluated=(run / "results.jsonl").is_file(),
        pictures=read_pictures(run / "figures"),
        warnings=_warnings(run / "log.txt"),
    )


def _text(run: Path, name: str) -> str:
    path = run / name
    if not path.is_file():
        raise FileNotFoundError(f"{run} has no {name}: it is not a run folder, or the run stopped before it began; train again")
    return _decoded(path)


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file (byte {error.start} is not UTF-8); restore it or run again") from error


def _yaml(path: Path, text: str) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML ({' '.join(str(error).split())}); restore it or train again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected named settings, found {type(content).__name__}; restore it or train again")
    return content


def _json(run: Path, name: str) -> Mapping[str, Any]:
    try:
        content = json.loads(_text(run, name))
    except json.JSONDecodeError as error:
        raise ValueError(f"{run / name}:{error.lineno}: not JSON ({error.msg}); restore it or train again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{run / name}: expected named entries, found {type(content).__name__}; restore it or train again")
    return content


def _metrics(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.is_file():
        return ()
    rows = []
    for line_number, line in enumerate(_decoded(path).splitlines(), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}:{line_number}: not a row of metrics ({error.msg}); delete that line or train again"
            ) from error
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise ValueError(f"{path}:{line_number}: not a row of metrics (it has no step); delete that line or train again")
        rows.append(row)
    return tuple(rows)


def _results(path: Path) -> tuple[Result, ...]:
    if not path.is_file():
        return ()
    _decoded(path)
    rows = read_results(path)
    for line_number, row in enumerate(rows, start=1):
        if not isinstance(row.value, int | float):
            raise ValueError(
                f"{path}:{line_number}: not a result row (its value is {row.value!r}); delete that line or evaluate again"
            )
    return tuple(rows)


def _warnings(path: Path) -> tuple[str, ...]:
    """The different warnings of a log, in order, without time stamps and level."""
    if not path.is_file():
        return ()
    lines = [
        line.split("WARNING", 1)[1].strip(" :-]|") for line in _decoded(path).splitlines() if re.search(r"\bWARNING\b", line)
    ]
    return tuple(dict.fromkeys(line for line in lines if line))
