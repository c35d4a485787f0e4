"""Data: sources, splits, loaders, and the module that owns them."""

from leyden.data.datamodule import ImageDataModule
from leyden.data.loader import Batch, EpochOrder, InMemoryLoader
from leyden.data.sources import CIFAR10, CIFAR100, MNIST, Digits, FashionMNIST, Images, Source

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "Batch",
    "Digits",
    "EpochOrder",
    "FashionMNIST",
    "ImageDataModule",
    "Images",
    "InMemoryLoader",
    "Source",
]
