"""Encoders of images, bytes or fractions of 255; they normalise pixels themselves, on whatever device they are on.

N images, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

# Blocks per stage (He et al. 2016, Table 1).
STAGES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
}


@dataclass(frozen=True, slots=True)
class Pixels:
    """Mean and standard deviation of a data set's channels, as fractions of 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Normalise(nn.Module):
    """Images uint8 or float [N, C, H, W] -> float, zero mean and unit variance over the data set. Has no saved state."""

    mean: Tensor
    std: Tensor

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(pixels.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(pixels.std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Bytes are divided by 255, floats are taken as fractions; ValueError for another number of channels."""
        if x.ndim != 4 or x.shape[1] != len(self.mean):
            raise ValueError(f"expected images [N, {len(self.mean)}, H, W], found {list(x.shape)}")
        return ((x / 255 if x.dtype is torch.uint8 else x) - self.mean) / self.std


class ResNetEncoder(ResNet):
    """torchvision's ResNet without its classifier; same names and same initialisation of what is left.

    The last batch normalisation of a block starts at one, not at zero, as in the authors' code (protocol 2.1).

    Args:
        pixels: how images are normalised.
        depth: 18, 34 or 50.

    Raises:
        ValueError: for another depth.
    """

    def __init__(self, pixels: Pixels, depth: int) -> None:
        if depth not in STAGES:
            raise ValueError(f"depth: expected one of {list(STAGES)}, found {depth}")
        block, blocks = STAGES[depth]
        super().__init__(block, blocks, zero_init_residual=False)
        self.out_dim = 512 * block.expansion
        self.fc = nn.Identity()
        self.normalise = Normalise(pixels)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, out_dim] of images [N, 3, H, W]."""
        features: Tensor = super().forward(self.normalise(x))
        return features


def resnet(pixels: Pixels, depth: int = 18) -> ResNetEncoder:
    """A ResNet for images from about 96 pixels: 7x7 stem with stride 2 and max-pooling (protocol 2.1)."""
    return ResNetEncoder(pixels, depth)


def small_image_resnet(pixels: Pixels, depth: int = 18) -> ResNetEncoder:
    """A ResNet for 32 to 64 pixels: 3x3 stem with stride 1 and no max-pooling."""
    encoder = ResNetEncoder(pixels, depth)
    encoder.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(encoder.conv1.weight, mode="fan_out", nonlinearity="relu")
    encoder.maxpool = nn.Identity()
    return encoder


class SmallConvNet(nn.Module):
    """Convolutions with stride 2 down to a 4x4 map, read by a linear layer: for CPU runs at 32 to 64 pixels.

    The map is not averaged away, because where things are tells the pose.

    Args:
        pixels: how images are normalised.
        widths: channels of the convolutions.
        out_dim: D.
    """

    def __init__(self, pixels: Pixels, widths: Sequence[int] = (32, 64, 96, 128), out_dim: int = 128) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.normalise = Normalise(pixels)
        layers: list[nn.Module] = []
        channels = len(pixels.mean)
        for width in widths:
            # BatchNorm has its own shift, so the convolution before it needs none.
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * channels, out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, out_dim] of images [N, C, H, W]."""
        features: Tensor = self.body(self.normalise(x))
        return features
