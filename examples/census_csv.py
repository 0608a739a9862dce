"""Writes a table as one finds it, for docs/tutorials/own_table.md: UCI Adult as one CSV, or a generated census of the same columns.

python examples/census_csv.py FOLDER [generated]
"""

import sys
from pathlib import Path

import pandas as pd

from domains.tabular.census import generate_census
from domains.tabular.sources import read_adult


def main(folder, source="real"):
    parts = [generate_census(12_000, seed=0)] if source == "generated" else read_adult().values()
    rows = pd.concat(parts, ignore_index=True)
    path = Path(folder) / "census.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(path)  # with the row numbers as a first column without a name, as so often
    print(f"{path}: {len(rows):,} rows")


if __name__ == "__main__":
    main(*sys.argv[1:])
