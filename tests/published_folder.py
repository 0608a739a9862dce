"""A tiny folder in the published layout of 3DIEBench, drawn with PIL: other objects, another size, another JPEG quality."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

LOW = np.array([-math.pi / 2] * 3 + [0.0] * 4)
HIGH = np.array([math.pi / 2] * 3 + [1, math.pi / 4, 2 * math.pi, 1])
# Numbers of views of the objects of each synset; they differ on purpose.
VIEWS = {"02691156": [4, 4, 4, 4, 4], "03001627": [4, 3, 4, 4], "04256520": [5, 4, 4, 4]}


def draw_latent(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return rng.uniform(LOW, HIGH)


def picture(latent: npt.NDArray[np.float64], sides: int, side: int) -> Image.Image:
    """A turned polygon in the colour of the light, on a floor with its own colour."""
    image = Image.new("HSV", (side, side), (int(255 * latent[3]), 160, 200))
    polygon = ImageDraw.Draw(image)
    polygon.regular_polygon((side / 2, side / 2, side / 3), sides, math.degrees(latent[2]), fill=(int(255 * latent[6]), 200, 120))
    return image.convert("RGB")


def write_folder(root: Path, *, side: int = 40, quality: int = 60, seed: int = 0) -> list[str]:
    """Write the folder; returns the names of its objects, in order."""
    rng = np.random.default_rng(seed)
    names = []
    for synset, counts in VIEWS.items():
        for index, count in enumerate(counts):
            names.append(f"{synset}/object{index}")
            folder = root / names[-1]
            folder.mkdir(parents=True)
            for view in range(count):
                latent = draw_latent(rng)
                np.save(folder / f"latent_{view}.npy", latent)
                picture(latent, 3 + index, side).save(folder / f"image_{view}.jpg", quality=quality)
    return names
