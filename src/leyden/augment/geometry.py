"""Augment > **geometry**: where pixels go. Crops, flips and turns move pixels; the others interpolate between them.

Shapes: B images, C channels, H x W pixels.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from leyden.augment.operation import Operation, between, check_interval, check_range, choose, integers


class Crop(Operation):
    """Leaves a window of `size` pixels of images that come with a margin around it, else one as large as they are."""

    size: int | None = None  # set by the augmentation that it is a part of

    def window(self, images: Tensor) -> tuple[int, int]:
        """Height and width of what is left."""
        height, width = images.shape[2:]
        return (self.size or height, self.size or width)


def cut_centre(images: Tensor, size: int | None) -> Tensor:
    """The middle of images with a margin; a view."""
    height, width = images.shape[2:]
    if size is None or (height, width) == (size, size):
        return images
    top, left = (height - size) // 2, (width - size) // 2
    return images[:, :, top : top + size, left : left + size]


class PaddedCrop(Crop):
    """Cuts a window at a random place of an image and its margin.

    One that comes without a margin is surrounded by `padding` pixels of `fill` (0 to 1) first.
    """

    num_draws = 2

    def __init__(self, padding: int = 4, fill: float = 0.0) -> None:
        check_range("padding", padding, 1, 4096)
        check_range("fill", fill, 0, 1)
        self.padding, self.fill = padding, fill

    def padding_of(self, images: Tensor) -> int:
        """Pixels on each side."""
        return self.padding if self.window(images) == images.shape[2:] else 0

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        height, width = self.window(images)
        room = 2 * self.padding_of(images) + 1
        top = integers(uniform[:, 0], images.shape[2] - height + room)
        return {"top": top, "left": integers(uniform[:, 1], images.shape[3] - width + room)}

    def apply(self, images: Tensor, *, top: Tensor, left: Tensor) -> Tensor:  # type: ignore[override]
        """Cuts at (top, left) of the image with its margin or padding."""
        num_images, channels = images.shape[:2]
        height, width = self.window(images)
        if padding := self.padding_of(images):
            images = F.pad(
                images, (padding,) * 4, value=self.fill if images.is_floating_point() else round(255 * self.fill)
            )
        # A row of the window is a run of values of the padded batch: copying runs is faster than pixels.
        is_last = channels > 1 and images.is_contiguous(memory_format=torch.channels_last)
        num_planes, step = (1, channels) if is_last else (channels, 1)  # of an image, and from pixel to pixel
        planes = torch.arange(num_images * num_planes, device=images.device).view(num_images, num_planes, 1)
        rows = planes * images.shape[2] + (top[:, None] + torch.arange(height, device=images.device))[:, None]
        begins = (rows * images.shape[3] + left[:, None, None]) * step  # [B, num_planes, height]
        values = images.permute(0, 2, 3, 1) if is_last else images
        runs = values.flatten().unfold(0, width * step, 1)  # a view: the run that begins at each value
        cut = runs.index_select(0, begins.flatten())
        if is_last:
            return cut.view(num_images, height, width, channels).permute(0, 3, 1, 2)
        return cut.view(num_images, channels, height, width)


class Flip(Operation):
    """Mirrors an image along one axis with a probability."""

    axis: int

    def __init__(self, probability: float = 0.5) -> None:
        check_range("probability", probability, 0, 1)
        self.probability = probability

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        return {"flip": uniform[:, 0] < self.probability}

    def apply(self, images: Tensor, *, flip: Tensor) -> Tensor:  # type: ignore[override]
        return choose(images, [lambda image: image, lambda image: image.flip(self.axis)], flip)


class HorizontalFlip(Flip):
    """Left becomes right."""

    axis = -1


class VerticalFlip(Flip):
    """Top becomes bottom."""

    axis = -2


class QuarterTurn(Operation):
    """Turns an image by 0, 90, 180 or 270 degrees against the clock, each as likely; with a flip, all eight views."""

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        return {"turns": integers(uniform[:, 0], 4)}

    def apply(self, images: Tensor, *, turns: Tensor) -> Tensor:  # type: ignore[override]
        if images.shape[2] != images.shape[3]:
            raise ValueError("augment: quarter turns need square images: leave QuarterTurn out")
        return choose(images, [functools.partial(torch.rot90, k=count, dims=(-2, -1)) for count in range(4)], turns)


class RandomResizedCrop(Crop):
    """Cuts a part of `scale` of the area and `ratio` width to height, and stretches it to the window, bilinearly.

    A part that would not fit is narrowed to fit, where Szegedy et al. (2015) would draw again.
    """

    num_draws = 4
    needs_float = True

    def __init__(self, scale: tuple[float, float] = (0.6, 1.0), ratio: tuple[float, float] = (0.75, 4 / 3)) -> None:
        check_interval("scale", scale, 1e-4, 1)
        check_interval("ratio", ratio, 1e-2, 1e2)
        self.scale, self.ratio = tuple(scale), tuple(ratio)

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        full_height, full_width = images.shape[2:]
        area = between(uniform[:, 0], *self.scale) * full_height * full_width
        ratio = between(uniform[:, 1], *(math.log(bound) for bound in self.ratio)).exp()
        height = (area / ratio).sqrt().round().clamp(1, full_height).long()
        width = (area * ratio).sqrt().round().clamp(1, full_width).long()
        top, left = integers(uniform[:, 2], full_height - height + 1), integers(uniform[:, 3], full_width - width + 1)
        return {"top": top, "left": left, "height": height, "width": width}

    def apply(  # type: ignore[override]
        self, images: Tensor, *, top: Tensor, left: Tensor, height: Tensor, width: Tensor
    ) -> Tensor:
        size = self.window(images)
        rows = _stretched(top, height, size[0])  # [B, H]
        columns = _stretched(left, width, size[1])  # [B, W]
        return sample(images, columns[:, None, :].expand(-1, *size), rows[:, :, None].expand(-1, *size))


def _stretched(begin: Tensor, length: Tensor, size: int) -> Tensor:
    """Where `size` pixels lie when spread over `length` from `begin` on, within the outer pixels' centres."""
    centres = torch.arange(size, device=begin.device) + 0.5
    places = centres * (length / size)[:, None] - 0.5
    return begin[:, None] + places.clamp_min(0).minimum((length - 1)[:, None])


