"""Pictures that an evaluation leaves in a run's `figures/` for the report: a PNG file and its caption, whatever they show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from contextssl.files import write_bytes, write_text


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for the report.

    Attributes:
        name: of its files, `<name>.png` and `<name>.json`.
        description: what it shows, in one sentence, for those who do not see it.
        caption: what stands below it; may mark `code` and **emphasis**.
        png: the file's content.
    """

    name: str
    description: str
    caption: str
    png: bytes


def write_picture(folder: Path, picture: Picture) -> Path:
    """Write the picture, then its caption; returns the path of the PNG file."""
    path = folder / f"{picture.name}.png"
    write_bytes(path, picture.png)
    words = {"description": picture.description, "caption": picture.caption}
    write_text(path.with_suffix(".json"), json.dumps(words, indent=1, ensure_ascii=False) + "\n")
    return path


def read_pictures(folder: Path) -> tuple[Picture, ...]:
    """The pictures of a folder by name; none where there is no folder.

    Raises:
        ValueError: naming a caption that cannot be read or has no picture.
    """
    found = []
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stem):
        image = path.with_suffix(".png")
        try:
            words = json.loads(path.read_text(encoding="utf-8"))
            found.append(Picture(path.stem, str(words["description"]), str(words["caption"]), image.read_bytes()))
        except FileNotFoundError as error:
            raise ValueError(f"{path}: the picture {image.name} is missing; evaluate again") from error
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not the caption of a picture ({error}); delete it or evaluate again") from error
    return tuple(found)


def remove_pictures(folder: Path) -> None:
    """Delete the pictures of a folder with their captions; nothing else."""
    for path in folder.glob("*.json"):
        path.unlink()
        path.with_suffix(".png").unlink(missing_ok=True)
