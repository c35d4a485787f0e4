"""Data: sources, splits, loaders, and the module that owns them."""

from leyden.data.cache import CachedLoader
from leyden.data.datamodule import ImageDataModule
from leyden.data.decoding import DecodingLoader, write_skipped
from leyden.data.elpv import ELPV
from leyden.data.folder import ImageFolder
from leyden.data.huggingface import HuggingFace
from leyden.data.loader import Batch, EpochLoader, EpochOrder, InMemoryLoader
from leyden.data.shards import Shards
from leyden.data.sources import CIFAR10, CIFAR100, MNIST, Digits, FashionMNIST, Files, Images, Source
from leyden.data.table import Table

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "ELPV",
    "MNIST",
    "Batch",
    "CachedLoader",
    "DecodingLoader",
    "Digits",
    "EpochLoader",
    "EpochOrder",
    "FashionMNIST",
    "Files",
    "HuggingFace",
    "ImageDataModule",
    "ImageFolder",
    "Images",
    "InMemoryLoader",
    "Shards",
    "Source",
    "Table",
    "write_skipped",
]
