"""Widths, normalisation, stems and layout of the image encoders."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet34, resnet50

from contextssl.encoder import Encoder
from domains.vision.encoders import Normalise, Pixels, ResNetEncoder, SmallConvNet, resnet, small_image_resnet

PIXELS = Pixels((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
BYTES = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
BUILD: dict[str, Callable[[], ResNetEncoder | SmallConvNet]] = {
    "resnet": lambda: resnet(PIXELS),
    "small image resnet": lambda: small_image_resnet(PIXELS),
    "small conv net": lambda: SmallConvNet(PIXELS, widths=(8, 16), out_dim=24),
}


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build().eval()


def test_normalisation_is_of_fractions_per_channel() -> None:
    found = Normalise(PIXELS)(BYTES)
    for channel in range(3):
        expected = (BYTES[:, channel].double() / 255 - PIXELS.mean[channel]) / PIXELS.std[channel]
        torch.testing.assert_close(found[:, channel].double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(Normalise(PIXELS)(BYTES.float() / 255), found)
    assert not Normalise(PIXELS).state_dict()


@pytest.mark.parametrize("name", BUILD)
def test_encoders_take_bytes_and_fractions_and_see_rows_apart(name: str) -> None:
    encoder = seeded(BUILD[name])
    assert isinstance(encoder, Encoder)
    with torch.no_grad():
        features = encoder(BYTES)
        assert features.shape == (4, encoder.out_dim) and features.std(0).mean() > 0.01
        torch.testing.assert_close(encoder(BYTES.float() / 255), features, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(torch.cat([encoder(image[None]) for image in BYTES]), features, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", BUILD)
def test_the_memory_layout_does_not_matter(name: str) -> None:
    encoder = seeded(BUILD[name])
    with torch.no_grad():
        expected = encoder(BYTES)
        encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.testing.assert_close(encoder(BYTES.to(memory_format=torch.channels_last)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("depth", "original"), [(18, resnet18), (34, resnet34), (50, resnet50)])
def test_names_and_shapes_are_torchvisions_without_the_classifier(depth: int, original: Callable[[], nn.Module]) -> None:
    with torch.device("meta"):
        encoder, expected = resnet(PIXELS, depth), original()
    described = {name: list(value.shape) for name, value in expected.state_dict().items() if not name.startswith("fc.")}
    assert {name: list(value.shape) for name, value in encoder.state_dict().items()} == described
    assert encoder.out_dim == expected.fc.in_features  # type: ignore[union-attr]


def test_features_are_torchvisions_before_the_classifier() -> None:
    encoder, original = seeded(BUILD["resnet"]), resnet18().eval()
    original.fc = nn.Identity()
    original.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        images = (BYTES / 255 - torch.tensor(PIXELS.mean).view(3, 1, 1)) / torch.tensor(PIXELS.std).view(3, 1, 1)
        torch.testing.assert_close(encoder(BYTES), original(images))


def test_residual_branches_start_open() -> None:
    encoder = resnet(PIXELS)
    assert all(block.bn2.weight.min() == 1 for block in encoder.layer1)  # zero initialisation would close them


def test_stems() -> None:
    shapes = {}
    for name, encoder in (("large", resnet(PIXELS)), ("small", small_image_resnet(PIXELS))):
        encoder.layer1.register_forward_pre_hook(lambda _, inputs, name=name: shapes.update({name: inputs[0].shape[-2:]}))
        with torch.no_grad():
            encoder.eval()(BYTES)
    assert shapes == {"large": (8, 8), "small": (32, 32)}


def test_the_small_net_can_tell_where_things_are() -> None:
    encoder = seeded(BUILD["small conv net"])
    image = torch.zeros(1, 3, 32, 32)
    image[..., 4:10, 4:10] = 1
    moved = image.roll((16, 16), (2, 3))
    with torch.no_grad():
        difference = (encoder(image) - encoder(moved)).norm() / encoder(image).norm()
    assert difference > 0.05


@pytest.mark.parametrize(("call", "message"), [
    (lambda: resnet(PIXELS, 20), r"depth: expected one of \[18, 34, 50\], found 20"),
    (lambda: SmallConvNet(PIXELS)(torch.zeros(2, 1, 32, 32)), r"expected images \[N, 3, H, W\], found \[2, 1, 32, 32\]"),
    (lambda: SmallConvNet(PIXELS)(torch.zeros(3, 32, 32)), r"found \[3, 32, 32\]"),
])  # fmt: skip
def test_wrong_arguments(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
