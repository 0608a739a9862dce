"""contextssl report: from an evaluated run to report.md and report.html."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from contextssl.reporting.report import write_report


def main(arguments: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = argparse.ArgumentParser(
        "contextssl report", description="Write report.md, report.html and figures/ into a run folder."
    )
    parser.add_argument("run", metavar="run=RUN", help="the folder that `contextssl train` printed")
    options = parser.parse_args(arguments)
    print(f"report: {write_report(Path(options.run.removeprefix('run=')))}")
    return 0
