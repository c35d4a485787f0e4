"""Corruptions > **moved and enlarged images** > corruptions, weather: what several of them are made of."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Pixels = NDArray[np.floating[Any]]  # [B, H, W, C]


def moved(image: NDArray[Any], radius: float, sigma: float, angle: float) -> NDArray[Any]:
    """An image [H, W, …] along a line of 2 · radius + 1 pixels at an angle in degrees, the weights half a Gaussian.

    What lies beyond the edge is as the edge is.
    """
    length = 2 * max(1, round(radius)) + 1
    weights = np.exp(-(np.arange(length) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    down, right = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    rows, columns = np.arange(image.shape[0]), np.arange(image.shape[1])
    total = np.zeros_like(image)
    for step, weight in enumerate(weights):
        dy, dx = -math.ceil(step * down - 0.5), -math.ceil(step * right - 0.5)
        if abs(dy) >= len(rows) or abs(dx) >= len(columns):
            break
        there = np.clip(rows - dy, 0, len(rows) - 1)[:, None], np.clip(columns - dx, 0, len(columns) - 1)
        total += weight.astype(image.dtype) * image[there]
    return total


def clipped_zoom(images: NDArray[Any], factor: float) -> NDArray[Any]:
    """The middle of images [B, H, W, C], so many times as large: at least H x W pixels again."""
    height, width = images.shape[1:3]
    kept = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
    middle = images[:, top : top + kept[0], left : left + kept[1]]
    return ndimage.zoom(middle, (1, factor, factor, 1), order=1)
