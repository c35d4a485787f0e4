"""Corruptions > **weather** > corruptions: snow and fog, as ImageNet-C draws them."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leyden.evaluate.moved import Pixels, clipped_zoom, moved

# Mean and deviation of the flakes, their size, the least that is one, radius and sigma of their fall, what stays.
SNOW_LARGE = (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)  # fmt: skip
SNOW_SMALL = (
    (0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
    (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
)  # fmt: skip
# How much, and by how much finer structures are weaker.
FOG_LARGE = ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
FOG_SMALL = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))
GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def snow(pixels: Pixels, constants: tuple[float, ...], scale: float, generators: Sequence[Generator]) -> Pixels:
    """Flakes that fall, on an image that is paler."""
    mean, deviation, size, least, radius, sigma, kept = constants
    side = pixels.shape[1]
    layers = []
    for draws in generators:
        layer = draws.normal(mean, deviation, size=(side, side))
        layer = clipped_zoom(layer[None, ..., None], max(1.0, size * scale))[0, ..., 0]
        layer = np.where(layer < least, 0, layer).clip(0, 1)
        layer = moved(layer, radius * scale, sigma * scale, draws.uniform(-135, -45))[:side, :side]
        layers.append(layer + np.rot90(layer, 2))
    grey = pixels if pixels.shape[3] == 1 else (pixels @ GREY)[..., None]
    paler = kept * pixels + (1 - kept) * np.maximum(pixels, grey * 1.5 + 0.5)
    found: Pixels = (paler + np.stack(layers)[..., None]).astype(np.float32)
    return found


def fog(pixels: Pixels, constants: tuple[float, float], scale: float, generators: Sequence[Generator]) -> Pixels:
    """Adds clouds, and makes the whole as bright as the image was."""
    amount, decay = constants
    side = pixels.shape[1]
    clouds = np.stack([plasma(1 << (side - 1).bit_length(), decay, draws)[:side, :side] for draws in generators])
    brightest = pixels.max((1, 2, 3), keepdims=True)
    found: Pixels = ((pixels + amount * clouds[..., None]) * brightest / (brightest + amount)).astype(np.float32)
    return found


def plasma(side: int, decay: float, draws: Generator) -> NDArray[np.float64]:
    """Heights from 0 to 1 [side, side], a power of two, by the diamond-square algorithm (Fournier et al. 1982)."""
    heights = np.zeros((side, side))
    step, strength = side, 100.0
    while step >= 2:
        half = step // 2

        def between(sums: NDArray[np.float64], strength: float = strength) -> NDArray[np.float64]:
            return sums / 4 + strength * draws.uniform(-strength, strength, size=sums.shape)

        corners = heights[::step, ::step]
        sums = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = between(sums + np.roll(sums, -1, axis=1))
        middles = heights[half::step, half::step]
        vertical, horizontal = middles + np.roll(middles, 1, axis=0), corners + np.roll(corners, -1, axis=1)
        heights[::step, half::step] = between(vertical + horizontal)
        beside, upright = middles + np.roll(middles, 1, axis=1), corners + np.roll(corners, -1, axis=0)
        heights[half::step, ::step] = between(beside + upright)
        step, strength = half, strength / decay
    heights -= heights.min()
    return heights / heights.max()
