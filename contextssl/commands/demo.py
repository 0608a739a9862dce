"""contextssl demo: the main experiment from training to report; on generated data where the real ones cannot be had."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from contextssl.commands.configuration import as_yaml, build, compose_config, configs_folder
from contextssl.commands.console import log_to
from contextssl.commands.evaluate import evaluate
from contextssl.commands.train import train
from contextssl.reporting.report import write_report
from contextssl.run import Run, code_digest

LOG = logging.getLogger("contextssl")


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns the exit code. A second call goes on where the first one stopped, or just shows the report."""
    parser = argparse.ArgumentParser("contextssl demo", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the experiment")
    overrides = ["experiment=adult_sex", "evaluation=adult_baselines", *parser.parse_args(arguments).overrides]
    if not any(word.startswith("domain.source=") for word in overrides):
        overrides += _stand_in()
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


def _stand_in() -> list[str]:
    """Nothing where the real data are here or can be fetched; the override for generated data otherwise."""
    sources = OmegaConf.load(configs_folder() / "data" / "adult.yaml")
    try:
        LOG.info("data: %s", build(sources.prepare)(None))
    except FileNotFoundError as error:
        LOG.warning("%s", error)
        LOG.warning("the demo goes on with generated data; its report says so on every figure")
        return ["domain.source=generated"]
    return []


def _folder(config: DictConfig) -> Path:
    """One folder for each configuration and state of the code."""
    what = as_yaml(config) + code_digest()
    return Path("outputs") / "demo" / hashlib.sha256(what.encode()).hexdigest()[:8]
