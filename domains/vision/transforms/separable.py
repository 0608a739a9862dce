"""Resizing and blurring as matrices: every image has its own [h, H] for its rows and [w, W] for its columns.

That makes boxes and widths exact for each image, and both are two batched products, fast on CPUs and GPUs alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from contextssl.actions import Group, Kind
from domains.vision.transforms.base import Transform, applied, checked_probability, interval, uniform

MIN_SIGMA = 0.01  # a kernel this narrow is exactly one pixel


class GaussianBlur(Transform):
    """Blur with a Gaussian of its own width for every image, edges reflected.

    Parameters [1]: sigma, the standard deviation in pixels; 0 where not applied.

    Args:
        sigma: its range, or one number.
        probability: of being applied; 1 makes sigma a continuous target (protocol 5.2).
        kernel_size: odd number of pixels; None takes a tenth of the image's shorter side (3 at 32 pixels, 23 at 224), at least 3.

    Raises:
        ValueError: for a wrong range, probability or kernel size.
    """

    def __init__(
        self, sigma: float | Sequence[float] = (0.1, 2.0), probability: float = 1.0, kernel_size: int | None = None
    ) -> None:
        super().__init__(Group("blur", 1, 1, Kind.REAL, "sigma in pixels, 0 = not applied"))
        self.sigma, self.probability = interval("sigma", sigma, MIN_SIGMA, 1e4), checked_probability("blur", probability)
        if kernel_size is not None and (kernel_size < 1 or kernel_size % 2 == 0):
            raise ValueError(f"kernel_size: expected an odd number of pixels, found {kernel_size}")
        self.kernel_size = kernel_size

    def draw(self, num_rows: int, generator: torch.Generator) -> Tensor:
        """[num_rows, 1]."""
        sigma = uniform(self.sigma, num_rows, 1, generator)
        return sigma * applied(self.probability, num_rows, generator)

    def _apply(self, images: Tensor, parameters: Tensor) -> Tensor:
        height, width = images.shape[2:]
        size = self.kernel_size or max(3, int(0.1 * min(height, width)) | 1)
        if size // 2 >= min(height, width):
            raise ValueError(f"kernel_size: {size} needs images of more than {size // 2} pixels, found {height}x{width}")
        kernels = gaussian(parameters, size)
        rows = blur_weights(kernels, height)
        return separable(images, rows, rows if height == width else blur_weights(kernels, width))


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """[N, C, h, w]: rows [N, h, H] times every channel of the images [N, C, H, W] times the transpose of columns [N, w, W]."""
    (num_images, num_channels, height, _), width = images.shape, columns.shape[1]
    squeezed = torch.bmm(images.flatten(1, 2), columns.mT).view(num_images, num_channels, height, width)
    result = images.new_empty(num_images, num_channels, rows.shape[1], width)
    for channel in range(num_channels):  # one product over [N, H, C*w] would first have to move the channels
        result[:, channel] = torch.bmm(rows, squeezed[:, channel])
    return result


def gaussian(sigma: Tensor, size: int) -> Tensor:
    """[N, size] kernels with sum 1, from sigma [N, 1] in pixels; a single 1 where sigma is 0."""
    offset = torch.arange(size, device=sigma.device, dtype=sigma.dtype) - size // 2
    return torch.softmax(-0.5 * (offset / sigma.clamp_min(MIN_SIGMA)).square(), dim=1)


def blur_weights(kernels: Tensor, side: int) -> Tensor:
    """[N, side, side]: the matrices that convolve a side with the kernels [N, size], reflected at the edges."""
    size = kernels.shape[1]
    place = torch.arange(side, device=kernels.device)
    source = place[:, None] + torch.arange(size, device=kernels.device) - size // 2  # [side, size]
    source = (side - 1) - ((side - 1) - source.abs()).abs()  # -1 becomes 1, side becomes side - 2
    taps = (source.T.unsqueeze(-1) == place).to(kernels.dtype)  # [size, side, side]
    return (kernels @ taps.flatten(1)).view(-1, side, side)


def triangle(distance: Tensor) -> Tensor:
    """The bilinear kernel."""
    return (1 - distance.abs()).clamp_min(0)


def cubic(distance: Tensor) -> Tensor:
    """The bicubic kernel with a = -0.5, which antialiased resizing uses everywhere (Keys 1981)."""
    x = distance.abs().clamp_max(2)  # where the outer polynomial is 0
    near = (1.5 * x).sub_(2.5).mul_(x).mul_(x).add_(1)
    far = (-0.5 * x).add_(2.5).mul_(x).sub_(4).mul_(x).add_(2)
    return torch.where(x < 1, near, far)


KERNELS = {"bilinear": triangle, "bicubic": cubic}


def resize_weights(centre: Tensor, extent: Tensor, num_in: int, num_out: int, interpolation: str) -> Tensor:
    """[N, num_out, num_in]: the matrices that cut an interval out of a side of `num_in` pixels and resize it to `num_out`.

    Pixels outside the interval have no weight, so that the result is that of cropping first. A larger interval than the
    output is averaged (antialiased).

    Args:
        centre: [N] of the interval, in pixels; it is moved so that the interval lies within the side.
        extent: [N] of the interval, in pixels, at least one.
        num_in: pixels of the side.
        num_out: pixels of the result.
        interpolation: a name of KERNELS.
    """
    extent = extent.clamp(1, num_in)[:, None, None]
    centre = torch.minimum(torch.maximum(centre[:, None, None], extent / 2), num_in - extent / 2)
    place_in, place_out = (torch.arange(num, device=extent.device, dtype=extent.dtype) + 0.5 for num in (num_in, num_out))
    step = extent / num_out
    source = centre - extent / 2 + step * place_out[:, None]  # [N, num_out, 1]
    weights = KERNELS[interpolation]((place_in - source) / step.clamp_min(1))
    weights *= (place_in - centre).abs() <= extent / 2
    return weights.div_(weights.sum(-1, keepdim=True))
