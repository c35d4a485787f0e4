"""Shards in two workers against reading the same tar files and decoding what is in them alone; images per second."""

import io
import multiprocessing
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from leyden.data import DecodingLoader, Shards
from leyden.data.image_file import read_image

NUM_SHARDS, IMAGES_PER_SHARD, WIDTH, HEIGHT, IMAGE_SIZE, BATCH_SIZE, WORKERS = 10, 400, 500, 375, 224, 64, 2


@contextmanager
def photographs() -> Iterator[Path]:
    """A directory of shards whose JPEGs are cut from two photographs that scikit-learn ships."""
    pictures = [Image.fromarray(picture) for picture in load_sample_images().images]
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as directory:
        for shard in range(NUM_SHARDS):
            with tarfile.open(Path(directory) / f"train-{shard:03}.tar", "w") as tar:
                for number in range(IMAGES_PER_SHARD):
                    left, top = generator.integers(0, (640 - WIDTH, 427 - HEIGHT))
                    file = io.BytesIO()
                    box = (left, top, left + WIDTH, top + HEIGHT)
                    pictures[number % 2].crop(box).save(file, "JPEG", quality=90)
                    for suffix, contents in {"jpg": file.getvalue(), "cls": b"%d" % (number % 2)}.items():
                        member = tarfile.TarInfo(f"{number:05}.{suffix}")
                        member.size = len(contents)
                        tar.addfile(member, io.BytesIO(contents))
        yield Path(directory)


def ours(directory: Path) -> float:
    """An epoch of the loader, shuffled, from the index that is there; its workers have started."""
    source = Shards(str(directory), IMAGE_SIZE, mean=[0.5] * 3, std=[0.5] * 3)
    files = source.load(directory)
    shape = (3, IMAGE_SIZE, IMAGE_SIZE)
    loader = DecodingLoader(files, shape, torch.arange(len(files.paths)), BATCH_SIZE, seed=0, num_workers=WORKERS)
    next(iter(loader))
    begin = time.perf_counter()
    count = sum(len(batch.labels) for batch in loader)
    return count / (time.perf_counter() - begin)


def alone(directory: Path) -> float:
    """Two processes read their half of the shards from end to end and decode; nothing is sent anywhere."""
    shards = sorted(directory.glob("*.tar"))
    barrier = multiprocessing.Barrier(WORKERS + 1)
    halves = [
        multiprocessing.Process(target=_decode, args=(shards[worker::WORKERS], barrier)) for worker in range(WORKERS)
    ]
    for process in halves:
        process.start()
    barrier.wait()
    begin = time.perf_counter()
    for process in halves:
        process.join()
    assert all(process.exitcode == 0 for process in halves)
    return NUM_SHARDS * IMAGES_PER_SHARD / (time.perf_counter() - begin)


def _decode(shards: Sequence[Path], barrier: Barrier) -> None:
    torch.set_num_threads(1)
    barrier.wait()
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None and member.name.endswith(".jpg"):
                    read_image(io.BytesIO(file.read()), IMAGE_SIZE, 3)


def speeds() -> tuple[float, float]:
    """Both sides, one after the other, on shards that are in the page cache."""
    with photographs() as directory:
        alone(directory)
        return ours(directory), alone(directory)
