"""Batch sizes that fit: the rule, and the table of a real network."""

import json
from pathlib import Path

import pytest
import torch

from leyden.config import Origin
from leyden.data import Batch
from leyden.find.batch_size import Memory, Size, find_batch_size, repeated, suggest
from running import SHORT, compose_config


def test_the_smallest_batch_that_is_nearly_as_fast_is_suggested() -> None:
    sizes = [Size(8, 50.0, 1.0), Size(16, 95.5, 2.0), Size(32, 100.0, 4.0), Size(64, 99.0, 8.0)]
    assert suggest(sizes) == (sizes[1], sizes[3])


def test_larger_batches_hold_the_images_again() -> None:
    batch = Batch(torch.arange(3).view(3, 1, 1, 1), torch.tensor([5, 6, 7]), torch.arange(3))
    found = repeated(batch, 7, torch.device("cpu"))
    assert found.labels.tolist() == [5, 6, 7, 5, 6, 7, 5]
    assert found.images.flatten().tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_a_step_that_memory_would_not_hold_is_not_tried() -> None:
    memory = Memory(torch.device("cpu"))
    assert memory.has_room_after([])
    assert memory.has_room_after([Size(8, 1.0, 1.0)])
    assert not memory.has_room_after([Size(8, 1.0, memory.free)])


def test_sizes_double_up_to_all_training_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = find_batch_size(compose_config(*SHORT, "data.labels_per_class=3"), tmp_path, Origin())
    assert [size.batch_size for size in sizes] == [8, 16, 30]
    told = capsys.readouterr().out
    assert "largest         30: there are 30 training images" in told
    written = json.loads((tmp_path / "batch_sizes.json").read_text(encoding="utf-8"))
    assert [row["batch_size"] for row in written["sizes"]] == [8, 16, 30]


def test_sizes_of_a_probe_come_with_a_word_that_training_keeps_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    find_batch_size(compose_config(*SHORT, "data.labels_per_class=1", "finetune=linear_probe"), tmp_path, Origin())
    assert "training does so once, and then reads its features" in capsys.readouterr().out
