"""What users get wrong: each case is one clear sentence and leaves nothing behind. Commands have their own list."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from contextssl.actions import ActionSpace, Group, Kind
from contextssl.batch import Transitions
from contextssl.checkpoint import load_weights, read_state_dict
from contextssl.evaluation.embeddings import EmbeddingBank
from contextssl.files import write_text
from contextssl.methods.environments import EnvironmentSampler
from contextssl.methods.simclr import SimCLR
from contextssl.testing import ToyAdapter
from domains.tabular.preprocessing import Categorical, Numeric, TablePreprocessor, TableSchema
from domains.tabular.sources import parse, read_adult

ROW = "39, State-gov, 77516, Bachelors, 13, Divorced, Sales, Unmarried, White, Male, 0, 0, 40, Cuba, <=50K\n"
SPACE = ActionSpace([Group("turn", 1, 1, Kind.REAL, "")])
ADAPTER = ToyAdapter()


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def method() -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(ADAPTER.build_encoder(), ADAPTER.actions, projector_dims=(4, 2))


def weights_with(change: str) -> None:
    weights = dict(method().state_dict())
    if change == "missing":
        weights.pop("projector.0.weight")
    elif change == "extra":
        weights["head.bias"] = torch.zeros(2)
    else:
        weights["projector.0.weight"] = torch.zeros(9)
    save_file(weights, "weights.safetensors")
    load_weights(method(), Path("weights.safetensors"))


def table(rows: pd.DataFrame) -> None:
    schema = TableSchema((Numeric("age", num_bins=2), Categorical("job")))
    TablePreprocessor(schema).fit(pd.DataFrame({"age": [1, 2, 3], "job": ["a", "b", "a"]})).transform(rows)


def executing_pickle() -> None:
    torch.save({"weight": Bomb()}, "bomb.pt")
    read_state_dict(Path("bomb.pt"))


def transitions(action_dim: int = 1, latent_dim: int = 1, length: int = 3) -> Transitions:
    return Transitions(
        torch.zeros(1, 3, 2), torch.zeros(1, length, action_dim), torch.zeros(1, 3, 2), torch.zeros(1, 3, 2, latent_dim)
    )


CASES = {
    "missing data file": (lambda: read_adult(Path("nowhere")), FileNotFoundError, "nowhere"),
    "truncated data file": (
        lambda: parse(ROW[:50].encode(), "adult.data"),
        ValueError,
        r"adult\.data, line 1: \d columns where Adult has 15",
    ),
    "wrong column count": (lambda: parse((ROW[:-1] + ", 1\n").encode(), "adult.data"), ValueError, "line 1: 16 columns"),
    "missing rows": (lambda: parse(ROW.encode(), "adult.data"), ValueError, "1 rows where the original has 32,561"),
    "unknown category": (lambda: table(pd.DataFrame({"age": [1], "job": ["c"]})), ValueError, "job.*'c'"),
    "missing column": (lambda: table(pd.DataFrame({"age": [1]})), ValueError, "job"),
    "not a number in a table": (
        lambda: table(pd.DataFrame({"age": [1, float("nan")], "job": ["a", "b"]})),
        ValueError,
        "age.*row",
    ),
    "action of another width": (
        lambda: SPACE.check(torch.zeros(2, 3), torch.zeros(2, 1)),
        ValueError,
        r"action: .*width 1, found 3",
    ),
    "latent of another width": (
        lambda: SPACE.check(torch.zeros(2, 1), torch.zeros(2, 2)),
        ValueError,
        r"latent: .*width 1, found 2",
    ),
    "transitions that disagree": (
        lambda: transitions(length=4),
        ValueError,
        r"state: expected .*B, T = \[1, 4\], found \[1, 3, 2\]",
    ),
    "unknown group": (lambda: SPACE.environment("colour"), ValueError, "unknown group 'colour'.*'turn'"),
    "unknown group in training": (
        lambda: EnvironmentSampler({"colour": 1.0}).draw(transitions(), SPACE, torch.Generator()),
        ValueError,
        "unknown group 'colour'",
    ),
    "odd context length": (lambda: EmbeddingBank(method(), ADAPTER, context_lengths=(0, 3)), ValueError, "even.*3|3.*even"),
    "missing weights": (lambda: weights_with("missing"), ValueError, r"missing: projector\.0\.weight"),
    "extra weights": (lambda: weights_with("extra"), ValueError, r"head\.bias"),
    "misshapen weights": (
        lambda: weights_with("misshapen"),
        ValueError,
        r"projector\.0\.weight \(expected \[4, 32\], found \[9\]\)",
    ),
    "pickle that runs code": (executing_pickle, ValueError, "bomb.pt"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_sentence(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTEXTSSL_CACHE", str(tmp_path / "cache"))
    action, kind, message = CASES[case]
    with pytest.raises(kind) as caught:
        action()
    sentence = str(caught.value)
    assert re.search(message, sentence) and "\n" not in sentence.strip()
    assert not (tmp_path / "exploded").exists()


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "report.md", "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"cannot write .*report\.md: No space left on device; the previous file, if any, is untouched"
    ):
        write_text(tmp_path / "report.md", "new")
    assert (tmp_path / "report.md").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
