"""Config > **data**: the data sets, each read into one uint8 tensor [N, C, H, W], or left in its files.

A source knows its facts (classes, shape, mean and standard deviation of the training part) before anything is read,
so that the network is built, and its mistakes are found, first.
"""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from leyden.config import require
from leyden.data.idx import DEBIAN_FASHION_MNIST, IdxFiles, read_idx_set
from leyden.lock import one_at_a_time

TRAINING, VALIDATION, TEST = range(3)
OPEN: Callable[[str], BinaryIO] = functools.partial(open, mode="rb")  # type: ignore[assignment]
PART_NAMES = {
    "train": TRAINING, "training": TRAINING, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION,
    "test": TEST, "testing": TEST,
}  # fmt: skip

# What is learnt of an image, and so what its label is: one of K classes, int64 [N]; any number of them, float32 [N, K]
# of zeros and ones; or a number, float32 [N].
Task = Literal["single_label", "multi_label", "regression"]


class Images(NamedTuple):
    """A data set in memory, with its own division into parts, where it has one."""

    images: Tensor  # uint8 [N, C, H, W]
    labels: Tensor  # as the task says
    parts: Tensor | None = None  # int64 [N]: TRAINING, VALIDATION or TEST
    groups: Tensor | None = None  # int64 [N]: images of a group are never on two sides of a split
    weights: Tensor | None = None  # float64 [N]: how often an image is drawn in training, beside the others


class Files(NamedTuple):
    """A data set whose images are decoded when they are needed; the rest as in `Images`."""

    directory: Path
    paths: Sequence[str]  # of N images, below the directory
    labels: Tensor  # as the task says
    # The image of a file, by its `path`: uint8 [C, H, W]; called in other processes, so it can be pickled; for images
    # with a margin it is given another `image_size=`.
    read: Callable[..., Tensor]
    parts: Tensor | None = None
    groups: Tensor | None = None
    weights: Tensor | None = None
    digest: str | None = None  # of paths, sizes and labels, where the source has one; or else each file is asked
    open_file: Callable[[str], BinaryIO] = OPEN  # for who wants more than the pixels

    def path(self, index: int) -> str:
        """Where an image lies, as `read` and `open_file` take it."""
        return os.path.join(self.directory, self.paths[index])


def official_parts(num_train: int, num_images: int) -> Tensor:
    """The parts of a data set whose first `num_train` images are for training, the others for the test."""
    return torch.where(torch.arange(num_images) < num_train, TRAINING, TEST)


