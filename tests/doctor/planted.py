"""Faults planted among real photographs: every tile of a few pictures is an image, and a few are spoilt on purpose."""

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

SIDE = 64
LABELS = ("china", "flower", "hopper")
EACH = 12
LEAST_CONTRAST = 10.0  # standard deviation of the grey values of a tile that shows something


def tiles() -> list[tuple[Image.Image, str]]:
    """All whole tiles of three photographs, 192 of them, none overlapping another, each with its photograph's name."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as file:
        pictures: list[NDArray[np.uint8]] = [*load_sample_images().images, np.asarray(file.convert("RGB"))]
    found = []
    for picture, name in zip(pictures, LABELS, strict=True):
        height, width = picture.shape[:2]
        for top, left in itertools.product(range(0, height - SIDE + 1, SIDE), range(0, width - SIDE + 1, SIDE)):
            found.append((Image.fromarray(picture[top : top + SIDE, left : left + SIDE]), name))
    return found


def save_again(image: Image.Image, path: Path) -> Path:
    """As JPEG of quality 60."""
    path = path.with_suffix(".jpg")
    image.save(path, quality=60)
    return path


def save_smaller(image: Image.Image, path: Path) -> Path:
    """Resized to 90 %."""
    image.resize((round(0.9 * image.width), round(0.9 * image.height)), Image.Resampling.BICUBIC).save(path)
    return path


def save_brighter(image: Image.Image, path: Path) -> Path:
    """A fifth brighter."""
    ImageEnhance.Brightness(image).enhance(1.2).save(path)
    return path


def save_mirrored(image: Image.Image, path: Path) -> Path:
    """Mirrored from left to right."""
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    return path


COPIES: dict[str, Callable[[Image.Image, Path], Path]] = {
    "jpeg": save_again, "smaller": save_smaller, "brighter": save_brighter, "mirrored": save_mirrored,
}  # fmt: skip


class Planted(NamedTuple):
    """Where the images lie and what was done to them; names are paths below the directory."""

    directory: Path
    copies: dict[str, list[tuple[str, str]]]  # by kind: original and copy
    equal: list[tuple[str, str]]
    swapped: list[tuple[str, str]]  # equal images, the second in another class
    truncated: list[str]
    texts: list[str]
    constant: list[str]
    untouched: list[str]


def plant(directory: Path) -> Planted:
    """A folder with train/ and test/, a class for each of three photographs; tiles that show next to nothing left out.

    Of each kind of fault there are 12; the copy lies in test/, where the original is in train/.
    """
    chosen = [(tile, name) for tile, name in tiles() if np.asarray(tile.convert("L")).std() >= LEAST_CONTRAST]
    order = np.random.default_rng(0).permutation(len(chosen)).tolist()
    made = Planted(directory, {kind: [] for kind in COPIES}, [], [], [], [], [], [])
    for number, index in enumerate(order):
        tile, label = chosen[index]
        fault, place = number // EACH, f"train/{label}/{number:03}.png"
        for part in ("train", "test"):
            (directory / part / label).mkdir(parents=True, exist_ok=True)
        tile.save(directory / place)
        if fault < len(COPIES):
            kind = list(COPIES)[fault]
            path = COPIES[kind](tile, directory / f"test/{label}/{number:03}_{kind}.png")
            made.copies[kind].append((place, path.relative_to(directory).as_posix()))
        elif fault == len(COPIES):
            made.equal.append((place, _copy(tile, directory, f"test/{label}/{number:03}_equal.bmp")))
        elif fault == len(COPIES) + 1:
            other = LABELS[(LABELS.index(label) + 1) % len(LABELS)]
            made.swapped.append((place, _copy(tile, directory, f"train/{other}/{number:03}_swapped.png")))
        else:
            made.untouched.append(place)
    for number, place in enumerate(made.untouched[:EACH]):
        whole = io.BytesIO()
        with Image.open(directory / place) as image:
            image.rotate(45).save(whole, "jpeg", quality=95)
        made.truncated.append(_write(directory, f"train/flower/truncated{number}.jpg", whole.getvalue()[:-900]))
        made.texts.append(_write(directory, f"train/china/text{number}.jpg", b"no image at all"))
        colour = Image.new("RGB", (SIDE, SIDE), (10 * number, 90, 120))
        made.constant.append(_copy(colour, directory, f"train/hopper/constant{number}.png"))
    return made


def _copy(image: Image.Image, directory: Path, place: str) -> str:
    image.save(directory / place)
    return place


def _write(directory: Path, place: str, content: bytes) -> str:
    (directory / place).write_bytes(content)
    return place
