"""Subject > **corruptions** > robustness: images as noise, blur, weather and storage spoil them, at five severities.

The fifteen corruptions of ImageNet-C (Hendrycks and Dietterich 2019), in NumPy and SciPy; frost is drawn, where the
paper has photographs of it. Images below 64 pixels have the severities of CIFAR-10-C. Lengths are in proportion to the
side: those of the paper count at 224 and at 32 pixels. Shapes: B images of H x W pixels and C channels, in [0, 1].
"""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from leyden.config import suggest
from leyden.evaluate import frost, weather
from leyden.evaluate.moved import Pixels, clipped_zoom, moved
from leyden.random import mix_seed

Constants = Sequence[Any]
Function = Callable[[Pixels, Any, float, Sequence[Generator]], Pixels]  # images, constants, scale, an image's draws

SMALL_BELOW = 64  # pixels of a side
SMALL, LARGE = 32, 224  # sides at which lengths are those of the papers
SEVERITIES = (1, 2, 3, 4, 5)
SEED = 0


class Corruption(NamedTuple):
    """What is done to images, and how much at each severity."""

    family: str
    function: Function
    large: Constants  # of ImageNet-C
    small: Constants  # of CIFAR-10-C


def corrupted(name: str, severity: int, images: NDArray[np.uint8], indices: Sequence[int]) -> NDArray[np.uint8]:
    """Images uint8 [B, C, H, W] spoilt at a severity of 1 to 5; what is drawn depends on the images' numbers alone."""
    corruption, side = CORRUPTIONS[name], images.shape[2]
    is_small = side < SMALL_BELOW
    constants = (corruption.small if is_small else corruption.large)[severity - 1]
    place = list(CORRUPTIONS).index(name)
    generators = [np.random.default_rng(mix_seed(SEED, place, index)) for index in indices]
    pixels = images.transpose(0, 2, 3, 1).astype(np.float32) / 255
    found = corruption.function(pixels, constants, side / (SMALL if is_small else LARGE), generators)
    return np.rint(found.clip(0, 1) * 255).astype(np.uint8).transpose(0, 3, 1, 2)


def parse_corruptions(words: str) -> list[str]:
    """The corruptions that words name: true, or families and names between commas; none of `false`.

    Raises:
        ValueError: a word is neither.
    """
    if words == "false":
        return []
    if words == "true":
        return list(CORRUPTIONS)
    families = {corruption.family for corruption in CORRUPTIONS.values()}
    found = []
    for word in map(str.strip, words.split(",")):
        if word not in families | CORRUPTIONS.keys():
            raise ValueError(f"corruptions={words}: {word!r} is none: {suggest(word, [*families, *CORRUPTIONS])}")
        found += [name for name, corruption in CORRUPTIONS.items() if word in (name, corruption.family)]
    return [name for name in CORRUPTIONS if name in found]


def parse_severities(words: str) -> list[int]:
    """The severities that words name, between commas.

    Raises:
        ValueError: one is no number from 1 to 5.
    """
    found = []
    for word in words.split(","):
        if word.strip() not in map(str, SEVERITIES):
            raise ValueError(f"severities={words}: expected numbers from 1 to 5 between commas, as in 1,3,5")
        found.append(int(word))
    return sorted(set(found))


def _drawn(generators: Sequence[Generator], draw: Callable[[Generator, Pixels], Any], pixels: Pixels) -> Pixels:
    """What is drawn for each image alone."""
    return np.stack([draw(generator, image) for generator, image in zip(generators, pixels, strict=True)]).astype(
        np.float32
    )


def gaussian_noise(pixels: Pixels, deviation: float, scale: float, generators: Sequence[Generator]) -> Pixels:
    """Adds what is drawn from a normal distribution."""
    return pixels + _drawn(generators, lambda draws, image: draws.normal(scale=deviation, size=image.shape), pixels)


def shot_noise(pixels: Pixels, photons: float, scale: float, generators: Sequence[Generator]) -> Pixels:
    """So many photons for white, counted."""
    return _drawn(generators, lambda draws, image: draws.poisson(image * photons) / photons, pixels)


