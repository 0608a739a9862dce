"""Where the time of a training step goes.

    python scripts/profile_step.py experiment=adult_sex device=cpu --repetitions 10 --threads 1

Takes the settings of `contextssl train`; nothing is written. docs/speed.md says how to read the table.
"""

from __future__ import annotations

import argparse
import sys

import torch
from rich.console import Console
from rich.table import Table

from contextssl.commands.configuration import build, compose_config
from contextssl.profiling import StepProfile, profile_step
from contextssl.seeding import generator, seed_globals
from contextssl.training import TrainingState, choose_device


def main() -> int:
    """Profile and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="key=value", help="as for contextssl train")
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--threads", type=int, help="of the CPU; torch's choice if not given")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        profile = profiled(arguments.settings, arguments.repetitions)
    except (ValueError, OSError) as error:
        print(f"profile_step: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    show(profile)
    return 0


def profiled(settings: list[str], num_repetitions: int) -> StepProfile:
    """The profile of a step of the run that these settings describe."""
    config = compose_config(settings)
    seed_globals(config.seed)
    adapter, plan = build(config.domain), build(config.train)
    method = build(config.method)(adapter.build_encoder(), adapter.actions).to(choose_device(config.device))
    state = TrainingState(method, plan.optimizer(method.parameters()), generator(config.seed, "method"))
    return profile_step(state, adapter.train_sequences(plan.num_transitions, config.seed), plan, num_repetitions)


def show(profile: StepProfile) -> None:
    """The table, and what a step costs beyond its encoder."""
    table, total = Table(title="One training step, taken apart"), sum(profile.parts.values())
    for name in ("part", "ms", "share"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for part, seconds in profile.parts.items():
        table.add_row(part, f"{1e3 * seconds:.1f}", f"{seconds / total:.1%}")
    console = Console()
    console.print(table)
    console.print(
        f"whole step {1e3 * profile.step:.1f} ms, its data made and sent ahead; bare encoder, forward and backward, "
        f"{1e3 * profile.bare_encoder:.1f} ms: overhead {profile.overhead:.1%}; peak memory {profile.peak_memory / 2**20:.0f} MiB",
        soft_wrap=True,
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
