"""contextssl data: fetch, verify and describe the data of a domain."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from contextssl.commands.configuration import ConfigurationError, build, data_sets, with_values

ACTIONS = ("prepare", "verify", "info")


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = argparse.ArgumentParser("contextssl data", description="Fetch, verify or describe the data of a domain.")
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("name", help=", ".join(data_sets()))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="root=<folder or file>")
    options = parser.parse_args(arguments)
    print("\n".join(act(options.action, options.name, options.overrides)))
    return 0


def act(action: str, name: str, overrides: Sequence[str] = ()) -> list[str]:
    """Prepare, verify or describe a data set; returns what is to be said about it, in lines.

    Raises:
        ConfigurationError: for a data set that is not there, and for keys it does not have.
    """
    known = data_sets()
    if name not in known:
        raise ConfigurationError(f"unknown data set {name!r}: there are {', '.join(known)}")
    config = OmegaConf.load(known[name])
    assert isinstance(config, DictConfig)
    config = with_values(config, overrides)
    said = build(config[action])(Path(config.root) if config.root else None)
    return said if isinstance(said, list) else [str(said)]
