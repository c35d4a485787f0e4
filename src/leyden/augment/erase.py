"""Augment > **erase**: covers a part of the image (Zhong et al. 2020; DeVries & Taylor 2017)."""

import math

import torch
from torch import Tensor

from leyden.augment.operation import Operation, between, check_interval, check_range, integers


class RandomErasing(Operation):
    """Covers a rectangle of `scale` of the area and `ratio` height to width by `value` (0 to 1), with a probability.

    A rectangle that would not fit is narrowed to fit.
    """

    num_draws = 5

    def __init__(
        self,
        probability: float = 0.25,
        scale: tuple[float, float] = (0.02, 0.2),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float = 0.0,
    ) -> None:
        check_range("probability", probability, 0, 1)
        check_interval("scale", scale, 0, 1)
        check_interval("ratio", ratio, 1e-2, 1e2)
        check_range("value", value, 0, 1)
        self.probability, self.scale, self.ratio, self.value = probability, tuple(scale), tuple(ratio), value

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        full_height, full_width = images.shape[2:]
        area = between(uniform[:, 1], *self.scale) * full_height * full_width
        ratio = between(uniform[:, 2], *(math.log(bound) for bound in self.ratio)).exp()
        on = uniform[:, 0] < self.probability
        height = (area * ratio).sqrt().round().clamp(1, full_height).long() * on
        width = (area / ratio).sqrt().round().clamp(1, full_width).long() * on
        top = integers(uniform[:, 3], full_height - height + 1) * on
        left = integers(uniform[:, 4], full_width - width + 1) * on
        return {"top": top, "left": left, "height": height, "width": width}

    def apply(  # type: ignore[override]
        self, images: Tensor, *, top: Tensor, left: Tensor, height: Tensor, width: Tensor
    ) -> Tensor:
        rows = _within(top, height, images.shape[2])  # [B, H]
        columns = _within(left, width, images.shape[3])  # [B, W]
        value = self.value if images.is_floating_point() else round(255 * self.value)
        return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], value)


def _within(begin: Tensor, length: Tensor, size: int) -> Tensor:
    places = torch.arange(size, device=begin.device)
    return (places >= begin[:, None]) & (places < (begin + length)[:, None])