def check_facts(image_size: int, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuses facts that no images can have, of a source that is told them.

    Raises:
        ValueError: names the key and what it may be.
    """
    require("data.source.image_size", image_size, image_size >= 1, "1 or more")
    if channels not in (1, 3):
        raise ValueError(f"data.source.channels={channels}: expected 1 (grey) or 3 (RGB)")
    for name, values in {"mean": mean, "std": std}.items():
        if len(values) != channels:
            raise ValueError(
                f"data.source.{name} has {len(values)} numbers, data.source.channels={channels}: give as many"
            )
    require("data.source.std", list(std), min(std) > 0, "numbers above 0")


class Source(Protocol):
    """What a data set offers: its facts as attributes, its images from `load`."""

    name: str
    task: Task
    class_names: tuple[str, ...]  # none for regression
    channels: int
    image_size: int
    mean: tuple[float, ...]  # of the training part, for pixels in [0, 1]
    std: tuple[float, ...]

    def load(self, root: Path) -> Images | Files:
        """Reads the images, from files below `root` where it needs any, or says in which files they are."""
        ...


class Digits:
    """1,797 handwritten digits, 8 x 8, in the package: scikit-learn's `load_digits`, scaled from 0–16 to 0–255.

    Test part of the Optical Recognition of Handwritten Digits (E. Alpaydin and C. Kaynak 1998, UCI, CC BY 4.0).
    """

    name = "digits"
    task: Task = "single_label"
    class_names = tuple(str(digit) for digit in range(10))
    channels, image_size = 1, 8
    mean, std = (0.3053,), (0.3764,)

    def load(self, root: Path) -> Images:
        """Reads the embedded file; `root` is not used."""
        with np.load(Path(__file__).with_name("digits.npz")) as stored:
            images, labels = torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"])
        return Images(images, labels.long())


class FashionMNIST:
    """70,000 photographs of clothing, 28 x 28 grey (Xiao et al. 2017)."""

    name = "fashion_mnist"
    task: Task = "single_label"
    class_names = (
        "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    channels, image_size = 1, 28
    mean, std = (0.2860,), (0.3530,)

    def load(self, root: Path) -> Images:
        """Reads Debian's package, or `root`/fashion_mnist, where the files are downloaded to when absent."""
        files = IdxFiles(
            name=self.name,
            torchvision_class="FashionMNIST",
            directories=(root / self.name, DEBIAN_FASHION_MNIST),
            ways="install Debian's package dataset-fashion-mnist, or put its four .gz files into {root}",
        )
        return _with_test_part(*read_idx_set(files, self.image_size))


class MNIST:
    """70,000 handwritten digits, 28 x 28 grey (LeCun et al. 1998)."""

    name = "mnist"
    task: Task = "single_label"
    class_names = tuple(str(digit) for digit in range(10))
    channels, image_size = 1, 28
    mean, std = (0.1307,), (0.3081,)

    def load(self, root: Path) -> Images:
        """Reads `root`/mnist, where the files are downloaded to when absent."""
        files = IdxFiles(
            name=self.name,
            torchvision_class="MNIST",
            directories=(root / self.name,),
            ways="run once with a network, or put its four .gz files into {root}",
        )
        return _with_test_part(*read_idx_set(files, self.image_size))


class CIFAR10:
    """60,000 colour photographs, 32 x 32, of ten classes (Krizhevsky 2009)."""

    name = "cifar10"
    task: Task = "single_label"
    class_names = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    channels, image_size = 3, 32
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

    def load(self, root: Path) -> Images:
        """Reads torchvision's files below `root`/cifar10, downloading them when absent."""
        return _read_cifar("CIFAR10", root / self.name)


class CIFAR100:
    """60,000 colour photographs, 32 x 32, of a hundred classes (Krizhevsky 2009)."""

    name = "cifar100"
    task: Task = "single_label"
    # fmt: off
    class_names = (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
        "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
        "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
        "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
        "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
        "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
        "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
        "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
        "willow_tree", "wolf", "woman", "worm",
    )
    # fmt: on
    channels, image_size = 3, 32
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)

    def load(self, root: Path) -> Images:
        """Reads torchvision's files below `root`/cifar100, downloading them when absent."""
        return _read_cifar("CIFAR100", root / self.name)


def _with_test_part(images: Tensor, labels: Tensor, num_train: int) -> Images:
    return Images(images, labels, official_parts(num_train, len(labels)))


def _read_cifar(torchvision_class: str, directory: Path) -> Images:
    from torchvision import datasets

    kind = getattr(datasets, torchvision_class)
    try:
        if not _is_whole(kind, directory):
            with one_at_a_time(directory):  # of the runs of a study that begin together
                if not _is_whole(kind, directory):
                    kind(str(directory), download=True)
        # torchvision holds every file against its MD5 before it unpickles one
        parts = [kind(str(directory), train=train) for train in (True, False)]
    except (OSError, RuntimeError) as error:  # no network, or a download whose checksum does not match
        raise ValueError(
            f"{torchvision_class} is not whole in {directory} and could not be downloaded ({error}): "
            f"run once with a network, or unpack {kind.filename} (MD5 {kind.tgz_md5}) there"
        ) from error
    num_images = sum(len(part.data) for part in parts)
    images = torch.empty(num_images, 3, 32, 32, dtype=torch.uint8)
    labels = torch.empty(num_images, dtype=torch.int64)
    begin = 0
    for part in parts:
        end = begin + len(part.data)
        images[begin:end] = torch.from_numpy(part.data).permute(0, 3, 1, 2)
        labels[begin:end] = torch.tensor(part.targets)
        begin = end
    return Images(images, labels, official_parts(len(parts[0].data), num_images))


def _is_whole(kind: Any, directory: Path) -> bool:
    from torchvision.datasets.utils import check_integrity

    files = [*kind.train_list, *kind.test_list]
    return all(check_integrity(str(directory / kind.base_folder / name), md5) for name, md5 in files)
