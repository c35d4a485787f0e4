"""Small files that the tests of the readers share: IDX files."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


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
