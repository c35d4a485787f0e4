"""Config > **data** > batch: owns the splits, the loaders and the facts of the data."""

import functools
import hashlib
import logging
import operator
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from leyden.config import require
from leyden.data.cache import Cached, CachedLoader
from leyden.data.cache_choice import KINDS, keep_decoded
from leyden.data.cache_file import content_hash
from leyden.data.decoding import DecodingLoader, write_skipped
from leyden.data.features import FeatureLoader, Features
from leyden.data.labels import check_labels, count_classes
from leyden.data.loader import Batch, InMemoryLoader, sampling_weights
from leyden.data.sources import Files, Images, Source
from leyden.data.splits import Fold, Splits, split, stratify, subset
from leyden.gather import of_all_ranks

log = logging.getLogger(__name__)

Loader = InMemoryLoader | DecodingLoader | CachedLoader | FeatureLoader

EVALUATION_BATCH_SIZE = 500  # of images in memory; decoded ones come in as many as in training, however large they are
SHARE_OF_DEVICE_MEMORY = 0.3  # images move to an accelerator when they take less than this of what is free there


class ImageDataModule(pl.LightningDataModule):
    """Holds a data set in memory as one uint8 tensor [N, C, H, W], or its files; splits are indices into it.

    `train_fraction` or `labels_per_class` make labels scarce in training alone; validation and test stay as they are.
    `test_fraction` counts only for a source without an official test part. The images of a `fold` are tested, or, where
    the source has a test part, validated. The `sampler` shuffles, or draws all classes equally often (balanced).

    For a source of files, `num_workers` processes decode (null: as many as torch has threads, 0: this process), and
    `on_error` says whether an unreadable file ends the run (fail) or is left out and noted in `skipped` (skip). Images
    are `margin` times as large as `image_size`: what a crop may move in. With a `cache` they are decoded once, in
    `prepare_data`: in memory, in a file below `cache_directory` (disk), or (auto) in memory where they take at most
    `memory_share` of what is free and no other process wants them too.
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
        sampler: str = "shuffle",
        fold: int | None = None,
        folds: int = 5,
        margin: float = 1.0,
        cache: str = "none",
        memory_share: float = 0.25,
        cache_directory: str = "data/cache",
    ) -> None:
        super().__init__()
        for key, value, is_right, wanted in (
            ("batch_size", batch_size, batch_size >= 1, "1 or more"),
            ("data.train_fraction", train_fraction, 0 < train_fraction <= 1, "a number above 0, up to 1"),
            ("data.validation_fraction", validation_fraction, 0 < validation_fraction < 1, "a number between 0 and 1"),
            ("data.test_fraction", test_fraction, 0 < test_fraction < 1, "a number between 0 and 1"),
            ("data.labels_per_class", labels_per_class, labels_per_class is None or labels_per_class >= 1, "1 or more"),
            ("data.split_seed", split_seed, split_seed >= 0, "0 or more"),
            ("data.num_workers", num_workers, num_workers is None or num_workers >= 0, "0 or more, or null"),
            ("folds", folds, folds >= 2, "2 or more"),
            ("fold", fold, fold is None or 0 <= fold < folds, f"0 to {folds - 1}, or another number of folds"),
            ("data.margin", margin, 1 <= margin <= 4, "a number from 1 (none) to 4"),
            ("data.memory_share", memory_share, 0 < memory_share <= 1, "a number above 0, up to 1"),
        ):
            require(key, value, is_right, wanted)
        for name, word, known in (
            ("on_error", on_error, ("fail", "skip")), ("sampler", sampler, ("shuffle", "balanced")),
            ("cache", cache, KINDS),
        ):  # fmt: skip
            if word not in known:
                raise ValueError(f"data.{name}={word}: expected {', '.join(known[:-1])} or {known[-1]}")
        if labels_per_class is not None and train_fraction < 1:
            raise ValueError("data.labels_per_class and data.train_fraction exclude each other: give one of them")
        self.source, self.batch_size, self.seed, self.root = source, batch_size, seed, Path(root)
        self.validation_fraction, self.test_fraction, self.split_seed = validation_fraction, test_fraction, split_seed
        self.train_fraction, self.labels_per_class = train_fraction, labels_per_class
        self.num_workers, self.on_error, self.sampler = num_workers, on_error, sampler
        self.margin, self.cache, self.memory_share = margin, cache, memory_share
        self.cache_directory, self.num_ranks = Path(cache_directory), 1
        self.fold = None if fold is None else Fold(fold, folds)
        self.skipped: dict[str, str] = {}  # path and reason of each file that was left out
        self.name: str = source.name
        self.task = source.task
        self.class_names, self.num_classes = tuple(source.class_names), len(source.class_names)
        for key, is_given in {"sampler": sampler == "balanced", "labels_per_class": labels_per_class}.items():
            if is_given and self.task != "single_label":
                raise ValueError(
                    f"data.{key} is for images of one class each, and {source.name} is {self.task}: leave it out"
                )
        self.channels, self.image_size = source.channels, source.image_size
        self.mean, self.std = tuple(source.mean), tuple(source.std)
        self.resumed: dict[str, int] = {}  # the epoch and batch at which a run goes on
        self.images: Tensor | None = None
        self.files: Files | None = None
        self.cached: Cached | None = None
        self.is_prepared = False
        self.features: Features | None = None  # of a frozen backbone, in the images' place

    @property
    def stored_size(self) -> int:
        """Pixels of a side of the images that files are decoded to: with the margin."""
        return round(self.margin * self.image_size)

    @property
    def _stored_shape(self) -> tuple[int, int, int]:
        return self.channels, self.stored_size, self.stored_size

    def prepare_data(self) -> None:
        """Decodes the images of files, where they are to be kept decoded, once.

        Raises:
            ValueError: as `setup`; or a file cannot be read.
        """
        self.setup("fit")
        if self.files is None or self.is_prepared or self.cache == "none":
            return
        self.is_prepared = True  # also where the disk does not take them: Lightning asks before the test once more
        self.cached = keep_decoded(
            self.files, self._stored_shape, self.cache, self.cache_directory, self.memory_share, self.num_ranks,
            self._num_workers, self._skipped,
        )  # fmt: skip

    def setup(self, stage: str) -> None:
        """Reads the images, or lists their files, and splits them, once.

        Raises:
            ValueError: a file is absent or damaged, a label is none of the classes, or too few labels exist.
        """
        if self.images is None and self.files is None:
            self.divide(self.load())

    def load(self) -> Images | Files:
        """Reads the images, or lists their files, without dividing them; returns what the source says of them.

        Raises:
            ValueError: a file is absent or damaged, a label is none of the classes, or there is a margin, for no files.
        """
        loaded = self.source.load(self.root)
        check_labels(loaded, self.task, self.num_classes, self.name)
        self.labels, self.groups, self.weights = loaded.labels, loaded.groups, loaded.weights
        if isinstance(loaded, Files):
            self.files = loaded
            if self.margin > 1:
                self.files = loaded._replace(read=functools.partial(loaded.read, image_size=self.stored_size))
        else:
            if self.margin > 1:
                raise ValueError(
                    f"data.margin={self.margin} is for files, and {self.name} is held in memory: leave it out"
                )
            self.images = loaded.images
            self._warn_of_settings_for_files()
        return loaded

    def divide(self, loaded: Images | Files) -> None:
        """Splits what was loaded.

        Raises:
            ValueError: a split would have no image, or lack a class that it needs.
        """
        strata = stratify(loaded.labels.numpy())
        parts, groups = (None if tensor is None else tensor.numpy() for tensor in (loaded.parts, loaded.groups))
        splits = split(strata, parts, groups, self.validation_fraction, self.test_fraction, self.split_seed, self.fold)
        names = self.class_names if self.task == "single_label" else ()
        train = subset(strata, splits.train, self.train_fraction, self.labels_per_class, self.split_seed, names)
        self._check_classes(splits)
        self.train_indices, self.val_indices, self.test_indices = map(
            torch.from_numpy, (train, splits.val, splits.test)
        )
        if self.batch_size > len(train):
            log.warning(
                "batch_size=%s is more than the %s training images: each step uses all of them",
                self.batch_size,
                len(train),
            )

    def _check_classes(self, splits: Splits) -> None:
        """Refuses a class that is tested and never learnt, warns of one that is not looked at."""
        if self.task == "regression":
            return
        counts = [count_classes(self.labels[indices], self.num_classes).numpy() for indices in splits]
        for part, count in zip(("validation", "test"), counts[1:], strict=True):
            if len(unknown := ((count > 0) & (counts[0] == 0)).nonzero()[0]):
                raise ValueError(
                    f"{self.name}: class {self.class_names[unknown[0]]} has {count[unknown[0]]} {part} images "
                    "and none to learn from: give it training images, or another data.split_seed"
                )
            if len(unseen := ((count == 0) & (counts[0] > 0)).nonzero()[0]):
                names = ", ".join(self.class_names[index] for index in unseen[:5])
                more = f" and {len(unseen) - 5} more" if len(unseen) > 5 else ""
                log.warning("%s: no %s image of class %s%s", self.name, part, names, more)

    @property
    def num_outputs(self) -> int:
        """What a head has to give of each image: a logit per class, or one number."""
        return 1 if self.task == "regression" else self.num_classes

    @property
    def training_labels(self) -> Tensor:
        """The labels of the training images, as the task says."""
        return self.labels[self.train_indices.to(self.labels.device)]

    def _warn_of_settings_for_files(self) -> None:
        settings = {"num_workers": 0, "on_error": "fail", "cache": "none"}
        for name, default in settings.items():
            value = getattr(self, name)
            if value != default:
                shown = "null" if value is None else value
                log.warning("data.%s=%s is not used: %s is held in memory", name, shown, self.name)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of classes, labels and pixels, and of groups and weights, whatever files they came from.

        Of files it covers the classes, the shape they are decoded to, and each one's path below the directory, size in
        bytes and label, but not its content: a file replaced by another of the same size goes unnoticed.
        """
        if self.files:
            return self._listing(self.files, with_sizes=True)
        digest = hashlib.sha256(repr((self.class_names, self._shape)).encode())
        assert self.images is not None
        for tensor in (self.labels, self.images, self.groups, self.weights):
            digest.update(b"" if tensor is None else tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def content(self) -> str:
        """SHA-256 of what the pixels are, files being known by their size and time."""
        return content_hash(self.files, self._stored_shape) if self.files else self.fingerprint

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        side = self.stored_size if self.files else self.image_size
        return len(self.labels), self.channels, side, side

    def _listing(self, files: Files, with_sizes: bool) -> str:
        """SHA-256 of classes, shape, and of each file its path, label and, where wanted, size."""
        digest = hashlib.sha256(repr((self.class_names, self._shape)).encode())
        for tensor in (files.parts, files.groups, files.weights):
            digest.update(b"" if tensor is None else tensor.numpy().data)
        if files.digest:
            digest.update(files.digest.encode())
            return digest.hexdigest()
        for path, label in zip(files.paths, self.labels.tolist(), strict=True):
            size = _size(files.directory / path) if with_sizes else ""
            digest.update(os.fsencode(f"{path}\0{size}\0{label}\n"))
        return digest.hexdigest()

    @property
    def layout(self) -> str:
        """SHA-256 of what decides, with `split_seed`, who is in which split."""
        return self._listing(self.files, with_sizes=False) if self.files else self.fingerprint

    def facts(self) -> dict[str, Any]:
        """What a run's record says of its data, in plain types."""
        fingerprint = self.fingerprint
        return {
            "name": self.name,
            "task": self.task,
            "fingerprint": fingerprint,
            "layout": self.layout if self.files else fingerprint,
            "num_classes": self.num_classes,
            "class_names": list(self.class_names),
            "image_shape": [self.channels, self.image_size, self.image_size],
            "num_train": len(self.train_indices),
            "num_val": len(self.val_indices),
            "num_test": len(self.test_indices),
            "split_seed": self.split_seed,
            "fold": self.fold and f"{self.fold.number} of {self.fold.num_folds}",
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def record_skipped(self, path: Path) -> dict[str, int]:
        """Writes the files that were left out on any rank to a table at `path`; how many of all and of the test."""
        if self.files is None:
            return {}
        skipped = functools.reduce(operator.or_, of_all_ranks(self.skipped))
        if skipped and (self.trainer is None or self.trainer.is_global_zero):
            write_skipped(skipped, path)
        files, tested = self.files, self.test_indices.tolist() if skipped else []
        test = {files.path(index) for index in tested}
        return {"num_skipped": len(skipped), "num_test_skipped": len(skipped.keys() & test)}

    def some_training_images(self, num_images: int) -> Batch:
        """Some images to look at, evenly spread over the data set, which may be sorted by class."""
        places = torch.linspace(0, len(self.train_indices) - 1, min(num_images, len(self.train_indices))).long()
        return self.images_at(self.train_indices[places])

    def images_at(self, indices: Tensor) -> Batch:
        """The images of these numbers, as one batch for this process alone; those that cannot be read are left out."""
        return next(iter(self.batches(indices, len(indices), is_alone=True)))

    def train_dataloader(self) -> Loader:
        loader = self.batches(self.train_indices, self.batch_size, self.seed, self._sampling_weights())
        if self.resumed:  # Lightning asks for the loader before it would hand it its own state
            loader.load_state_dict(self.resumed)
        return loader

    def val_dataloader(self) -> Loader:
        return self.batches(self.val_indices, self.evaluation_batch_size)

    def test_dataloader(self) -> Loader:
        return self.batches(self.test_indices, self.evaluation_batch_size)

    @property
    def evaluation_batch_size(self) -> int:
        """Images that are asked together."""
        return self.batch_size if self.files else EVALUATION_BATCH_SIZE

    def _sampling_weights(self) -> Tensor | None:
        weights = None if self.weights is None else self.weights[self.train_indices]
        classes = self.labels.cpu()[self.train_indices] if self.sampler == "balanced" else None
        return sampling_weights(weights, classes, self.name)

    def batches(
        self,
        indices: Tensor,
        batch_size: int,
        seed: int | None = None,
        weights: Tensor | None = None,
        is_alone: bool = False,
    ) -> Loader:
        """Batches for the trainer's rank and device; without one for this process, and images if it `is_alone`."""
        trainer = None if is_alone else self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        if self.features is not None and not is_alone:
            rows = [self.features.plain] if seed is None else self.features.views
            is_known = self.features.is_known[indices]
            weights = None if weights is None else weights[is_known]
            known = indices[is_known]
            return FeatureLoader(rows, self.labels.cpu(), known, batch_size, seed, rank, world_size, weights)
        if not is_alone:
            self.move_to(device)
        if self.files is None:
            assert self.images is not None
            indices = indices.to(self.images.device)
            return InMemoryLoader(self.images, self.labels, indices, batch_size, seed, rank, world_size, weights)
        if self.cached:
            pin_memory = device.type == "cuda" and not self.cached.rows.is_cuda
            return CachedLoader(
                self.cached, self.files, indices, batch_size, seed, rank, world_size, pin_memory, weights
            )
        return DecodingLoader(
            self.files, self._stored_shape, indices, batch_size, seed, rank, world_size, self._num_workers,
            pin_memory=device.type == "cuda", skipped=self._skipped, weights=weights,
        )  # fmt: skip

    @property
    def _num_workers(self) -> int:
        return torch.get_num_threads() if self.num_workers is None else self.num_workers

    @property
    def _skipped(self) -> dict[str, str] | None:
        return self.skipped if self.on_error == "skip" else None

    def move_to(self, device: torch.device) -> None:
        """Moves the whole set to an accelerator that has room for it; batches then never cross the bus."""
        held = self.images if self.cached is None else self.cached.rows
        if device.type == "cuda" and held is not None and held.device != device:
            free, _ = torch.cuda.mem_get_info(device)
            if held.nbytes < SHARE_OF_DEVICE_MEMORY * free:
                if self.cached:
                    self.cached = self.cached.to(device)
                else:
                    self.images, self.labels = held.to(device), self.labels.to(device)


def _size(path: Path) -> int:
    """Bytes of a file; -1 where it has vanished since it was listed, which is for the loader to tell."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
