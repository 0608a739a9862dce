"""From words on the command line to a configuration, and from a configuration to objects."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import contextssl

# Where a run stands is no part of what it is.
LOCATION_KEYS = ("run",)
# Folders of configs/ that no configuration is composed of: for `contextssl data` and `contextssl reproduce`.
DATA_SETS = "prepare"
NOT_GROUPS = (DATA_SETS, "reproduce")


class ConfigurationError(ValueError):
    """A configuration that does not make sense; the message is one sentence for the user."""


def configs_folder() -> Path:
    """The configs: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(contextssl.__file__).parent
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def compose_config(overrides: Sequence[str], own_configs: Path | None = None) -> DictConfig:
    """The configuration of a training run, with every interpolation resolved.

    Args:
        overrides: `key=value` and `group=option`, in Hydra's grammar.
        own_configs: a folder of further config groups that is searched beside the project's.

    Raises:
        ConfigurationError: for an unknown key, group option, or value that does not parse.
    """
    for word in overrides:
        if "=" not in word and not word.startswith("~"):
            raise ConfigurationError(f"cannot read {word!r}: settings are given as key=value")
    try:
        config = _compose(overrides, own_configs)
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        chosen = [word for word in overrides if word.partition("=")[0] in config_groups()]
        raise ConfigurationError(_explain(error, lambda: _compose(chosen, own_configs), own_configs)) from error
    if missing := OmegaConf.missing_keys(config):
        raise ConfigurationError(f"{', '.join(sorted(missing))}: no value is given; set it as key=value")
    if not isinstance(config.seed, int):
        raise ConfigurationError(f"seed: expected a whole number, found {config.seed!r}")
    _refuse_added_keys(config, overrides)
    return config


def expand_sweep(overrides: Sequence[str]) -> Iterator[list[str]]:
    """Every combination of the values of `key=a,b,c` overrides, the last one varying fastest."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigurationError(_explain(error, DictConfig({}).copy)) from error
    choices = []
    for override in parsed:
        if override.is_sweep_override():
            choices.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
        else:
            choices.append([str(override.input_line)])
    for combination in product(*choices):
        yield list(combination)


def saved_config(path: Path, overrides: Sequence[str] = (), own_configs: Path | None = None) -> DictConfig:
    """The configuration of an existing run, its evaluation group and single values replaced as asked."""
    config = OmegaConf.load(path)
    if not isinstance(config, DictConfig):
        raise ConfigurationError(f"{path}: expected named settings; restore it or train again")
    groups = [word for word in overrides if word.startswith("evaluation=")]
    if groups:
        config.evaluation = _group_option("evaluation", groups[-1].removeprefix("evaluation="), own_configs)
    return with_values(config, [word for word in overrides if word not in groups])


def with_values(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration with existing keys set by `key=value`; ConfigurationError for other keys."""
    OmegaConf.set_struct(config, True)
    try:
        merged = OmegaConf.merge(config, OmegaConf.from_dotlist(list(overrides)))
        OmegaConf.resolve(merged)
    except OmegaConfBaseException as error:
        raise ConfigurationError(_explain(error, lambda: config)) from error
    assert isinstance(merged, DictConfig)
    return merged


def as_yaml(config: DictConfig) -> str:
    """The configuration as it is kept in a run folder."""
    kept = [str(key) for key in config if key not in LOCATION_KEYS]
    return OmegaConf.to_yaml(OmegaConf.masked_copy(config, kept), resolve=True)


def build(config: DictConfig) -> Any:
    """What the configuration describes; a `_partial_` is checked against its target's arguments.

    Raises:
        ConfigurationError: when the target does not exist or does not take an argument that is given.
        ValueError, OSError: what the target raises itself.
    """
    try:
        built = instantiate(config, _convert_="all")
    except InstantiationException as error:
        cause = _root_cause(error)
        if isinstance(cause, ValueError | OSError):
            raise cause from error
        if isinstance(cause, TypeError | ImportError | InstantiationException):
            raise ConfigurationError(f"{config._get_full_key(None) or 'config'}: {_line(cause)}") from error
        raise
    _check_arguments(built, str(config._get_full_key(None)))
    return built


