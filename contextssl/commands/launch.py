"""The command line of `contextssl train`: one run, a sweep of runs, a resumed run, or just the configuration."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from contextssl.commands.configuration import (
    ConfigurationError,
    as_yaml,
    compose_config,
    config_groups,
    expand_sweep,
    saved_config,
)
from contextssl.commands.train import train
from contextssl.run import Run, new_folder

LOG = logging.getLogger("contextssl")


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    command = ["contextssl", "train", *arguments]
    if any(word.startswith("resume=") for word in options.overrides):
        _announce(_resume(options.overrides, command))
        return 0
    jobs = list(expand_sweep(options.overrides)) if options.multirun else [options.overrides]
    for overrides in jobs:
        config = compose_config(overrides, options.configs)
        if options.cfg:
            print(as_yaml(config), end="")
            continue
        if len(jobs) > 1:
            LOG.info("sweep: %s", " ".join(overrides))
        folder = Path(config.run) if config.run else new_folder(config.name)
        _announce(train(config, folder, resume=False, command=command))
    return 0


def _resume(words: Sequence[str], command: Sequence[str]) -> Run:
    if any(word.startswith("init_from=") for word in words):
        raise ConfigurationError(
            "resume and init_from exclude each other: resume continues a run with all its state, init_from starts a new run from weights"
        )
    if others := [word for word in words if not word.startswith("resume=")]:
        raise ConfigurationError(
            f"resume continues a run with its own configuration: leave out {' '.join(others)}, or start a new run with init_from"
        )
    folder = Path(words[-1].removeprefix("resume="))
    return train(saved_config(Run.open(folder).config), folder, resume=True, command=command)


def _announce(run: Run) -> None:
    print(f"run folder: {run.folder}")


def _parser() -> argparse.ArgumentParser:
    groups = "\n".join(f"  {group}: {', '.join(options)}" for group, options in config_groups().items() if group != "data")
    parser = argparse.ArgumentParser(
        "contextssl train",
        description="Train a method on a domain, in a run folder.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            f"config groups (group=option):\n{groups}\n\n"
            "single values: key=value, for instance seed=1 train.num_steps=100 run=outputs/mine\n"
            "  resume=RUN      continue a run exactly where it stopped\n"
            "  init_from=PATH  start a new run from weights\n"
        ),
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, in Hydra's grammar")
    parser.add_argument("--cfg", choices=["job"], help="print the resolved configuration and do nothing")
    parser.add_argument("-m", "--multirun", action="store_true", help="one run for each combination of values: seed=0,1,2")
    parser.add_argument(
        "--configs", type=Path, metavar="DIR", help="a folder of your own config groups, searched beside the project's"
    )
    return parser
