"""Batch > **operation** > augment: what every augmentation of single images is made of: a draw and its application."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

VALUES_OF_A_LARGE_IMAGE = 2**14


class Operation(ABC):
    """Changes each image of a batch by parameters of its own.

    `draw` turns uniform numbers [B, num_draws] into parameters, one value per image; `apply` uses them. Images come
    as uint8, or, where `needs_float`, as float32 in [0, 1].
    """

    num_draws = 1
    needs_float = False

    @abstractmethod
    def draw(self, uniform: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Parameters by name, each [B] or for a policy [B, operations], from numbers in [0, 1)."""

    @abstractmethod
    def apply(self, images: Tensor, **parameters: Tensor) -> Tensor:
        """The changed images, [B, C, H, W] as they came."""


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuses a setting outside [low, high]."""
    if not low <= value <= high:
        raise ValueError(f"augment: {name}={value} is out of range: give a number from {low:g} to {high:g}")


def check_interval(name: str, interval: tuple[float, float], low: float, high: float) -> None:
    """Refuses an interval that is not two rising numbers within [low, high]."""
    if len(interval) != 2 or not low <= interval[0] <= interval[1] <= high:
        raise ValueError(f"augment: {name}={list(interval)}: expected two rising numbers from {low:g} to {high:g}")


def between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Numbers in [0, 1) to numbers in [low, high)."""
    return low + (high - low) * uniform


def integers(uniform: Tensor, count: Tensor | int) -> Tensor:
    """Numbers in [0, 1) to whole numbers from 0 to count - 1 (int64)."""
    return (uniform * count).long()


def per_image(values: Tensor) -> Tensor:
    """[B] to [B, 1, 1, 1], to multiply images by."""
    return values.view(-1, 1, 1, 1)


def choose(images: Tensor, versions: Sequence[Callable[[Tensor], Tensor]], which: Tensor) -> Tensor:
    """Of each image the version that `which` [B] numbers; `versions` are functions of one image as of a batch.

    A processor makes of large images only the version that is wanted, one by one, in two to five times the speed.
    Elsewhere all versions are made, and whole images are copied, which is faster than `torch.where`.
    """
    num_images = len(which)
    if images.device.type != "cpu" or images[0].numel() < VALUES_OF_A_LARGE_IMAGE:
        made = torch.cat([version(images) for version in versions])
        return made.index_select(0, torch.arange(num_images, device=which.device) + num_images * which)
    chosen = torch.empty_like(images)
    for image, number, place in zip(images, which.tolist(), chosen, strict=True):
        place.copy_(versions[number](image))
    return chosen


def luma(images: Tensor) -> Tensor:
    """Luma [B, 1, H, W] of float images by ITU-R 601-2; images of one channel are their own."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue  # rounded as torchvision has them
