"""What the data command does with a folder of MIMIC-III: finding, preparing, verifying and describing it."""

from __future__ import annotations

import os
from pathlib import Path

from domains.tabular.mimic.cohort import CohortOptions, build_cohort
from domains.tabular.mimic.generated import generate
from domains.tabular.mimic.tables import COLUMNS, locate, read_table

EVENTS = ("CHARTEVENTS", "LABEVENTS")
ADVICE = (
    "MIMIC-III cannot be fetched for you: with a PhysioNet account and a signed agreement take v1.4 from "
    "https://physionet.org/content/mimiciii/1.4/, without one the open demo from https://physionet.org/content/mimiciii-demo/1.4/, "
    "and set root to the folder of its CSV files; or use generated files instead (domain.source=generated)"
)


def find_folder(root: str | Path | None = None) -> Path:
    """`root`, else $CONTEXTSSL_DATA/mimic; FileNotFoundError, with where MIMIC-III can be had, when it is no folder."""
    packs = os.environ.get("CONTEXTSSL_DATA")
    folder = Path(root) if root is not None else Path(packs) / "mimic" if packs else None
    if folder is None or not folder.is_dir():
        raise FileNotFoundError(f"{folder or 'root'} is not a folder. {ADVICE}" if folder else f"no root is given. {ADVICE}")
    return folder


def prepare(root: Path | None = None, cache: str | None = None, patients: int | None = None, seed: int = 0) -> list[str]:
    """Write generated files into a new `root` (with `patients`), or read the measurements of a real one into `cache`.

    Raises:
        FileNotFoundError, ValueError: see `generate` and `build_cohort`; ValueError when there is nothing to do.
    """
    if patients is not None:
        if root is None:
            raise ValueError("generated files need a folder: give root=<new folder>")
        return [f"{generate(root, patients, seed)}: generated files of {patients:,} patients, no real persons"]
    folder = find_folder(root)
    if cache is None:
        raise ValueError(
            "the files are used as they are; give cache=<folder> to keep the measurements, or patients=<number> to generate files"
        )
    build_cohort(folder, CohortOptions(measurements=True, cache=Path(cache)))
    return [f"{cache}: the measurements of {folder}; use them with domain.measurements=true domain.cache={cache}"]


def verify(root: Path | None = None) -> list[str]:
    """One line per table, after reading the small ones whole and the header of the large ones.

    Raises:
        FileNotFoundError, ValueError: see `tables.read_table`.
    """
    folder = find_folder(root)
    lines = []
    for name in COLUMNS:
        if name in EVENTS:
            lines.append(_event_line(folder, name))
        else:
            lines.append(
                f"{locate(folder, name).path.name}: {len(read_table(folder, name)):,} rows with all columns that are needed"
            )
    return lines


def _event_line(folder: Path, name: str) -> str:
    try:
        path = locate(folder, name).path
    except FileNotFoundError:
        return f"{name}: not there, and only needed with measurements"
    return f"{path.name}: {path.stat().st_size / 1e9:.2f} GB with all columns that are needed; its rows are checked when they are read"


def info(root: Path | None = None, cache: str | None = None, measurements: bool = False) -> list[str]:
    """The flow of the default cohort, its groups and targets; of a real copy no count below ten is shown.

    Raises:
        FileNotFoundError, ValueError: see `build_cohort`.
    """
    folder = find_folder(root)
    cohort = build_cohort(folder, CohortOptions(measurements=measurements, cache=None if cache is None else Path(cache)))
    kind = "generated files in MIMIC-III's layout, no real persons" if cohort.flow.generated else "MIMIC-III"
    return [f"{kind} in {folder}", *cohort.lines()]
