"""Writes a folder of images with known transformations, as in docs/tutorials/own_images.md: digits, turned and tinted.

python examples/tinted_digits.py FOLDER [number of digits] [views of each]
"""

import colorsys
import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from sklearn.datasets import load_digits


def main(folder, num_items=600, num_views=12):
    folder, draws, digits = Path(folder), np.random.default_rng(0), load_digits()
    rows = []
    for number in range(num_items):
        grey = Image.fromarray((digits.images[number] * 15.9).astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)
        for view in range(num_views):
            angle, hue = draws.uniform(-90, 90), draws.uniform(0, 1)
            ink = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.9, 0.95))
            name = f"digit_{number}/{view}.png"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            ImageOps.colorize(grey.rotate(angle, Image.Resampling.BICUBIC), (20, 20, 24), ink).save(folder / name)
            rows.append([name, f"digit_{number}", digits.target[number], f"{angle / 360:.5f}", f"{hue:.5f}"])
    with (folder / "views.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "item", "category", "angle", "hue"], *rows])
    print(f"{folder / 'views.csv'}: {len(rows)} views of {num_items} items")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