class Affine(Operation):
    """Turns (degrees), shifts (share of the size), scales and shears (degrees) about the centre, bilinearly.

    Each parameter is drawn evenly from ± its bound, the scale from its interval; outside is black.
    """

    num_draws = 6
    needs_float = True

    def __init__(
        self,
        degrees: float = 0.0,
        translate: float = 0.0,
        scale: tuple[float, float] = (1.0, 1.0),
        shear: float = 0.0,
    ) -> None:
        check_range("degrees", degrees, 0, 180)
        check_range("translate", translate, 0, 1)
        check_interval("scale", scale, 1e-2, 1e2)
        check_range("shear", shear, 0, 80)
        self.degrees, self.translate, self.scale, self.shear = degrees, translate, tuple(scale), shear

    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        height, width = images.shape[2:]
        even = 2 * uniform - 1
        return {
            "angle": self.degrees * even[:, 0],
            "shift_x": self.translate * width * even[:, 1],
            "shift_y": self.translate * height * even[:, 2],
            "scale": between(uniform[:, 3], *self.scale),
            "shear_x": self.shear * even[:, 4],
            "shear_y": self.shear * even[:, 5],
        }

    def apply(self, images: Tensor, **parameters: Tensor) -> Tensor:
        return affine(images, **parameters)


def affine(
    images: Tensor,
    *,
    angle: Tensor,
    shift_x: Tensor,
    shift_y: Tensor,
    scale: Tensor,
    shear_x: Tensor,
    shear_y: Tensor,
) -> Tensor:
    """Turns with the clock, scales, shears, then shifts by pixels; parameters are [B], angles in degrees."""
    turn, across, down = angle.deg2rad(), shear_x.deg2rad(), shear_y.deg2rad()
    # The map from the old image to the new is turn · shear · scale; sampling needs its inverse.
    a = (turn - down).cos() / down.cos()
    b = -a * across.tan() - turn.sin()
    c = (turn - down).sin() / down.cos()
    d = -c * across.tan() + turn.cos()
    height, width = images.shape[2:]
    y = (torch.arange(height, device=images.device) - (height - 1) / 2)[None, :, None] - shift_y[:, None, None]
    x = (torch.arange(width, device=images.device) - (width - 1) / 2)[None, None, :] - shift_x[:, None, None]
    a, b, c, d = (entry[:, None, None] / scale[:, None, None] for entry in (a, b, c, d))
    columns = d * x - b * y + (width - 1) / 2  # the determinant of turn · shear is one
    rows = -c * x + a * y + (height - 1) / 2
    return sample(images, columns, rows)


def sample(images: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Bilinear values of float images [B, C, H, W] at fractional places [B, H', W']; outside is zero."""
    height, width = images.shape[2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
