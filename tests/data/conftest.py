"""Small files that the tests of the readers share: IDX files and tar shards."""

import gzip
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from numpy.typing import NDArray
from PIL import Image

from leyden.data import Digits


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Writes the format as its description says: magic number, sizes, bytes."""
    head = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


@pytest.fixture
def write_set(tmp_path: Path) -> Callable[..., Path]:
    """Writes a set of 60 training and 20 test images below tmp_path/<name>; returns their directory."""

    def write(name: str = "fashion_mnist", size: int = 28, labels: NDArray[np.uint8] | None = None) -> Path:
        directory = tmp_path / name
        directory.mkdir()
        generator = np.random.default_rng(0)
        for part, count in {"train": 60, "t10k": 20}.items():
            images = generator.integers(256, size=(count, size, size), dtype=np.uint8)
            write_idx(directory / f"{part}-images-idx3-ubyte.gz", images)
            values = np.arange(count, dtype=np.uint8) % 10 if labels is None else labels[:count]
            write_idx(directory / f"{part}-labels-idx1-ubyte.gz", values)
        return directory

    return write


@pytest.fixture
def write_shards(tmp_path: Path) -> Callable[..., Path]:
    """Writes digits `begin` to `end` with `webdataset` as <directory>/<part>-<number>.tar; returns the directory.

    Each holds `size` of them or less: <index>.png, and <index>.cls or <index>.json with what `label` makes of it.
    """

    def write(
        part: str = "train",
        begin: int = 0,
        end: int = 300,
        size: int = 70,
        name: str = "shards",
        kind: str = "cls",
        label: Callable[[int], Any] = str,
    ) -> Path:
        images, labels = Digits().load(tmp_path)[:2]
        (tmp_path / name).mkdir(exist_ok=True)
        for first in range(begin, end, size):
            path = tmp_path / name / f"{part}-{first:04}.tar"
            with path.open("wb") as stream, webdataset.TarWriter(stream) as writer:
                for number in range(first, min(first + size, end)):
                    file = BytesIO()
                    Image.fromarray(images[number, 0].numpy()).save(file, "PNG")
                    writer.write({"__key__": f"{number:04}", "png": file.getvalue(), kind: label(int(labels[number]))})
        return tmp_path / name

    return write
