"""Config > **data** > batch: owns the splits, the loaders and the facts of the data."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from leyden.data.loader import InMemoryLoader
from leyden.data.sources import Source
from leyden.data.splits import split, subset

log = logging.getLogger(__name__)

EVALUATION_BATCH_SIZE = 500
SHARE_OF_DEVICE_MEMORY = 0.3  # images move to an accelerator when they take less than this of what is free there


class ImageDataModule(pl.LightningDataModule):
    """Holds a data set in memory as one uint8 tensor [N, C, H, W]; splits are indices into it.

    `train_fraction` or `labels_per_class` make labels scarce in training alone; validation and test stay as they are.
    `test_fraction` counts only for a source without an official test part.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        seed: int,
        root: str = "data",
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        train_fraction: float = 1.0,
        labels_per_class: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 < train_fraction <= 1:
            raise ValueError(f"data.train_fraction={train_fraction} is out of range: give a number above 0, up to 1")
        for name, value in {"validation_fraction": validation_fraction, "test_fraction": test_fraction}.items():
            if not 0 < value < 1:
                raise ValueError(f"data.{name}={value} is out of range: give a number between 0 and 1")
        if labels_per_class is not None and labels_per_class < 1:
            raise ValueError(f"data.labels_per_class={labels_per_class} is out of range: give 1 or more")
        if labels_per_class is not None and train_fraction < 1:
            raise ValueError("data.labels_per_class and data.train_fraction exclude each other: give one of them")
        if split_seed < 0:
            raise ValueError(f"data.split_seed={split_seed} is out of range: give 0 or more")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is out of range: give 1 or more")
        self.source, self.batch_size, self.seed, self.root = source, batch_size, seed, Path(root)
        self.validation_fraction, self.test_fraction, self.split_seed = validation_fraction, test_fraction, split_seed
        self.train_fraction, self.labels_per_class = train_fraction, labels_per_class
        self.class_names, self.num_classes = tuple(source.class_names), len(source.class_names)
        self.channels, self.image_size = source.channels, source.image_size
        self.mean, self.std = tuple(source.mean), tuple(source.std)
        self.resumed: dict[str, int] = {}  # the epoch and batch at which a run goes on
        self.images: Tensor | None = None

    def setup(self, stage: str) -> None:
        """Reads and splits the images, once.

        Raises:
            ValueError: a file is absent or damaged, a label is none of the classes, or too few labels exist.
        """
        if self.images is not None:
            return
        images, labels, num_train = self.source.load(self.root)
        wrong = ((labels < 0) | (labels >= self.num_classes)).nonzero()
        if len(wrong):
            first = int(wrong[0])
            raise ValueError(
                f"{self.source.name}: image {first} has the label {int(labels[first])}, "
                f"expected 0 to {self.num_classes - 1} for its {self.num_classes} classes: mend the labels"
            )
        array = labels.numpy()
        parts = split(array, num_train, self.validation_fraction, self.test_fraction, self.split_seed)
        train = subset(array, parts.train, self.train_fraction, self.labels_per_class, self.split_seed)
        self.images, self.labels = images, labels
        self.train_indices, self.val_indices, self.test_indices = map(torch.from_numpy, (train, parts.val, parts.test))
        if self.batch_size > len(train):
            log.warning(
                "batch_size=%s is more than the %s training images: each step uses all of them",
                self.batch_size,
                len(train),
            )

    @property
    def class_counts(self) -> Tensor:
        """Training images of each class, int64 [K]."""
        return torch.bincount(self.labels[self.train_indices.to(self.labels.device)], minlength=self.num_classes)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of classes, labels and pixels, whatever files they came from."""
        assert self.images is not None
        digest = hashlib.sha256(repr((self.class_names, tuple(self.images.shape))).encode())
        for tensor in (self.labels, self.images):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def facts(self) -> dict[str, Any]:
        """What a run's record says of its data, in plain types."""
        return {
            "name": self.source.name,
            "fingerprint": self.fingerprint,
            "num_classes": self.num_classes,
            "class_names": list(self.class_names),
            "image_shape": [self.channels, self.image_size, self.image_size],
            "num_train": len(self.train_indices),
            "num_val": len(self.val_indices),
            "num_test": len(self.test_indices),
            "split_seed": self.split_seed,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def train_dataloader(self) -> InMemoryLoader:
        loader = self._loader(self.train_indices, self.batch_size, self.seed)
        if self.resumed:  # Lightning asks for the loader before it would hand it its own state
            loader.load_state_dict(self.resumed)
        return loader

    def val_dataloader(self) -> InMemoryLoader:
        return self._loader(self.val_indices, EVALUATION_BATCH_SIZE)

    def test_dataloader(self) -> InMemoryLoader:
        return self._loader(self.test_indices, EVALUATION_BATCH_SIZE)

    def _loader(self, indices: Tensor, batch_size: int, seed: int | None = None) -> InMemoryLoader:
        assert self.images is not None
        assert self.trainer is not None
        self._move_to(self.trainer.strategy.root_device)
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        indices = indices.to(self.images.device)
        return InMemoryLoader(self.images, self.labels, indices, batch_size, seed, rank, world_size)

    def _move_to(self, device: torch.device) -> None:
        """Moves the whole set to an accelerator that has room for it; batches then never cross the bus."""
        assert self.images is not None
        if device.type == "cuda" and self.images.device != device:
            free, _ = torch.cuda.mem_get_info(device)
            if self.images.nbytes < SHARE_OF_DEVICE_MEMORY * free:
                self.images, self.labels = self.images.to(device), self.labels.to(device)
