"""Batched augmentations that return what they did: `images, parameters = Compose([...])(images, generator)`.

Images are floats in 0..1 [N, C, H, W] on any device; parameters are float32 [N, P], one row for each image, in documented
units. `apply(images, parameters)` repeats them. Every transform is one group of actions (protocol 5.2).
"""

from domains.vision.transforms.base import Compose, Transform
from domains.vision.transforms.color import ColorJitter, Greyscale, Solarise
from domains.vision.transforms.geometry import HorizontalFlip, RandomResizedCrop, Rotation
from domains.vision.transforms.separable import GaussianBlur

__all__ = [
    "ColorJitter", "Compose", "GaussianBlur", "Greyscale", "HorizontalFlip", "RandomResizedCrop", "Rotation", "Solarise", "Transform",
]  # fmt: skip