def impulse_noise(pixels: Pixels, share: float, scale: float, generators: Sequence[Generator]) -> Pixels:
    """A share of the values is black or white."""

    def draw(draws: Generator, image: Pixels) -> Any:
        is_hit = draws.random(image.shape) < share
        return np.where(is_hit, draws.random(image.shape) < 0.5, image)

    return _drawn(generators, draw, pixels)


def defocus_blur(
    pixels: Pixels, constants: tuple[float, float], scale: float, generators: Sequence[Generator]
) -> Pixels:
    """Folds with a disk, whose edge is softened."""
    radius, softness = constants[0] * scale, constants[1]
    reach = max(8, math.ceil(radius))
    places = np.arange(-reach, reach + 1)
    disk = (places[:, None] ** 2 + places**2 <= radius**2).astype(np.float64)
    near = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    soft = np.exp(-(near**2) / (2 * softness**2))
    soft /= soft.sum()
    kernel = ndimage.convolve(disk / disk.sum(), np.outer(soft, soft), mode="mirror")
    kernel = kernel[kernel.any(1)][:, kernel.any(0)]
    return ndimage.convolve(pixels, kernel[None, :, :, None], mode="mirror")


def glass_blur(
    pixels: Pixels, constants: tuple[float, int, int], scale: float, generators: Sequence[Generator]
) -> Pixels:
    """Swaps pixels with near ones, between two blurs."""
    sigma, reach, num_rounds = constants[0] * scale, max(1, round(constants[1] * scale)), constants[2]
    blurred = _blurred(pixels, sigma)
    count, height, width, _ = pixels.shape
    rows, columns = np.arange(height - reach, reach, -1), np.arange(width - reach, reach, -1)
    shape = (num_rounds, len(rows), len(columns), 2)
    steps = np.stack([draws.integers(-reach, reach, size=shape) for draws in generators])
    everyone = np.arange(count)
    for number in range(num_rounds):
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                other_row, other_column = (steps[:, number, i, j] + (row, column)).T
                kept = blurred[:, row, column].copy()
                blurred[:, row, column] = blurred[everyone, other_row, other_column]
                blurred[everyone, other_row, other_column] = kept
    return _blurred(blurred, sigma)


def _blurred(pixels: Pixels, sigma: float) -> Pixels:
    return ndimage.gaussian_filter(pixels, (0, sigma, sigma, 0), mode="nearest")


def motion_blur(
    pixels: Pixels, constants: tuple[float, float], scale: float, generators: Sequence[Generator]
) -> Pixels:
    """Moves along a line, up to 45 degrees from the horizontal, whose end fades."""
    angles = [draws.uniform(-45, 45) for draws in generators]
    radius, sigma = constants[0] * scale, constants[1] * scale
    return np.stack([moved(image, radius, sigma, angle) for image, angle in zip(pixels, angles, strict=True)])


def zoom_blur(pixels: Pixels, constants: tuple[float, float], scale: float, generators: Sequence[Generator]) -> Pixels:
    """The mean of an image and of its centre, ever nearer."""
    factors = np.arange(1, *constants)
    total = pixels.copy()
    for factor in factors:
        total += clipped_zoom(pixels, float(factor))[:, : pixels.shape[1], : pixels.shape[2]]
    return total / (len(factors) + 1)


def brightness(pixels: Pixels, more: float, scale: float, generators: Sequence[Generator]) -> Pixels:
    """Raises the value of hue, saturation and value."""
    value = pixels.max(3, keepdims=True)
    wanted = (value + more).clip(0, 1)
    return np.where(value > 0, pixels * wanted / np.maximum(value, 1e-12), wanted).astype(np.float32)


def contrast(pixels: Pixels, share: float, scale: float, generators: Sequence[Generator]) -> Pixels:
    """Brings each channel nearer to its mean."""
    mean = pixels.mean((1, 2), keepdims=True)
    return (pixels - mean) * share + mean


