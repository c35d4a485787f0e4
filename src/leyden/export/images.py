"""Data > **real images** > parity: those that a run was tested with, or, where they are gone, photographs.

Shapes: N images, C channels, S pixels of a side as stored.
"""

import contextlib
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from hydra.errors import HydraException
from PIL import Image
from torch import Tensor

from leyden.build import instantiate
from leyden.data import ImageDataModule
from leyden.data.facts import DataFacts
from leyden.errors import explain
from leyden.run import working_directory
from leyden.trained import Trained

log = logging.getLogger(__name__)

NUM_IMAGES = 128
SMALLEST_PIECE = 64  # pixels of a side of a piece of a photograph


class RealImages(NamedTuple):
    """Images to compare answers on, and the data that they are of, where it is there."""

    images: Tensor  # uint8 [N, C, S, S]
    words: str  # which they are
    data: ImageDataModule | None
    place: Path  # that the paths of its data count from


def real_images(network: Trained) -> RealImages:
    """Up to 128 images of a run's test, evenly spread over it; pieces of photographs where its data is gone."""
    place = working_directory(network.directory)
    try:
        with contextlib.chdir(place):
            data: ImageDataModule = instantiate(network.config.data)
            data.setup("fit")
            if data.fingerprint != network.run["data"]["fingerprint"]:
                raise ValueError(f"{data.name} has other images than the run was trained with")
            places = torch.linspace(0, len(data.test_indices) - 1, min(NUM_IMAGES, len(data.test_indices))).long()
            images = data.images_at(data.test_indices[places]).images
    except (ValueError, OSError, ImportError, HydraException) as error:
        log.warning("the run's data is not here (%s): photographs are taken in its place", explain(error))
        return RealImages(photographs(network.facts, NUM_IMAGES), "pieces of photographs", None, place)
    return RealImages(images.cpu(), f"test images of {data.name}", data, place)


def photographs(facts: DataFacts, count: int) -> Tensor:
    """Squares of every size and place, the same ones each time, of the photographs that come with scikit-learn.

    Raises:
        ValueError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        raise ValueError(
            "photographs to compare on need the package scikit-learn: pip install 'leyden[export]'"
        ) from error
    photos = [Image.fromarray(np.asarray(photo)) for photo in load_sample_images()["images"]]
    generator, size, pieces = np.random.default_rng(0), facts.stored_size, []
    for number in range(count):
        photo = photos[number % len(photos)]
        side = int(generator.integers(SMALLEST_PIECE, min(photo.size), endpoint=True))
        left, top = (int(generator.integers(length - side, endpoint=True)) for length in photo.size)
        box = (left, top, left + side, top + side)
        piece = photo.resize((size, size), Image.Resampling.BICUBIC, box).convert("L" if facts.channels == 1 else "RGB")
        channels = torch.from_numpy(np.array(piece)).view(size, size, -1).permute(2, 0, 1)
        pieces.append(channels[torch.arange(facts.channels) % len(channels)])
    return torch.stack(pieces)
