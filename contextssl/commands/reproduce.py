"""contextssl reproduce: a table of a paper, from nothing to the page with the paper's numbers beside ours."""

from __future__ import annotations

import argparse
import difflib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from contextssl.commands.configuration import ConfigurationError, as_yaml, compose_config, configs_folder
from contextssl.commands.data import act
from contextssl.files import write_text
from contextssl.reproduction.campaign import Campaign
from contextssl.reproduction.launchers import Launcher, LocalLauncher, slurm_launcher
from contextssl.reproduction.learning_rates import as_yaml as rates_as_yaml
from contextssl.reproduction.learning_rates import from_mapping
from contextssl.reproduction.matrix import Matrix
from contextssl.reproduction.pages import write_pages
from contextssl.reproduction.record import Record
from contextssl.reproduction.tables import PaperTable, on_base

LOG = logging.getLogger("contextssl")
FOLDER = "reproduce"
RATES = "learning_rates"  # folder of rates chosen earlier, beside the tables


@dataclass(frozen=True)
class Request:
    """What the words of a call ask for."""

    table: str
    scale: str = "mini"
    seeds: int = 3
    jobs: int = 1
    launcher: str = "local"
    out: Path | None = None
    sweep: bool = False
    slurm: tuple[tuple[str, Any], ...] = ()
    overrides: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where runs and pages go."""
        return self.out or Path("outputs") / FOLDER / self.scale

    @property
    def file(self) -> str:
        """Name of the pages."""
        return self.table.removeprefix("paper/").replace("/", "_")


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns the exit code: 1 when a run failed. A second call skips what is done and goes on with the rest."""
    parser = argparse.ArgumentParser(
        "contextssl reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="  scale=mini|hard|gpu|paper  how large the runs are    seeds=3     training runs of each row\n"
        "  jobs=1                runs at a time                 out=DIR     outputs/reproduce/<scale> if not given\n"
        "  launcher=local|submitit, with slurm.timeout_min=600, slurm.gpus_per_node=1...: as submitit's AutoExecutor takes them\n"
        "  sweep=true            choose learning rates again, also where the choice is committed\n"
        "  all else, such as train.num_steps=100, is for every run",
    )
    parser.add_argument("words", nargs="*", metavar="TABLE key=value", help="a table that --list names, and settings")
    parser.add_argument("--list", action="store_true", help="the tables that there are")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument(
        "--configs", type=Path, metavar="DIR", help="a folder of your own configs, tables in its folder reproduce"
    )
    options = parser.parse_intermixed_args(arguments)
    if options.list:
        print("\n".join(f"{name}: {title}" for name, title in _titles(options.configs)))
        return 0
    request = _request(options.words)
    campaign = _campaign(request, options.configs, ["contextssl", "reproduce", *arguments])
    if options.dry_run:
        print("\n".join(_plan(campaign)))
        return 0
    launcher = _launcher(request)
    _prepare(campaign.matrix.plan.data)
    return _make(request, campaign, launcher)


def _make(request: Request, campaign: Campaign, launcher: Launcher) -> int:
    def keep(record: Record) -> None:
        write_pages(record, request.folder, request.file)

    campaign.run(launcher, keep)
    if campaign.choices:
        text = rates_as_yaml(campaign.choices, campaign.command)
        write_text(request.folder / f"{request.file}_{RATES}.yaml", text)
    print(f"table: {(request.folder / request.file).resolve()}.html")
    for name, why in campaign.failed.items():
        print(f"{name}: {why}")
    return 1 if campaign.failed else 0


def _request(words: Sequence[str]) -> Request:
    """ConfigurationError for words that do not make sense."""
    tables = [word for word in words if "=" not in word]
    if len(tables) != 1:
        raise ConfigurationError("reproduce needs one table, such as paper/table1; contextssl reproduce --list names them")
    own: dict[str, Callable[[str], Any]] = {"scale": str, "seeds": int, "jobs": int, "launcher": str, "out": Path, "sweep": _flag}
    given: dict[str, Any] = {}
    slurm, overrides = [], []
    for word in words:
        key, is_setting, value = word.partition("=")
        if key in own:
            try:
                given[key] = own[key](value)
            except ValueError as error:
                raise ConfigurationError(
                    f"cannot read {word!r}: {key} is {'a whole number' if own[key] is int else 'true or false'}"
                ) from error
        elif key.startswith("slurm."):
            slurm.append((key.removeprefix("slurm."), yaml.safe_load(value)))
        elif is_setting:
            overrides.append(word)
    request = Request(tables[0], **given, slurm=tuple(slurm), overrides=tuple(overrides))
    if request.seeds < 1 or request.jobs < 1:
        raise ConfigurationError(f"seeds and jobs are at least 1; found seeds={request.seeds} jobs={request.jobs}")
    if wrong := [word for word in overrides if word.partition("=")[0] in ("seed", "run", "name")]:
        raise ConfigurationError(f"{wrong[0]} is set for each run by the table; give seeds=N and out=DIR")
    if request.launcher not in ("local", "submitit"):
        raise ConfigurationError(f"unknown launcher {request.launcher!r}: there are local and submitit")
    return request


