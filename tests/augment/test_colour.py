"""Colour against torchvision's functional operations with the same parameters, image by image."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from leyden.augment import Blur, Brightness, Contrast, Greyscale, Hue, Saturation
from leyden.augment.colour import Blend
from leyden.random import uniform

CLOSE = {"atol": 2e-5, "rtol": 0.0}


@pytest.mark.parametrize(
    ("operation", "adjust"),
    [
        (Brightness(0.9), reference.adjust_brightness),
        (Contrast(0.9), reference.adjust_contrast),
        (Saturation(0.9), reference.adjust_saturation),
    ],
)
def test_blends_equal_torchvisions(images: Tensor, operation: Blend, adjust: object) -> None:
    drawn = operation.draw(uniform(1, torch.arange(12), 1), images)
    for image, result, factor in zip(images, operation.apply(images, **drawn), drawn["factor"], strict=True):
        torch.testing.assert_close(result, adjust(image, float(factor)), **CLOSE)  # type: ignore[operator]


def test_blend_draws_within_its_strength() -> None:
    factor = Brightness(0.3).draw(uniform(1, torch.arange(5000), 1), torch.empty(0))["factor"]
    assert 0.7 <= factor.min() < 0.71
    assert 1.29 < factor.max() <= 1.3


def test_hue_equals_torchvisions(images: Tensor) -> None:
    operation = Hue(0.5)
    drawn = operation.draw(uniform(1, torch.arange(12), 1), images)
    for image, result, turn in zip(images, operation.apply(images, **drawn), drawn["turn"], strict=True):
        expected = reference.adjust_hue(image, float(turn)) if image.shape[0] == 3 else image
        torch.testing.assert_close(result, expected, **CLOSE)


def test_greyscale_equals_torchvisions(images: Tensor) -> None:
    operation = Greyscale(0.5)
    drawn = operation.draw(uniform(1, torch.arange(12), 1), images)
    assert 0 < drawn["grey"].sum() < 12
    for image, result, on in zip(images, operation.apply(images, **drawn), drawn["grey"], strict=True):
        expected = reference.rgb_to_grayscale(image, 3) if on and image.shape[0] == 3 else image
        torch.testing.assert_close(result, expected, **CLOSE)


@pytest.mark.parametrize("kernel_size", [3, 7])
def test_blur_equals_torchvisions(images: Tensor, kernel_size: int) -> None:
    operation = Blur(kernel_size, sigma=(0.2, 3.0), probability=0.7)
    drawn = operation.draw(uniform(1, torch.arange(12), 2), images)
    assert (drawn["sigma"] == 0).any()
    for image, result, sigma in zip(images, operation.apply(images, **drawn), drawn["sigma"], strict=True):
        expected = reference.gaussian_blur(image, [kernel_size] * 2, [float(sigma)] * 2) if sigma else image
        torch.testing.assert_close(result, expected, **CLOSE)


def test_blur_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel_size=9"):
        Blur(9).apply(torch.zeros(1, 1, 4, 4), sigma=torch.ones(1))


def test_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        Blur(4)
