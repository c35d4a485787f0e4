"""Corruptions > **frost** > corruptions: ice on a pane, drawn, where ImageNet-C lays photographs of it over images.

There are as many panes as it has photographs, and each draw is a piece of one. Colours and roughness are those of the
photographs, the ferns of ice are ours.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from leyden.evaluate.moved import Pixels
from leyden.evaluate.weather import GREY, plasma

# What stays of the image, what is laid over it, and how large its ice is: CIFAR-10-C brings photographs to a fifth.
FROST_LARGE = ((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1))
FROST_SMALL = ((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2))

# In pixels of the photographs.
SIDE = 480
LENGTHS = (8.0, 70.0)  # of a fern
BETWEEN_BARBS = 4.0
AREA = 130.0  # of the pane, for each fern
DULLEST = 60  # of 255
BARB_ANGLE = math.radians(60)  # as ice grows
LONGEST_BARB = 0.35  # of what is left of the fern towards its tip


class Pane(NamedTuple):
    """What a photograph of frost looks like."""

    colour: tuple[float, float, float]  # the mean, from 0 to 1
    deviation: float  # of its grey
    clouds: float  # share of the variance that is of wide areas
    softness: float  # of the ice: sigma of a blur, in pixels of the photograph


PANES = (
    Pane((0.31, 0.58, 0.65), 0.072, 0.3, 0.7),
    Pane((0.79, 0.80, 0.84), 0.085, 0.1, 0.8),
    Pane((0.54, 0.60, 0.65), 0.112, 0.1, 0.65),
    Pane((0.44, 0.48, 0.53), 0.175, 0.3, 0.7),
    Pane((0.28, 0.37, 0.41), 0.165, 0.5, 0.7),
)
DRAWN = (0, 1, 1, 2, 3, 4)  # two of its six files are the same photograph


def frost(
    pixels: Pixels, constants: tuple[float, float, float], scale: float, generators: Sequence[Generator]
) -> Pixels:
    """Lays a piece of a frosted pane over a darker image."""
    kept, laid, size = constants
    side, whole = pixels.shape[1], max(pixels.shape[1], round(SIDE * size * scale))
    pieces = []
    for draws in generators:
        ice = frosted(DRAWN[draws.integers(len(DRAWN))], whole)
        top, left = draws.integers(whole - side, size=2, endpoint=True)
        pieces.append(ice[top : top + side, left : left + side])
    layer = np.stack(pieces)
    found: Pixels = kept * pixels + laid * (layer if pixels.shape[3] == 3 else (layer @ GREY)[..., None])
    return found


@functools.cache
def frosted(number: int, side: int) -> NDArray[np.float32]:
    """A pane [side, side, 3], the same one each time."""
    pane, draws = PANES[number], np.random.default_rng(number)
    unit = side / SIDE
    ice = ndimage.gaussian_filter(ferns(side, unit, draws), pane.softness * unit)
    clouds = plasma(1 << (side - 1).bit_length(), 2.0, draws)[:side, :side]
    grey = math.sqrt(1 - pane.clouds) * standardised(ice) + math.sqrt(pane.clouds) * standardised(clouds)
    found = np.array(pane.colour) + pane.deviation * grey[..., None]
    return found.clip(0, 1).astype(np.float32)


def ferns(side: int, unit: float, draws: Generator) -> NDArray[np.float64]:
    """Bright ferns [side, side] of all directions, each over those before it."""
    layer = Image.new("L", (side, side))
    pen = ImageDraw.Draw(layer)
    reach = LENGTHS[1] * unit  # they grow in from beyond the edges
    count = math.ceil((side + 2 * reach) ** 2 / (AREA * unit**2))
    feet = draws.uniform(-reach, side + reach, size=(count, 2))
    lengths = unit * LENGTHS[0] * (LENGTHS[1] / LENGTHS[0]) ** draws.uniform(size=count)
    angles = draws.uniform(0, 2 * math.pi, size=count)
    shades = draws.integers(DULLEST, 256, size=count).tolist()
    for foot, length, angle, shade in zip(feet, lengths, angles, shades, strict=True):
        for line in fern(foot, length, angle, unit):
            pen.line(line, fill=shade)
    return np.asarray(layer, dtype=np.float64)


def fern(foot: NDArray[np.float64], length: float, angle: float, unit: float) -> list[list[float]]:
    """The lines of a fern, each from x, y to x, y: its stem, and pairs of barbs that grow shorter towards the tip."""
    direction = np.array([math.cos(angle), math.sin(angle)])
    steps = np.repeat(np.arange(0, length, BETWEEN_BARBS * unit), 2)
    starts = foot + steps[:, None] * direction
    turned = angle + BARB_ANGLE * np.resize([-1, 1], len(steps))
    ends = starts + (LONGEST_BARB * (length - steps) * (np.cos(turned), np.sin(turned))).T
    tip = foot + length * direction
    found: list[list[float]] = [[*foot, *tip], *np.hstack([starts, ends]).tolist()]
    return found


def standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values with a mean of 0 and a deviation of 1, where they differ at all."""
    found: NDArray[np.float64] = (values - values.mean()) / (values.std() or 1)
    return found
