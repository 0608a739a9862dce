"""One picture of a whole set."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path

from PIL import Image, ImageDraw

from contextssl.files import write_bytes
from domains.vision.procedural.folder import read_manifest

LABEL_HEIGHT = 14
CELL = 64


def contact_sheet(root: Path, per_category: int = 8, blocks: int = 2) -> Image.Image:
    """Views of every category of a finished set, a row each under its name; neighbours are different objects where there are any.

    Args:
        root: a folder that `write_folder` filled.
        per_category: views in a row.
        blocks: columns of rows.
    """
    made = read_manifest(root)["made"]
    members: dict[str, list[str]] = defaultdict(list)
    for one in made["objects"]:
        members[one["category"]].append(one["name"])
    height = -(-len(members) // blocks)
    sheet = Image.new("RGB", (blocks * (per_category * CELL + 6), height * (CELL + LABEL_HEIGHT)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (category, names) in enumerate(members.items()):
        left, top = place // height * (per_category * CELL + 6), place % height * (CELL + LABEL_HEIGHT)
        draw.text((left + 2, top + 1), category.replace("_", " "), fill="black")
        for column in range(min(per_category, len(names) * made["views"]["views"])):
            view, which = divmod(column, len(names))
            with Image.open(root / category / names[which] / f"image_{view}.jpg") as image:
                sheet.paste(image.resize((CELL, CELL), Image.Resampling.LANCZOS), (left + column * CELL, top + LABEL_HEIGHT))
    return sheet


def write_contact_sheet(root: Path, path: Path, per_category: int = 8, blocks: int = 2) -> None:
    """Write the contact sheet of the set in `root` as a JPEG file."""
    content = io.BytesIO()
    contact_sheet(root, per_category, blocks).save(content, "JPEG", quality=88)
    write_bytes(path, content.getvalue())