def elastic_transform(
    pixels: Pixels, constants: tuple[float, float, float], scale: float, generators: Sequence[Generator]
) -> Pixels:
    """Moves each pixel by a smooth field, after an affine map of the whole; lengths are shares of the side."""
    side = pixels.shape[1]
    reference = round(side / scale)  # the field is drawn at the paper's size
    strength, sigma, shift = (constant * reference for constant in constants)
    rows, columns = np.mgrid[:side, :side]
    found = []
    for image, draws in zip(pixels, generators, strict=True):
        corners = np.array([[-1.0, -1], [1, -1], [-1, 1]]) * (reference // 3) + reference // 2
        ends = corners + draws.uniform(-shift, shift, size=corners.shape)
        affine = np.linalg.solve(np.hstack([ends, np.ones((3, 1))]), corners)  # [3, 2]: from an image to its source
        fields = []
        for _ in range(2):
            noise = draws.uniform(-1, 1, size=(reference, reference))
            field = ndimage.gaussian_filter(noise, sigma, mode="reflect", truncate=3) * strength
            fields.append(field if reference == side else ndimage.zoom(field, side / reference, order=1))
        there = np.stack([rows / scale, columns / scale, np.ones_like(rows)], -1) @ affine
        source = [(there[..., axis] + fields[axis][:side, :side]) * scale for axis in range(2)]
        layers = [ndimage.map_coordinates(layer, source, order=1, mode="reflect") for layer in image.transpose(2, 0, 1)]
        found.append(np.stack(layers, -1))
    return np.stack(found)


def _through_pillow(pixels: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    found = []
    for image in np.rint(pixels * 255).astype(np.uint8):
        changed = np.asarray(change(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)))
        found.append(changed.reshape(image.shape))
    return np.stack(found).astype(np.float32) / 255


def pixelate(pixels: Pixels, share: float, scale: float, generators: Sequence[Generator]) -> Pixels:
    """Makes images smaller, and larger again without smoothing."""
    side = pixels.shape[1]
    small = max(1, int(side * share))

    def change(image: Image.Image) -> Image.Image:
        smaller = image.resize((small, small), Image.Resampling.BOX)
        return smaller.resize((side, side), Image.Resampling.NEAREST)

    return _through_pillow(pixels, change)


def jpeg_compression(pixels: Pixels, quality: int, scale: float, generators: Sequence[Generator]) -> Pixels:
    """Stores images as JPEG of a low quality."""

    def change(image: Image.Image) -> Image.Image:
        stored = io.BytesIO()
        image.save(stored, "JPEG", quality=quality)
        return Image.open(stored)

    return _through_pillow(pixels, change)


# Severities from 1 to 5: of the paper's make_imagenet_c.py (elastic_transform as the package imagecorruptions has it),
# and of its make_cifar_c.py.
CORRUPTIONS = {
    "gaussian_noise": Corruption(
        "noise", gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38), (0.04, 0.06, 0.08, 0.09, 0.10)
    ),
    "shot_noise": Corruption("noise", shot_noise, (60, 25, 12, 5, 3), (500, 250, 100, 75, 50)),
    "impulse_noise": Corruption("noise", impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27), (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": Corruption(
        "blur", defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    ),
    "glass_blur": Corruption(
        "blur", glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    ),
    "motion_blur": Corruption(
        "blur", motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    ),
    "zoom_blur": Corruption(
        "blur", zoom_blur, ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    ),
    "snow": Corruption("weather", weather.snow, weather.SNOW_LARGE, weather.SNOW_SMALL),
    "frost": Corruption("weather", frost.frost, frost.FROST_LARGE, frost.FROST_SMALL),
    "fog": Corruption("weather", weather.fog, weather.FOG_LARGE, weather.FOG_SMALL),
    "brightness": Corruption("weather", brightness, (0.1, 0.2, 0.3, 0.4, 0.5), (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": Corruption("digital", contrast, (0.4, 0.3, 0.2, 0.1, 0.05), (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic_transform": Corruption(
        "digital", elastic_transform, tuple((share, 0.01, 0) for share in (0.0625, 0.08125, 0.10625, 0.125, 0.15)),
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": Corruption("digital", pixelate, (0.6, 0.5, 0.4, 0.3, 0.25), (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": Corruption("digital", jpeg_compression, (25, 18, 15, 10, 7), (80, 65, 58, 50, 40)),
}  # fmt: skip
