"""Images that the tests of the operations share: whole bytes, so that uint8 and float versions can be compared."""

import pytest
import torch
from torch import Tensor


@pytest.fixture(params=[(1, 28, 28), (3, 32, 32), (3, 17, 24)], ids=lambda shape: "x".join(map(str, shape)))
def byte_images(request: pytest.FixtureRequest) -> Tensor:
    """Twelve images uint8 [12, C, H, W] of smooth shapes with noise, the last two of one value."""
    channels, height, width = request.param
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(12, channels, 5, 5, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    images = (images + 0.1 * torch.rand(images.shape, generator=generator)).clamp(0, 1)
    images[-2:] = torch.tensor([0.0, 0.7]).view(2, 1, 1, 1)
    return (images * 255).round().byte()


@pytest.fixture
def images(byte_images: Tensor) -> Tensor:
    """The same as float32 in [0, 1]."""
    return byte_images.float() / 255
