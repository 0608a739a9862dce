"""contextssl data: fetch, verify and describe the data of a domain."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from contextssl.commands.configuration import ConfigurationError, build, config_groups, configs_folder, with_values


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    names = config_groups()["data"]
    parser = argparse.ArgumentParser("contextssl data", description="Fetch, verify or describe the data of a domain.")
    parser.add_argument("action", choices=["prepare", "verify", "info"])
    parser.add_argument("name", help=", ".join(names))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="root=<folder or file>")
    options = parser.parse_args(arguments)
    if options.name not in names:
        raise ConfigurationError(f"unknown data set {options.name!r}: there are {', '.join(names)}")
    config = OmegaConf.load(configs_folder() / "data" / f"{options.name}.yaml")
    assert isinstance(config, DictConfig)
    config = with_values(config, options.overrides)
    said = build(config[options.action])(Path(config.root) if config.root else None)
    print("\n".join(said) if isinstance(said, list) else said)
    return 0
