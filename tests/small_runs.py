"""A run of a moment, for tests of what comes after training, and image files to ask it about."""

from pathlib import Path

from PIL import Image

from leyden.config import Origin
from leyden.data import Digits
from leyden.signals import Signals
from leyden.train import train
from running import TINY, compose_config


def small_run(directory: Path, *overrides: str) -> Path:
    """Trains a small network on digits for an epoch; returns the run's directory."""
    has_backbone = any(word.startswith("backbone=") for word in overrides)
    tiny = [word for word in TINY if not (has_backbone and word.startswith("backbone"))]
    words = [*tiny, "epochs=1", "pictures=false", "data.train_fraction=0.3", *overrides]
    with Signals() as signals:
        train(compose_config(*words), directory, Origin(words), signals)
    return directory


def write_images(directory: Path, count: int, begin: int = 0) -> list[Path]:
    """Digits as PNG files, the first of them as JPEG."""
    directory.mkdir(parents=True, exist_ok=True)
    images = Digits().load(directory)[0]
    paths = [directory / f"{number:03}.{'png' if number else 'jpg'}" for number in range(begin, begin + count)]
    for number, path in enumerate(paths, begin):
        Image.fromarray(images[number, 0].numpy()).resize((30, 20)).save(path)
    return paths
