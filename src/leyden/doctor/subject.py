"""Data > **subject** > findings: a data module as the doctor looks at it: labels, parts and names of its images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leyden.data import ImageDataModule
from leyden.data.sources import TEST, VALIDATION

PARTS = ("training", "validation", "test", "not used")
NOT_USED = 3  # left out by data.train_fraction or data.labels_per_class


@dataclass
class Subject:
    """N images in their parts, with labels as the task has them."""

    name: str
    class_names: Sequence[str]  # none for regression
    labels: NDArray[np.int64] | NDArray[np.float32]  # [N], or [N, K] for several labels
    parts: NDArray[np.int64]  # [N]: a place in PARTS
    image_size: int
    paths: Sequence[str] | None = None  # None in memory
    is_skipping: bool = False  # an unreadable file is left out, data.on_error=skip

    def counts(self) -> NDArray[np.int64]:
        """Images of each class and of each of `PARTS`, [K, 4]."""
        if self.labels.ndim == 2:
            return np.stack([self.labels[self.parts == part].sum(0) for part in range(len(PARTS))], 1).astype(np.int64)
        labels, num_classes = self.labels.astype(np.int64), len(self.class_names)
        rows = [np.bincount(labels[self.parts == part], minlength=num_classes) for part in range(len(PARTS))]
        return np.stack(rows, 1)

    def sides(self, group: NDArray[np.int64]) -> set[int]:
        """The parts that hold images of a group."""
        return set(self.parts[group].tolist()) - {NOT_USED}

    def is_evaluated(self) -> NDArray[np.bool_]:
        """Which images [N] validate or test."""
        return np.isin(self.parts, (VALIDATION, TEST))

    def name_of(self, index: int) -> str:
        """An image's path, or its number."""
        return self.paths[index] if self.paths else f"image {index}"

    def label_of(self, index: int) -> str:
        """The class of an image, its classes, or its number, in words."""
        label = self.labels[index]
        if self.labels.ndim == 2:
            return ", ".join(self.class_names[number] for number in np.flatnonzero(label).tolist()) or "none"
        return self.class_names[int(label)] if self.class_names else f"{float(label):.4g}"


def subject_of(data: ImageDataModule) -> Subject:
    """The images of a data module that is set up."""
    parts = np.full(len(data.labels), NOT_USED)
    for number, indices in enumerate((data.train_indices, data.val_indices, data.test_indices)):
        parts[indices.cpu().numpy()] = number
    return Subject(
        name=data.source.name,
        class_names=data.class_names,
        labels=data.labels.cpu().numpy(),
        parts=parts,
        image_size=data.image_size,
        paths=data.files.paths if data.files else None,
        is_skipping=data.on_error == "skip",
    )
