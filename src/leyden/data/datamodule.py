"""Config > **data** > batch: owns the splits, the loaders and the facts of the data."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from leyden.data.decoding import DecodingLoader, write_skipped
from leyden.data.loader import Batch, InMemoryLoader
from leyden.data.sources import Files, Source
from leyden.data.splits import split, subset

log = logging.getLogger(__name__)

Loader = InMemoryLoader | DecodingLoader

EVALUATION_BATCH_SIZE = 500  # of images in memory; decoded ones come in as many as in training, however large they are
SHARE_OF_DEVICE_MEMORY = 0.3  # images move to an accelerator when they take less than this of what is free there


class ImageDataModule(pl.LightningDataModule):
    """Holds a data set in memory as one uint8 tensor [N, C, H, W], or its files; splits are indices into it.

    `train_fraction` or `labels_per_class` make labels scarce in training alone; validation and test stay as they are.
    `test_fraction` counts only for a source without an official test part. For a source of files, `num_workers`
    processes decode (null: as many as torch has threads, 0: this process), and `on_error` says whether an unreadable
    file ends the run (fail) or is left out and noted in `skipped` (skip).
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
        num_workers: int | None = 0,
        on_error: str = "fail",
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
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"data.num_workers={num_workers} is out of range: give 0 or more, or null")
        if on_error not in ("fail", "skip"):
            raise ValueError(f"data.on_error={on_error}: expected fail or skip")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is out of range: give 1 or more")
        self.source, self.batch_size, self.seed, self.root = source, batch_size, seed, Path(root)
        self.validation_fraction, self.test_fraction, self.split_seed = validation_fraction, test_fraction, split_seed
        self.train_fraction, self.labels_per_class = train_fraction, labels_per_class
        self.num_workers, self.on_error = num_workers, on_error
        self.skipped: dict[str, str] = {}  # path and reason of each file that was left out
        self.class_names, self.num_classes = tuple(source.class_names), len(source.class_names)
        self.channels, self.image_size = source.channels, source.image_size
        self.mean, self.std = tuple(source.mean), tuple(source.std)
        self.resumed: dict[str, int] = {}  # the epoch and batch at which a run goes on
        self.images: Tensor | None = None
        self.files: Files | None = None

    def setup(self, stage: str) -> None:
        """Reads the images, or lists their files, and splits them, once.

        Raises:
            ValueError: a file is absent or damaged, a label is none of the classes, or too few labels exist.
        """
        if self.images is not None or self.files is not None:
            return
        loaded = self.source.load(self.root)
        labels, num_train = loaded.labels, loaded.num_train
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
        self.labels = labels
        if isinstance(loaded, Files):
            self.files = loaded
        else:
            self.images = loaded.images
            self._warn_of_settings_for_files()
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

    def _warn_of_settings_for_files(self) -> None:
        for name, value, default in [("num_workers", self.num_workers, 0), ("on_error", self.on_error, "fail")]:
            if value != default:
                shown = "null" if value is None else value
                log.warning("data.%s=%s is not used: %s is held in memory", name, shown, self.source.name)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of classes, labels and pixels, whatever files they came from.

        Of files it covers the classes, the shape they are decoded to, and each one's path below the directory, size in
        bytes and label, but not its content: a file replaced by another of the same size goes unnoticed.
        """
        if self.files:
            return self._listing(lambda path: _size(self.files.directory / path) if self.files else -1)
        digest = hashlib.sha256(repr((self.class_names, self._shape)).encode())
        assert self.images is not None
        for tensor in (self.labels, self.images):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        return len(self.labels), self.channels, self.image_size, self.image_size

    def _listing(self, describe_file: Callable[[str], object]) -> str:
        """SHA-256 of classes, shape, and of each file its path, label and what is said of it."""
        assert self.files is not None
        digest = hashlib.sha256(repr((self.class_names, self._shape)).encode())
        for path, label in zip(self.files.paths, self.labels.tolist(), strict=True):
            digest.update(os.fsencode(f"{path}\0{describe_file(path)}\0{label}\n"))
        return digest.hexdigest()

    def facts(self) -> dict[str, Any]:
        """What a run's record says of its data, in plain types; `layout` decides who is in which split."""
        fingerprint = self.fingerprint
        return {
            "name": self.source.name,
            "fingerprint": fingerprint,
            "layout": self._listing(lambda path: "") if self.files else fingerprint,
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

    def record_skipped(self, path: Path) -> dict[str, int]:
        """Writes the files that were left out on any rank to a table at `path`; how many they are, as a fact."""
        if self.files is None:
            return {}
        skipped = self.skipped
        if torch.distributed.is_initialized():
            ranks: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(ranks, skipped)
            skipped = {path: reason for each in ranks for path, reason in each.items()}
        if skipped and (self.trainer is None or self.trainer.is_global_zero):
            write_skipped(skipped, path)
        return {"num_skipped": len(skipped)}

    def first_training_images(self, num_images: int) -> Batch:
        """Some images to look at, in the order of the data set."""
        return next(iter(self._loader(self.train_indices[:num_images], num_images)))

    def train_dataloader(self) -> Loader:
        loader = self._loader(self.train_indices, self.batch_size, self.seed)
        if self.resumed:  # Lightning asks for the loader before it would hand it its own state
            loader.load_state_dict(self.resumed)
        return loader

    def val_dataloader(self) -> Loader:
        return self._loader(self.val_indices, self._evaluation_batch_size)

    def test_dataloader(self) -> Loader:
        return self._loader(self.test_indices, self._evaluation_batch_size)

    @property
    def _evaluation_batch_size(self) -> int:
        return self.batch_size if self.files else EVALUATION_BATCH_SIZE

    def _loader(self, indices: Tensor, batch_size: int, seed: int | None = None) -> Loader:
        """Batches for the trainer's rank and device; without one, for this process alone."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        if self.files:
            return DecodingLoader(
                self.files,
                (self.channels, self.image_size, self.image_size),
                indices,
                batch_size,
                seed,
                rank,
                world_size,
                num_workers=torch.get_num_threads() if self.num_workers is None else self.num_workers,
                pin_memory=device.type == "cuda",
                skipped=self.skipped if self.on_error == "skip" else None,
            )
        assert self.images is not None
        self._move_to(device)
        indices = indices.to(self.images.device)
        return InMemoryLoader(self.images, self.labels, indices, batch_size, seed, rank, world_size)

    def _move_to(self, device: torch.device) -> None:
        """Moves the whole set to an accelerator that has room for it; batches then never cross the bus."""
        assert self.images is not None
        if device.type == "cuda" and self.images.device != device:
            free, _ = torch.cuda.mem_get_info(device)
            if self.images.nbytes < SHARE_OF_DEVICE_MEMORY * free:
                self.images, self.labels = self.images.to(device), self.labels.to(device)


def _size(path: Path) -> int:
    """Bytes of a file; -1 where it has vanished since it was listed, which is for the loader to tell."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
