"""Augment > **colour**: what pixels look like. All work on float images in [0, 1] of one or three channels.

Saturation, hue and greyscale leave images of one channel as they are.
"""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from leyden.augment.operation import Operation, between, check_interval, check_range, luma, per_image


class Blend(Operation):
    """What brightness, contrast and saturation share: image · factor + other · (1 − factor), factor in 1 ± strength."""

    needs_float = True

    def __init__(self, strength: float = 0.2) -> None:
        check_range("strength", strength, 0, 1)
        self.strength = strength

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        return {"factor": between(uniform[:, 0], 1 - self.strength, 1 + self.strength)}

    def apply(self, images: Tensor, *, factor: Tensor) -> Tensor:  # type: ignore[override]
        return blend(images, self.other(images), factor)

    @staticmethod
    @abstractmethod
    def other(images: Tensor) -> Tensor:
        """What the image is blended with."""


class Brightness(Blend):
    """Towards black, or away from it."""

    @staticmethod
    def other(images: Tensor) -> Tensor:
        return torch.zeros_like(images[:, :1])


class Contrast(Blend):
    """Towards the image's mean grey, or away from it."""

    @staticmethod
    def other(images: Tensor) -> Tensor:
        return luma(images).mean((1, 2, 3), keepdim=True)


class Saturation(Blend):
    """Towards grey, or away from it."""

    @staticmethod
    def other(images: Tensor) -> Tensor:
        return luma(images)


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """image · factor + other · (1 − factor), cut to [0, 1]; factor [B]."""
    return torch.lerp(other.expand_as(images), images, per_image(factor)).clamp(0, 1)


class Hue(Operation):
    """Turns the colours by up to ± `strength` of the colour circle (0 to 0.5)."""

    needs_float = True

    def __init__(self, strength: float = 0.05) -> None:
        check_range("strength", strength, 0, 0.5)
        self.strength = strength

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        return {"turn": between(uniform[:, 0], -self.strength, self.strength)}

    def apply(self, images: Tensor, *, turn: Tensor) -> Tensor:  # type: ignore[override]
        if images.shape[1] == 1:
            return images
        hue, chroma, value = _hue_chroma_value(images)
        hue = (hue + turn[:, None, None]) % 1.0
        # Each channel is the value less the part of the chroma that its distance on the circle takes away.
        offsets = torch.arange(5, 0, -2, device=images.device).view(1, 3, 1, 1)  # 5, 3, 1 for red, green, blue
        sector = (offsets + 6 * hue[:, None]) % 6
        return value[:, None] - chroma[:, None] * torch.minimum(sector, 4 - sector).clamp(0, 1)


def _hue_chroma_value(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue (0 to 1), chroma and value, each [B, H, W], of RGB images (A. R. Smith 1978)."""
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    red, green, blue = images.unbind(1)
    divisor = torch.where(chroma == 0, 1.0, chroma)
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    return (hue / 6) % 1.0, chroma, value


class Greyscale(Operation):
    """Takes the colours away with a probability."""

    needs_float = True

    def __init__(self, probability: float = 0.1) -> None:
        check_range("probability", probability, 0, 1)
        self.probability = probability

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        return {"grey": uniform[:, 0] < self.probability}

    def apply(self, images: Tensor, *, grey: Tensor) -> Tensor:  # type: ignore[override]
        return torch.where(per_image(grey), luma(images).expand_as(images), images)


class Blur(Operation):
    """Gaussian blur of `sigma` pixels, drawn evenly from its interval, with a probability; mirrored at the border."""

    num_draws = 2
    needs_float = True

    def __init__(self, kernel_size: int = 5, sigma: tuple[float, float] = (0.1, 2.0), probability: float = 0.5) -> None:
        if kernel_size < 3 or kernel_size % 2 == 0:
            raise ValueError(f"augment: kernel_size={kernel_size}: expected an odd number from 3")
        check_interval("sigma", sigma, 1e-3, 1e3)
        check_range("probability", probability, 0, 1)
        self.kernel_size, self.sigma, self.probability = kernel_size, tuple(sigma), probability

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        on = uniform[:, 1] < self.probability
        return {"sigma": torch.where(on, between(uniform[:, 0], *self.sigma), 0.0)}

    def apply(self, images: Tensor, *, sigma: Tensor) -> Tensor:  # type: ignore[override]
        """Blurs by `sigma`; 0 leaves an image as it is."""
        half = self.kernel_size // 2
        if half >= min(images.shape[2:]):
            raise ValueError(
                f"augment: kernel_size={self.kernel_size} is too large for {images.shape[3]} pixels: give less"
            )
        distance = torch.arange(-half, half + 1, device=images.device, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (distance / sigma.clamp_min(1e-6)[:, None]) ** 2)  # [B, k]
        kernel = kernel / kernel.sum(1, keepdim=True)
        num_images, channels, height, _ = images.shape
        rows = F.pad(images, (half,) * 4, mode="reflect").reshape(1, num_images * channels, height + 2 * half, -1)
        weights = kernel.repeat_interleave(channels, 0)[:, None]  # [B·C, 1, k]
        rows = F.conv2d(rows, weights[..., None], groups=num_images * channels)
        return F.conv2d(rows, weights[:, :, None], groups=num_images * channels).view(images.shape)
