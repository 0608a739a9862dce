"""Small packs of the drawn folder in the published layout, and what tests of them need."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from published_folder import VIEWS

from domains.vision.image_folder import pack_folder

SIDE = 16
COUNTS = [count for counts in VIEWS.values() for count in counts]
pack_small = partial(pack_folder, size=SIDE)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])
