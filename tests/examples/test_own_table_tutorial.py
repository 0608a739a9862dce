"""The tutorial of a table: its schema and its commands, as they are written, on the generated census."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from contextssl.commands.main import main
from domains.tabular.census import generate_census

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorials/own_table.md").read_text(encoding="utf-8")
FEWER = ["debug=cpu_tiny", "train.num_steps=2", "train.warmup_steps=0", "method.rehearsal.context_pairs=[0,1]"]
QUICK = ["evaluation.bank.context_lengths=[0,126]", "evaluation.bank.context_draws=1", "evaluation.bank.controls=[]"]


@pytest.mark.slow
def test_the_tutorial_runs_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specification = importlib.util.spec_from_file_location("census_csv_under_test", ROOT / "examples/census_csv.py")
    assert specification is not None and specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(example, "generate_census", lambda num_rows, seed: generate_census(num_rows // 20, seed))
    example.main("my_table", "generated")
    Path("my_table/census.yaml").write_text(re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)[0])
    lines = PAGE.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line)[1:] for line in lines if re.match(r"    contextssl (train|evaluate|report) ", line)]
    for words, fewer in zip(commands, (FEWER, QUICK, [], FEWER), strict=True):
        assert main([*words, *fewer]) == 0
    told = yaml.safe_load(Path("outputs/my_target/config.yaml").read_text())
    assert told["domain"]["told_targets"] == ["income"] and told["method"]["rehearsal"]["leakage_given_told"]
    manifest = json.loads(Path("outputs/my_table/manifest.json").read_text())
    assert manifest["name"] == "census" and sum(manifest["rows"].values()) == 600
    page = Path("outputs/my_table/report.html").read_text()
    assert all(words in page for words in ("ContextSSL on census", "equalized-odds difference (sex)", "income, accuracy"))
