"""Data: sources, splits, loaders, and the module that owns them."""

from leyden.data.datamodule import ImageDataModule
from leyden.data.decoding import DecodingLoader, write_skipped
from leyden.data.folder import ImageFolder
from leyden.data.loader import Batch, EpochLoader, EpochOrder, InMemoryLoader
from leyden.data.sources import CIFAR10, CIFAR100, MNIST, Digits, FashionMNIST, Files, Images, Source

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "Batch",
    "DecodingLoader",
    "Digits",
    "EpochLoader",
    "EpochOrder",
    "FashionMNIST",
    "Files",
    "ImageDataModule",
    "ImageFolder",
    "Images",
    "InMemoryLoader",
    "Source",
    "write_skipped",
]
