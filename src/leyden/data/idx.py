"""Sources > **IDX files** > images: reads the gzipped format of MNIST and its relatives straight into one tensor."""

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from leyden.lock import is_held, one_at_a_time

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
PARTS = ("train", "t10k")
RENEW = "delete the file or install it again"


@dataclass(frozen=True)
class IdxFiles:
    """Where the four files of a set may be; the first of `directories` is where they are downloaded to."""

    name: str
    torchvision_class: str  # knows the addresses and checksums
    directories: tuple[Path, ...]
    ways: str  # to get the files without a download

    def find(self) -> Path:
        """The directory that holds the files, after a download where none does.

        Raises:
            ValueError: nowhere, and the download failed; names the ways to get them.
        """
        for directory in self.directories:
            if _is_whole(directory) and not is_held(directory):
                return directory
        with one_at_a_time(self.directories[0]):  # of the runs of a study that begin together
            if not _is_whole(self.directories[0]):
                self._download()
        return self.directories[0]

    def _download(self) -> None:
        from torchvision import datasets
        from torchvision.datasets.utils import download_url

        kind = getattr(datasets, self.torchvision_class)
        root = self.directories[0]
        for name, md5 in kind.resources:
            errors = []
            for mirror in kind.mirrors:
                try:
                    download_url(mirror + name, root=str(root), filename=name, md5=md5)
                    break
                except (OSError, RuntimeError) as error:  # no network, or a wrong checksum
                    errors.append(str(error))
            else:
                places = " or ".join(str(directory) for directory in self.directories)
                raise ValueError(
                    f"{self.name} is not in {places} and {name} could not be downloaded ({errors[-1]}): "
                    f"{self.ways.format(root=root)}"
                )


def file_names() -> list[str]:
    """The four files of an IDX set."""
    return [f"{part}-{kind}-ubyte.gz" for part in PARTS for kind in ("images-idx3", "labels-idx1")]


def _is_whole(directory: Path) -> bool:
    return all((directory / name).is_file() for name in file_names())


def read_idx_set(files: IdxFiles, image_size: int) -> tuple[Tensor, Tensor, int]:
    """Images uint8 [N, 1, H, W], labels int64 [N] and the number of training images, which come first."""
    directory = files.find()
    counts = [read_header(directory / f"{part}-images-idx3-ubyte.gz", dimensions=3)[0] for part in PARTS]
    images = np.empty((sum(counts), image_size, image_size), dtype=np.uint8)
    labels = np.empty(sum(counts), dtype=np.uint8)
    begin = 0
    for part, count in zip(PARTS, counts, strict=True):
        read_into(directory / f"{part}-images-idx3-ubyte.gz", images[begin : begin + count])
        read_into(directory / f"{part}-labels-idx1-ubyte.gz", labels[begin : begin + count])
        begin += count
    return torch.from_numpy(images)[:, None], torch.from_numpy(labels).long(), counts[0]


def read_header(path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape that an IDX file says it holds."""
    with gzip.open(path) as file:
        head = _read(file, 4 + 4 * dimensions, path)
    magic, *shape = struct.unpack(f">{1 + dimensions}I", head)
    if magic != 0x0800 + dimensions:
        raise ValueError(f"{path} is no IDX file of {dimensions} dimensions (it begins with {magic:#010x}): {RENEW}")
    return tuple(shape)


def read_into(path: Path, array: np.ndarray) -> None:
    """Fills a contiguous uint8 array from a gzipped IDX file of the same shape; gzip's checksum is verified.

    Raises:
        ValueError: another shape, truncated, or damaged; names the file and what was expected.
    """
    shape = read_header(path, array.ndim)
    if shape != array.shape:
        raise ValueError(f"{path} holds an array of shape {shape}, expected {array.shape}: {RENEW}")
    flat = array.reshape(-1)
    with gzip.open(path) as file:
        _read(file, 4 + 4 * array.ndim, path)
        done = 0
        while done < len(flat):
            data = _read(file, min(2**20, len(flat) - done), path)
            flat[done : done + len(data)] = np.frombuffer(data, dtype=np.uint8)
            done += len(data)
        if _read(file, 1, path, exact=False):  # also makes gzip verify its checksum
            raise ValueError(f"{path} holds more than the {array.nbytes:,} bytes that its header announces: {RENEW}")


def _read(file: gzip.GzipFile, size: int, path: Path, exact: bool = True) -> bytes:
    try:
        data = file.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or has a wrong checksum ({error}): {RENEW}") from error
    if exact and len(data) < size:
        raise ValueError(f"{path} is truncated: {size - len(data):,} bytes are missing: {RENEW}")
    return data
