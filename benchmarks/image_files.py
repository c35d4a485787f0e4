"""Image files: from the disk to normalised batches, ours against the data sets and transforms that everyone uses.

Real pixels: ELPV's photographs of solar cells (the package `elpv-dataset`), and JPEG files of 500 x 375 cut out of
scikit-learn's two photographs.
"""

import contextlib
import functools
import itertools
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.measure import threads
from benchmarks.processes import said_by_program
from leyden.augment import Augmentation, HorizontalFlip, PaddedCrop, VerticalFlip
from leyden.data import Files, ImageDataModule
from leyden.data.image_file import read_image
from leyden.data.sources import Task
from leyden.hardware import keep_freed_memory

IMAGE_SIZE, BATCH_SIZE, NUM_WORKERS, MARGIN = 224, 64, 2, 1.07
NUM_JPEGS, NUM_DISTINCT = 10_000, 200
SMALL_BATCH, NUM_STEPS = 16, 12  # of the network, which takes a second for a step
NUM_CORES = 2
MEAN = STD = (0.5, 0.5, 0.5)  # of the others, which see colours


class Photographs:
    """The files below a directory, in colours or, with one channel, grey."""

    name = "photographs"
    task: Task = "single_label"
    image_size = IMAGE_SIZE

    def __init__(self, directory: Path, channels: int = 3) -> None:
        self.directory, self.channels = directory, channels
        self.mean = self.std = (0.5,) * channels
        self.paths = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.??g"))
        self.class_names: tuple[str, ...] = ("even", "odd")

    def load(self, root: Path) -> Files:
        """Every other one is of the other class: what is in a label changes no timing."""
        read = functools.partial(read_image, image_size=IMAGE_SIZE, channels=self.channels)
        return Files(self.directory, self.paths, torch.arange(len(self.paths)) % 2, read)


def elpv() -> Path:
    """Where the package has its 2,624 PNG files."""
    import elpv_dataset

    return Path(elpv_dataset.__file__).parent / "data" / "images"