def config_groups() -> dict[str, list[str]]:
    """Every config group with its options."""
    return {
        group.name: _options(group)
        for group in sorted(configs_folder().iterdir())
        if group.is_dir() and group.name not in NOT_GROUPS
    }


def data_sets() -> dict[str, Path]:
    """Every data set that `contextssl data` knows, and the file that says how it is prepared."""
    return {path.stem: path for path in sorted((configs_folder() / DATA_SETS).glob("*.yaml"))}


def _options(group: Path) -> list[str]:
    return [path.relative_to(group).with_suffix("").as_posix() for path in sorted(group.rglob("*.yaml"))]


def _check_arguments(built: Any, key: str) -> None:
    if not isinstance(built, partial):
        return
    try:
        inspect.signature(built.func).bind_partial(*built.args, **built.keywords)
    except TypeError as error:
        raise ConfigurationError(f"{key}: {getattr(built.func, '__name__', built.func)} {error}") from error
    for name, value in built.keywords.items():
        _check_arguments(value, f"{key}.{name}")


def _refuse_added_keys(config: DictConfig, overrides: Sequence[str]) -> None:
    """Arguments of objects may be added with `+`, and are checked when they are built; nothing reads other keys."""
    for word in overrides:
        key = word.lstrip("+").partition("=")[0]
        parent = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
        if word.startswith("+") and not (isinstance(parent, DictConfig) and "_target_" in parent) and key not in config_groups():
            raise ConfigurationError(f"unknown key {key!r}: nothing reads it; see contextssl train --cfg job for all keys")


def _compose(overrides: Sequence[str], own_configs: Path | None, name: str = "config") -> DictConfig:
    search = [f"hydra.searchpath=[file://{own_configs.resolve()}]"] if own_configs else []
    with initialize_config_dir(version_base="1.3", config_dir=str(configs_folder().resolve())):
        return compose(name, [*search, *overrides])


def _group_option(group: str, option: str, own_configs: Path | None) -> DictConfig:
    found = {*_options(configs_folder() / group), *(_options(own_configs / group) if own_configs else [])}
    if option not in found:
        raise ConfigurationError(f"unknown option {option!r} of the config group {group!r}: there are {', '.join(sorted(found))}")
    chosen: DictConfig = _compose([], own_configs, f"{group}/{option}")[group]
    return chosen


def _explain(error: Exception, known: Callable[[], DictConfig], own_configs: Path | None = None) -> str:
    """One sentence for what Hydra says in several lines; `known` has the keys that there are."""
    cause = _root_cause(error)
    text = _line(cause)
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}: the value is not in Hydra's grammar ({text.partition(';')[0]}); try quoting it"
    if absent := re.search(r"Could not find '([^'/]+)/([^']+)'", str(error)):
        group, option = absent.groups()
        found = {*_options(configs_folder() / group), *(_options(own_configs / group) if own_configs else [])}
        return f"unknown option {option!r} of the config group {group!r}: there are {', '.join(sorted(found)) or 'none'}"
    if (key := getattr(cause, "full_key", None)) and "not in" in text:
        close = difflib.get_close_matches(str(key), _keys(OmegaConf.to_container(known())), n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        return f"unknown key {str(key)!r}: {guess}contextssl train --cfg job shows all keys, and +{key}=... adds an argument that no config names"
    return text


def _keys(content: Any, prefix: str = "") -> list[str]:
    """All dotted keys of nested settings."""
    if not isinstance(content, dict):
        return []
    return [found for key, value in content.items() for found in (f"{prefix}{key}", *_keys(value, f"{prefix}{key}."))]


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2]) if lines else type(error).__name__
