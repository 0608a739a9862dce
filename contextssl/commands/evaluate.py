"""contextssl evaluate: from a trained run to rows of results."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from contextssl.checkpoint import load_weights
from contextssl.commands.configuration import ConfigurationError, build, saved_config
from contextssl.commands.console import log_to
from contextssl.evaluation.feature_cache import FeatureCache
from contextssl.evaluation.results import Result, write_results
from contextssl.reporting.pictures import remove_pictures
from contextssl.run import Run
from contextssl.seeding import seed_globals
from contextssl.training import choose_device

LOG = logging.getLogger("contextssl")


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = argparse.ArgumentParser(
        "contextssl evaluate", description="Measure a trained run; writes results.jsonl into its folder."
    )
    parser.add_argument(
        "overrides", nargs="+", metavar="key=value", help="run=RUN, and evaluation=OPTION, evaluation.KEY=, domain.KEY=, device="
    )
    parser.add_argument("--configs", type=Path, metavar="DIR", help="a folder of your own config groups")
    options = parser.parse_intermixed_args(arguments)
    folders = [word.removeprefix("run=") for word in options.overrides if word.startswith("run=")]
    others = [word for word in options.overrides if not word.startswith("run=")]
    if len(folders) != 1:
        raise ConfigurationError("evaluate needs one run=RUN, the folder that `contextssl train` printed")
    if wrong := [word for word in others if not word.startswith(("evaluation=", "evaluation.", "domain.", "device="))]:
        raise ConfigurationError(
            f"{wrong[0]} would change what was trained: evaluate takes evaluation=, evaluation.KEY=, domain.KEY= and device= only"
        )
    run = Run.open(Path(folders[0]))
    with log_to(run.log):
        rows = evaluate(run, others, options.configs)
    print(f"{len(rows)} results: {run.results}")
    return 0


def evaluate(run: Run, overrides: Sequence[str] = (), own_configs: Path | None = None) -> list[Result]:
    """Rebuild the run's domain and method, load its newest weights, draw its pictures, and write what its protocols measure.

    Pictures come first: they take seconds, and what is wrong with one should not cost the minutes of the protocols.
    Features are kept in $CONTEXTSSL_CACHE/features where that is set, unless the bank's config says otherwise.
    """
    config = saved_config(run.config, overrides, own_configs)
    seed_globals(config.seed)
    adapter = build(config.domain)
    method = build(config.method)(adapter.build_encoder(), adapter.actions)
    load_weights(method, run.folder)
    method.to(choose_device(config.device)).eval()
    cache = None if "feature_cache" in config.evaluation.bank else FeatureCache.from_environment()
    bank = build(config.evaluation.bank)(
        method, adapter, training_seed=config.seed, **({} if cache is None else {"feature_cache": cache})
    )
    remove_pictures(run.folder / "figures")
    for name, picture in config.evaluation.get("pictures", {}).items():  # runs of before there were pictures have no such key
        LOG.info("picture %s", name)
        build(picture)(bank, run.folder / "figures")
    rows: list[Result] = []
    for name, protocol in config.evaluation.protocols.items():
        LOG.info("protocol %s", name)
        rows.extend(build(protocol)(bank))
    for name, baseline in config.evaluation.baselines.items():
        LOG.info("baselines %s", name)
        rows.extend(build(baseline)(adapter))
    write_results(rows, run.results)
    return rows
