"""Take the open demo of MIMIC-III v1.4 the whole way and write benchmarks/results/mimic_demo.json.

python benchmarks/mimic_demo.py --root DIR    DIR holds the demo's CSV files, from https://physionet.org/content/mimiciii-demo/1.4/

Its 100 patients are too few to learn from: the record says that the published files are read as they are, and what of them
may be reported at the other end; not how well anything works. The demo is open (ODbL), and treated like any real copy.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import runs
from runs import ROOT, Record, Trial, as_json

from contextssl.files import write_text
from domains.tabular.mimic.folder import info
from domains.tabular.mimic.tables import locate

RESULTS = ROOT / "benchmarks/results/mimic_demo.json"
PUBLISHED = {  # SHA-256, from the demo's own SHA256SUMS.txt
    "ADMISSIONS": "487e0b87cc81472cc2eb9ee911b3493c39e15d32e8230cec559907060c009b1c",
    "DIAGNOSES_ICD": "74dc979906bc2172f0cf025271dcd44c7cd52506b297e4b36e63dd40dce923da",
    "ICUSTAYS": "455cd8fd014bd75d9d26ddf8cb116c77ecccee2fe35fea342801a631d94b387b",
    "PATIENTS": "f65803a46bcb88127574bfd0b70d78d4123783d05bb411e70d4c9629edd7b703",
    "PROCEDURES_ICD": "0a1474dcb7e1bc083cc7b329257e5e85305f3e54ee5b0bedd325b3772806d655",
    "CHARTEVENTS": "734387d583daa9c339f9744ce6e58ed7387b99672898139c910f9aa3e40c31ec",
    "LABEVENTS": "bca32a7242e739c0cbf1690270db83c10e38a27dbfa915eeb14f5a31a1e898fa",
}
SETTINGS = ("train.num_steps=40", "train.warmup_steps=2")


def published(root: Path) -> list[str]:
    """The tables that are there.

    Raises:
        ValueError: when one of them is not the published file.
    """
    found = []
    for name, expected in PUBLISHED.items():
        try:
            path = locate(root, name).path
        except FileNotFoundError:
            continue
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ValueError(f"{path.name} is not the file of the open demo v1.4: its SHA-256 is another; take it again")
        found.append(name)
    return found


def measure(root: Path, command: Sequence[str]) -> Record:
    """Which published files were read, what `data info` prints of them, and the run's manifest and results."""
    files = published(root)
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial("mimic_sex", 0, (f"root={root.resolve()}", *SETTINGS), Path(folder))
        record = runs.measure([trial], 1, command, lambda name, row: True)
    return {"files": files, "info": info(root)[1:]} | record


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    root = parser.parse_args(words).root
    command = ["python", "benchmarks/mimic_demo.py", *("DIR" if word == str(root) else word for word in words)]
    write_text(RESULTS, as_json(measure(root, command)))


if __name__ == "__main__":
    main()