@contextlib.contextmanager
def jpegs(num_images: int = NUM_JPEGS, size: tuple[int, int] = (500, 375)) -> Iterator[Path]:
    """A directory with two classes of JPEG files, all different files, of which some hold the same picture."""
    from sklearn.datasets import load_sample_images

    pictures = [Image.fromarray(picture) for picture in load_sample_images().images]
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as directory:
        for number in range(min(num_images, NUM_DISTINCT)):
            picture = pictures[number % 2]
            width = int(generator.integers(300, 560))
            left, top = int(generator.integers(picture.width - width)), int(generator.integers(picture.height // 3))
            box = (left, top, left + width, min(picture.height, top + width * 3 // 4))
            path = Path(directory, str(number % 2), f"{number:06}.jpg")
            path.parent.mkdir(exist_ok=True)
            picture.resize(size, Image.Resampling.BICUBIC, box).save(path, quality=90)
        for number in range(NUM_DISTINCT, num_images):
            original = Path(directory, str(number % 2), f"{number % NUM_DISTINCT:06}.jpg")
            original.with_name(f"{number:06}.jpg").write_bytes(original.read_bytes())
        yield Path(directory)


def data_of(directory: Path, cache: str, cache_directory: str = "", channels: int = 3) -> ImageDataModule:
    """Our data, with a margin for crops."""
    return ImageDataModule(
        Photographs(directory, channels), BATCH_SIZE, 0, num_workers=NUM_WORKERS, margin=MARGIN, cache=cache,
        cache_directory=cache_directory,
    )  # fmt: skip


def augmentation(data: ImageDataModule) -> Augmentation:
    """Crops, flips and the normalisation that every image gets."""
    operations = {"crop": PaddedCrop(), "flip": HorizontalFlip(), "turn": VerticalFlip()}
    mean, std = data.source.mean, data.source.std
    return Augmentation(operations, num_classes=2, mean=mean, std=std, seed=0, image_size=IMAGE_SIZE)


def ours(data: ImageDataModule, num_images: int, num_threads: int = 1) -> float:
    """Images per second, cropped, flipped and normalised, of an epoch that is not the first."""
    keep_freed_memory()
    augment, loader = augmentation(data), data.train_dataloader()

    def batches() -> Iterator[Tensor]:
        for epoch in itertools.count():
            loader.sampler.set_epoch(epoch)
            for number, batch in enumerate(loader):
                yield augment(batch, epoch, number)[0]

    return speed(batches(), num_images, num_threads)


def speed(batches: Iterator[Tensor], num_images: int, num_threads: int = 1) -> float:
    """Images per second, after those that were made ready while workers started; where there are some, they have the
    cores, and this process one thread.
    """
    with threads(num_threads):
        for _ in range(2 * NUM_WORKERS + 1):
            next(batches)
        count, begin = 0, time.perf_counter()
        while count < num_images:
            count += len(next(batches))
        return count / (time.perf_counter() - begin)


class Pictures(Dataset[tuple[Tensor, int]]):
    """What one writes for a directory without classes."""

    def __init__(self, directory: Path, transform: Callable[[Image.Image], Tensor]) -> None:
        self.paths, self.transform = sorted(directory.glob("*.png")), transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.open(self.paths[index]).convert("RGB")), 0


def usual_loader(pictures: Dataset[tuple[Tensor, int]]) -> Iterator[Tensor]:
    """Batches of a DataLoader, epoch after epoch."""
    loader = DataLoader(pictures, BATCH_SIZE, shuffle=True, num_workers=NUM_WORKERS, drop_last=True)
    while True:
        for images, _ in loader:
            yield images


def timm_of_elpv() -> Dataset[tuple[Tensor, int]]:
    """PNG decode and timm's transform for training, which changes no colours here: ours crops and flips."""
    no_colours: Any = None  # which timm takes, and does not declare
    transform = create_transform(IMAGE_SIZE, is_training=True, mean=MEAN, std=STD, vflip=0.5, color_jitter=no_colours)
    return Pictures(elpv(), transform)


def torchvision_of(directory: Path) -> Dataset[tuple[Tensor, int]]:
    """The example that torchvision's users begin with."""
    steps = [
        transforms.RandomResizedCrop(IMAGE_SIZE), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]  # fmt: skip
    return ImageFolder(str(directory), transforms.Compose(steps))


def from_the_cache(channels: int) -> tuple[float, float]:
    """ELPV, decoded before, and as PNG files each time."""
    with tempfile.TemporaryDirectory() as directory:
        data = data_of(elpv(), "disk", directory, channels)
        data.prepare_data()
        return ours(data, 12_000, NUM_CORES), speed(usual_loader(timm_of_elpv()), 1200)


def first_epoch(channels: int) -> tuple[float, float]:
    """ELPV's images per second from nothing to the end of the first epoch, this process on one thread."""
    with threads(1):
        usual = _first_epoch_of_timm()
        return _first_epoch_of_ours(channels), usual


def _first_epoch_of_timm() -> float:
    pictures = timm_of_elpv()
    begin = time.perf_counter()
    batches = usual_loader(pictures)
    for _ in range(len(pictures) // BATCH_SIZE):  # type: ignore[arg-type]
        next(batches)
    return len(pictures) // BATCH_SIZE * BATCH_SIZE / (time.perf_counter() - begin)  # type: ignore[arg-type]


def _first_epoch_of_ours(channels: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        begin = time.perf_counter()
        data = data_of(elpv(), "auto", directory, channels)
        data.prepare_data()
        data.train_indices = torch.arange(len(data.labels))
        augment = augmentation(data)
        count = sum(len(augment(batch, 0, number)[0]) for number, batch in enumerate(data.train_dataloader()))
        return count / (time.perf_counter() - begin)


def uncached_jpegs() -> tuple[float, float]:
    """A folder of JPEG files, decoded in each epoch."""
    with jpegs() as directory:
        data = data_of(directory, "none")
        data.setup("fit")
        return ours(data, 3000), speed(usual_loader(torchvision_of(directory)), 3000)


def training_and_network_alone() -> tuple[float, float]:
    """Images per second of training steps of tf_efficientnet_lite0: with batches of the cache, and with one for all.

    The steps of both take turns, so that neighbours on the machine slow both alike.
    """
    keep_freed_memory()
    network = timm.create_model("tf_efficientnet_lite0", num_classes=2).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()

    with tempfile.TemporaryDirectory() as directory:
        data = data_of(elpv(), "disk", directory)
        data.batch_size = SMALL_BATCH
        augment = augmentation(data)
        data.prepare_data()
        batches = enumerate(data.train_dataloader())
        _, first = next(batches)
        fixed = augment(first, 0, 0)
        step(*fixed)
        seconds = [0.0, 0.0]
        for _ in range(NUM_STEPS):
            begin = time.perf_counter()
            number, batch = next(batches)
            step(*augment(batch, 0, number))
            middle = time.perf_counter()
            step(*fixed)
            seconds[0] += middle - begin
            seconds[1] += time.perf_counter() - middle
    return SMALL_BATCH * NUM_STEPS / seconds[0], SMALL_BATCH * NUM_STEPS / seconds[1]


MEMORY_OF_EPOCHS = """
import sys
from pathlib import Path
import torch, pytorch_lightning, leyden.train
import torchvision, timm.data
from benchmarks import image_files
from benchmarks.processes import held_by_all
if __name__ == "__main__":
    imports = held_by_all()
    image_files.IMAGE_SIZE = image_files.Photographs.image_size = int(sys.argv[4])
    data = image_files.data_of(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    data.prepare_data()
    data.setup("fit")
    loader = data.train_dataloader()
    highest = []
    for epoch in range(int(sys.argv[5])):
        loader.sampler.set_epoch(epoch)
        highest.append(max(held_by_all() for number, batch in enumerate(loader) if number % 10 == 0))
    print("measured", max(highest) - imports, highest[-1] - highest[1])
"""


def memory(directory: Path, cache: str, image_size: int, num_epochs: int) -> tuple[float, float]:
    """MiB above the imports at the highest, and by how much the last epoch's highest is above the second's.

    Workers are included; at an epoch's end some of them may be gone, or not yet.
    """
    with tempfile.TemporaryDirectory() as cached:
        said = said_by_program(MEMORY_OF_EPOCHS, str(directory), cache, cached, str(image_size), str(num_epochs))
    peak, growth = re.findall(r"measured (\S+) (\S+)", said)[0]
    return float(peak), float(growth)


def memory_of_uncached_jpegs() -> tuple[float, float]:
    """10,000 JPEG files, decoded in each of four epochs."""
    with jpegs() as directory:
        return memory(directory, "none", IMAGE_SIZE, 4)


def memory_of_the_disk_cache() -> tuple[float, float]:
    """100,000 small JPEG files, decoded once to 64 pixels, for six epochs: 1.4 GB."""
    with jpegs(100_000, (96, 72)) as directory:
        return memory(directory, "disk", 64, 6)
