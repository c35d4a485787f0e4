"""Config > **data**: the data sets, each read into one uint8 tensor [N, C, H, W], or left in its files.

A source knows its facts (classes, shape, mean and standard deviation of the training part) before anything is read,
so that the network is built, and its mistakes are found, first.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from leyden.data.idx import DEBIAN_FASHION_MNIST, IdxFiles, read_idx_set


class Images(NamedTuple):
    """A data set in memory; `num_train` first images are its official training part, None when it has none."""

    images: Tensor  # uint8 [N, C, H, W]
    labels: Tensor  # int64 [N]
    num_train: int | None


class Files(NamedTuple):
    """A data set whose images are decoded when they are needed; `num_train` as in `Images`."""

    directory: Path
    paths: list[str]  # of N images, below the directory
    labels: Tensor  # int64 [N]
    num_train: int | None
    read: Callable[[str], Tensor]  # a file's image, uint8 [C, H, W]; called in other processes, so it can be pickled


class Source(Protocol):
    """What a data set offers: its facts as attributes, its images from `load`."""

    name: str
    class_names: tuple[str, ...]
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
    class_names = tuple(str(digit) for digit in range(10))
    channels, image_size = 1, 8
    mean, std = (0.3053,), (0.3764,)

    def load(self, root: Path) -> Images:
        """Reads the embedded file; `root` is not used."""
        with np.load(Path(__file__).with_name("digits.npz")) as stored:
            images, labels = torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"])
        return Images(images, labels.long(), None)


class FashionMNIST:
    """70,000 photographs of clothing, 28 x 28 grey (Xiao et al. 2017)."""

    name = "fashion_mnist"
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
        return Images(*read_idx_set(files, self.image_size))


class MNIST:
    """70,000 handwritten digits, 28 x 28 grey (LeCun et al. 1998)."""

    name = "mnist"
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
        return Images(*read_idx_set(files, self.image_size))


class CIFAR10:
    """60,000 colour photographs, 32 x 32, of ten classes (Krizhevsky 2009)."""

    name = "cifar10"
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


def _read_cifar(torchvision_class: str, directory: Path) -> Images:
    from torchvision import datasets

    kind = getattr(datasets, torchvision_class)
    try:
        # torchvision holds every file against its MD5 before it unpickles one
        parts = [kind(str(directory), train=train, download=not _is_whole(kind, directory)) for train in (True, False)]
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
    return Images(images, labels, len(parts[0].data))


def _is_whole(kind: Any, directory: Path) -> bool:
    from torchvision.datasets.utils import check_integrity

    files = [*kind.train_list, *kind.test_list]
    return all(check_integrity(str(directory / kind.base_folder / name), md5) for name, md5 in files)