def _flag(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError(value)
    return value.lower() == "true"


def _campaign(request: Request, own_configs: Path | None, command: Sequence[str]) -> Campaign:
    table = read_table(request.table, own_configs)
    if request.scale not in table.scales:
        raise ConfigurationError(f"{request.table} has no scale {request.scale!r}: there are {', '.join(table.scales)}")
    matrix = Matrix(
        table,
        request.scale,
        request.seeds,
        request.folder / "runs",
        lambda settings: as_yaml(compose_config(settings, own_configs)),
        request.overrides,
        ("--configs", str(own_configs.resolve())) if own_configs else (),
    )
    file = matrix.plan.learning_rates
    committed = {} if file is None or request.sweep else from_mapping(_committed(_folders(own_configs), file))
    return Campaign(matrix, tuple(command), committed)


def read_table(name: str, own_configs: Path | None = None) -> PaperTable:
    """The table of that name; ConfigurationError with the names that there are."""
    known = dict(_files(own_configs))
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigurationError(f"unknown table {name!r}: {guess}there are {', '.join(known)}")
    try:
        return PaperTable.read(_content_of(name, known), name)
    except (ValueError, KeyError) as error:
        raise ConfigurationError(f"{known[name]}: {error}") from error


def _content_of(name: str, known: Mapping[str, Path]) -> dict[str, Any]:
    """What a table's file says, with what it takes from another table."""
    content = _yaml(known[name])
    base = content.pop("base", None)
    return content if base is None else on_base(content, _content_of(base, known), name)


def _yaml(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _folders(own_configs: Path | None) -> list[Path]:
    return [configs_folder() / FOLDER, *([own_configs / FOLDER] if own_configs else [])]


def _files(own_configs: Path | None) -> Iterator[tuple[str, Path]]:
    for folder in _folders(own_configs):
        for path in sorted(folder.rglob("*.yaml")):
            if RATES not in path.relative_to(folder).parts:
                yield path.relative_to(folder).with_suffix("").as_posix(), path


def _titles(own_configs: Path | None) -> Iterator[tuple[str, str]]:
    for name, _ in _files(own_configs):
        table = read_table(name, own_configs)
        yield name, f"{table.title} (scale {', '.join(table.scales)})"


def _committed(folders: Sequence[Path], file: str) -> dict[str, Any]:
    for folder in folders:
        if (folder / file).is_file():
            return _yaml(folder / file)
    raise ConfigurationError(f"there is no {file} in {folders[0]}: give sweep=true to choose learning rates, or restore it")


def _launcher(request: Request) -> Launcher:
    if request.launcher == "submitit":
        return slurm_launcher(request.folder / "slurm", request.jobs, dict(request.slurm))
    return LocalLauncher(request.jobs)


def _prepare(data: Sequence[str]) -> None:
    """Make or fetch the scale's data unless they are there."""
    if not data:
        return
    name, *overrides = data
    try:
        said = act("info", name, overrides)
    except FileNotFoundError:
        LOG.info("data: preparing %s", name)
        said = act("prepare", name, overrides)
    LOG.info("data: %s", "; ".join(said[:2]))


def _plan(campaign: Campaign) -> Iterator[str]:
    """What is done, and what would be."""
    matrix = campaign.matrix
    yield f"{matrix.table.title}, scale {matrix.scale}: {matrix.plan.about}"
    if matrix.plan.data:
        yield f"data: contextssl data prepare {' '.join(matrix.plan.data)}, unless they are there"
    states = []
    for job in campaign.jobs:
        job.check()
        states.append(job.state)
        yield f"{job.state:<5}  {job.name}: {job.folder}"
    for row in matrix.table.rows:
        if matrix.rates and (row.rate_of or row.key) not in campaign.choices:
            yield f"then   {row.key}: the best of these rates, {matrix.num_seeds} seeds, the first of which is there then"
    yield f"{states.count('done')} of {len(states)} runs are done, {states.count('begun')} begun"
