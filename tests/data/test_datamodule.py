"""The data module: facts before reading, the fingerprint, and what wrong settings and labels get."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from leyden.data import Digits, FashionMNIST, ImageDataModule


def module(**settings: Any) -> ImageDataModule:
    return ImageDataModule(**{"source": Digits(), "batch_size": 64, "seed": 0} | settings)


def test_facts_are_known_before_anything_is_read(tmp_path: Path) -> None:
    data = module(source=FashionMNIST(), root=str(tmp_path / "absent"))
    assert (data.channels, data.image_size, data.num_classes) == (1, 28, 10)
    assert data.images is None


def test_splits_do_not_depend_on_the_seed_of_the_run() -> None:
    first, second = module(seed=0), module(seed=1)
    for data in (first, second):
        data.setup("fit")
    assert torch.equal(first.val_indices, second.val_indices)
    assert torch.equal(first.test_indices, second.test_indices)


def test_fingerprint_tells_one_pixel() -> None:
    first, second = module(), module(split_seed=5)
    for data in (first, second):
        data.setup("fit")
    assert first.fingerprint == second.fingerprint
    assert second.images is not None
    second.images[3, 0, 0, 0] ^= 1
    assert first.fingerprint != second.fingerprint


def test_scarce_labels_leave_validation_and_test_alone() -> None:
    whole, scarce = module(), module(labels_per_class=4)
    for data in (whole, scarce):
        data.setup("fit")
    assert scarce.class_counts.tolist() == [4] * 10
    assert torch.equal(whole.val_indices, scarce.val_indices)
    assert torch.equal(whole.test_indices, scarce.test_indices)
    assert set(scarce.train_indices.tolist()) < set(whole.train_indices.tolist())


def test_facts_are_plain_types() -> None:
    data = module(validation_fraction=0.15)
    data.setup("fit")
    facts = data.facts()
    assert (facts["num_train"], facts["num_val"], facts["num_test"]) == (1169, 269, 359)
    assert facts["image_shape"] == [1, 8, 8]


def test_batch_larger_than_the_training_part_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        module(labels_per_class=2).setup("fit")
    assert "batch_size=64 is more than the 20 training images" in caplog.text


def test_label_outside_the_classes_is_named(write_set: Callable[..., Path], tmp_path: Path) -> None:
    labels = np.arange(60, dtype=np.uint8) % 10
    labels[17] = 10
    write_set(labels=labels)
    with pytest.raises(ValueError, match="image 17 has the label 10, expected 0 to 9"):
        module(source=FashionMNIST(), root=str(tmp_path)).setup("fit")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"train_fraction": 0.0}, "data.train_fraction=0.0"),
        ({"train_fraction": 1.5}, "data.train_fraction=1.5"),
        ({"validation_fraction": 0.0}, "data.validation_fraction=0.0"),
        ({"test_fraction": 1.0}, "data.test_fraction=1.0"),
        ({"labels_per_class": 0}, "data.labels_per_class=0"),
        ({"labels_per_class": 3, "train_fraction": 0.5}, "exclude each other"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        module(**settings)
