"""contextssl demo: an experiment from data to report, within minutes on two cores; by default on rendered objects."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from contextssl.commands.configuration import as_yaml, compose_config
from contextssl.commands.console import log_to
from contextssl.commands.data import act
from contextssl.commands.evaluate import evaluate
from contextssl.commands.train import train
from contextssl.reporting.report import write_report
from contextssl.run import Run, code_digest

LOG = logging.getLogger("contextssl")
EXPERIMENT = "experiment=iebench/rotcolor_procedural"
OF_ONE_RUN = "evaluation.bank.context_draws=3"  # one training seed: its intervals are over draws, and two are too few


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns the exit code. A second call goes on where the first one stopped, or just shows the report."""
    parser = argparse.ArgumentParser(
        "contextssl demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "the same on a table, UCI Adult with sex as the change:\n"
            "  contextssl demo experiment=adult_sex evaluation=adult_baselines\n"
        ),
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help=f"settings of the experiment; {EXPERIMENT} if none is named"
    )
    overrides = list(parser.parse_args(arguments).overrides)
    if not any(word.startswith("experiment=") for word in overrides):
        overrides = [EXPERIMENT, OF_ONE_RUN, *overrides]
    overrides += _data(compose_config(overrides), overrides)
    config = compose_config(overrides)
    run = Run(_folder(config))
    report = run.folder / "report.html"
    if not report.is_file():
        train(config, run.folder, resume=run.config.is_file(), command=["contextssl", "train", *overrides])
        if not run.results.is_file():
            with log_to(run.log):
                evaluate(run)
        write_report(run.folder)
    print(f"report: {report.resolve()}")
    return 0


def _data(config: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Makes or fetches the data that the experiment uses; returns what to override where they cannot be had."""
    root = config.domain.get("root")
    ready_made = isinstance(root, DictConfig) and root.get("root") is None  # a set that lies where its domain looks for it
    real = config.domain.get("source") == "real" and root is None and not {"domain.source=real", "data=real"} & set(overrides)
    if not (ready_made or real):
        return []
    # A domain that can be real or generated is called like its data set.
    name = root.name if ready_made else config.domain["_target_"].rpartition(".")[2].lower()
    try:
        try:
            _say(act("info", name))
        except FileNotFoundError:
            _say(act("prepare", name))
    except FileNotFoundError as error:
        if ready_made:
            raise
        LOG.warning("%s", error)
        LOG.warning("the demo goes on with generated data; its report says so on every figure")
        return ["domain.source=generated"]
    return []


def _say(lines: Sequence[str]) -> None:
    LOG.info("data: %s", "; ".join(lines[:2]))


def _folder(config: DictConfig) -> Path:
    """One folder for each configuration and state of the code."""
    what = as_yaml(config) + code_digest()
    return Path("outputs") / "demo" / hashlib.sha256(what.encode()).hexdigest()[:8]
