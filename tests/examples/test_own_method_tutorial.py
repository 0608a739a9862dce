"""The tutorial of a method: it shows the file, the config and the lines as they are, and its commands are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from contextssl.commands.configuration import compose_config
from contextssl.commands.main import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorials/own_method.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
TRAINING = re.findall(r"^    contextssl train (.+)$", PAGE, flags=re.M)
FEWER = ["domain=generated_census", "debug=cpu_tiny", "train.num_steps=2", "train.warmup_steps=0"]


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_the_blocks_in_their_order_are_the_whole_file() -> None:
    *parts, check, entry = BLOCKS
    assert lines("".join(parts)) == lines((ROOT / "contextssl/methods/byol.py").read_text())
    assert len(parts) >= 5 and max(len(lines(part)) for part in parts) <= 32, "step by step"
    assert "check_method" in check and "byol" in entry


def test_the_config_and_the_line_are_shown_as_they_are() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)
    assert shown == (ROOT / "configs/method/byol.yaml").read_text()
    (entry,) = lines(BLOCKS[-1])
    assert entry in (ROOT / "tests/conformance/test_methods.py").read_text().splitlines()


def test_the_check_passes_and_a_lost_step_is_named_as_the_page_says() -> None:
    names: dict[str, object] = {}
    torch.manual_seed(0)
    exec(BLOCKS[-2], names)
    faulty = type("BYOL", (names["BYOL"],), {"after_step": lambda self: None})  # type: ignore[misc]
    said = re.search(r"BYOL: (training moves neither .+?)\['(.+?)'", PAGE)
    assert said is not None
    with pytest.raises(AssertionError, match=said[1]) as caught:
        names["check_method"](names["partial"](faulty, num_steps=40, projector_dims=(32, 32, 16)))  # type: ignore[operator]
    assert said[2] in str(caught.value)


def test_the_commands_compose() -> None:
    assert len(TRAINING) == 3
    for command in TRAINING:
        config = compose_config(command.split())
        assert config.method._target_ == "contextssl.methods.byol.BYOL"
        assert config.method.num_steps == config.train.num_steps > 500


def test_it_trains_by_config_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = next(command.split() for command in TRAINING if "train=table" in command.split())
    kept = [word for word in table if not word.startswith("domain=")]
    assert main(["train", *kept, *FEWER]) == 0
    assert list((tmp_path / "outputs/byol_adult/checkpoints").iterdir())
