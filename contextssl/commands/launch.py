"""The command line of `contextssl train`: one run, a sweep of runs, a resumed run, or just the configuration."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from contextssl.commands.configuration import (
    ConfigurationError,
    as_yaml,
    compose_config,
    config_groups,
    expand_sweep,
    saved_config,
)
from contextssl.commands.train import train
from contextssl.processes import from_first, launched, process_group
from contextssl.run import Run, new_folder

LOG = logging.getLogger("contextssl")
AUTOMATIC = "resume=auto"


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    command = ["contextssl", "train", *arguments]
    go_on = AUTOMATIC in options.overrides
    words = [word for word in options.overrides if word != AUTOMATIC]
    if any(word.startswith("resume=") for word in words):
        _resume(words, command)
        return 0
    jobs = list(expand_sweep(words)) if options.multirun else [words]
    if len(jobs) > 1 and launched()[1] > 1:
        raise ConfigurationError("a sweep trains in one process: start several processes for one run at a time")
    for overrides in jobs:
        config = compose_config(overrides, options.configs)
        if options.cfg:
            print(as_yaml(config), end="")
            continue
        if go_on and not config.run:
            raise ConfigurationError(f"{AUTOMATIC} goes on with the run at run=FOLDER if there is one: say which")
        if len(jobs) > 1:
            LOG.info("sweep: %s", " ".join(overrides))
        _train(config, Path(config.run) if config.run else None, None if go_on else False, command)
    return 0


def _resume(words: Sequence[str], command: Sequence[str]) -> None:
    if any(word.startswith("init_from=") for word in words):
        raise ConfigurationError(
            "resume and init_from exclude each other: resume continues a run with all its state, init_from starts a new run from weights"
        )
    if others := [word for word in words if not word.startswith("resume=")]:
        raise ConfigurationError(
            f"resume continues a run with its own configuration: leave out {' '.join(others)}, or start a new run with init_from"
        )
    folder = Path(words[-1].removeprefix("resume="))
    _train(saved_config(Run.open(folder).config), folder, True, command)


def _train(config: DictConfig, folder: Path | None, resume: bool | None, command: Sequence[str]) -> None:
    """Train in all processes that were launched; without a folder in a new one, `resume` None if the run has begun."""
    with process_group(config.device):
        place = from_first(lambda: folder or new_folder(config.name))
        again = from_first(lambda: _has_begun(place, config) if resume is None else resume)
        run = train(config, place, resume=again, command=command)
    if launched()[0] == 0:
        print(f"run folder: {run.folder}")


def _has_begun(folder: Path, config: DictConfig) -> bool:
    run = Run(folder)
    if run.config.is_file() and run.config.read_text(encoding="utf-8") != as_yaml(config):
        raise ConfigurationError(
            f"run folder {folder} holds a run with another configuration: choose another run=..., or continue it with resume={folder}"
        )
    return run.config.is_file()


def _parser() -> argparse.ArgumentParser:
    groups = "\n".join(f"  {group}: {', '.join(options)}" for group, options in config_groups().items())
    parser = argparse.ArgumentParser(
        "contextssl train",
        description="Train a method on a domain, in a run folder.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            f"config groups (group=option):\n{groups}\n\n"
            "single values: key=value, for instance seed=1 train.num_steps=100 run=outputs/mine\n"
            "  resume=RUN      continue a run exactly where it stopped\n"
            "  resume=auto     with run=FOLDER: continue the run there if it has begun, else begin it\n"
            "  init_from=PATH  start a new run from weights\n\n"
            "several processes: torchrun --nproc-per-node N -m contextssl train ... (docs/distributed.md)\n"
        ),
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings, in Hydra's grammar")
    parser.add_argument("--cfg", choices=["job"], help="print the resolved configuration and do nothing")
    parser.add_argument("-m", "--multirun", action="store_true", help="one run for each combination of values: seed=0,1,2")
    parser.add_argument(
        "--configs", type=Path, metavar="DIR", help="a folder of your own config groups, searched beside the project's"
    )
    return parser
