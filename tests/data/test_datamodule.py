"""The data module: facts before reading, the fingerprint, and what wrong settings and labels get."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from leyden.data import Digits, FashionMNIST, ImageDataModule, ImageFolder, Images
from leyden.data.features import Features
from leyden.data.sources import TEST, Task

WriteDigits = Callable[..., Path]


def module(**settings: Any) -> ImageDataModule:
    return ImageDataModule(**{"source": Digits(), "batch_size": 64, "seed": 0} | settings)


def of_files(directory: Path, **settings: Any) -> ImageDataModule:
    source = ImageFolder(str(directory), image_size=8, channels=1, mean=[0.3], std=[0.4])
    data = module(**{"source": source} | settings)
    data.setup("fit")
    return data


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


def test_fingerprint_of_images_in_memory_tells_groups_and_weights() -> None:
    groups, weights = torch.arange(456), torch.ones(456, dtype=torch.float64)
    told: list[dict[str, torch.Tensor]] = [
        {}, {"groups": groups}, {"groups": groups // 2}, {"weights": weights}, {"weights": weights * 2},
    ]  # fmt: skip
    found = [module(source=Uneven(**each)) for each in told]
    for data in found:
        data.setup("fit")
    assert len({data.layout for data in found}) == len({data.fingerprint for data in found}) == 5


def test_scarce_labels_leave_validation_and_test_alone() -> None:
    whole, scarce = module(), module(labels_per_class=4)
    for data in (whole, scarce):
        data.setup("fit")
    assert torch.bincount(scarce.training_labels).tolist() == [4] * 10
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
        ({"num_workers": -1}, "data.num_workers=-1"),
        ({"sampler": "random"}, "data.sampler=random: expected shuffle or balanced"),
        ({"fold": 5}, "fold=5 is out of range: give 0 to 4"),
        ({"folds": 1}, "folds=1 is out of range"),
        ({"margin": 0.9}, "data.margin=0.9"),
        ({"cache": "ram"}, "data.cache=ram: expected none, memory, disk or auto"),
        ({"memory_share": 0.0}, "data.memory_share=0.0"),
        ({"on_error": "ignore"}, "data.on_error=ignore: expected fail or skip"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        module(**settings)


def test_facts_of_files_are_plain_types(write_digits: WriteDigits) -> None:
    facts = of_files(write_digits()).facts()
    assert facts["name"] == "digits"
    assert facts["num_train"] + facts["num_val"] + facts["num_test"] == 300
    assert facts["image_shape"] == [1, 8, 8]
    assert facts["class_names"] == list("0123456789")


def test_official_parts_of_files_are_honoured(write_digits: WriteDigits, tmp_path: Path) -> None:
    write_digits("parts/train", 0, 200)
    write_digits("parts/test", 200, 300)
    data = of_files(tmp_path / "parts")
    assert data.files is not None
    parts = {"train": [*data.train_indices, *data.val_indices], "test": data.test_indices.tolist()}
    for name, indices in parts.items():
        assert {data.files.paths[index].split("/")[0] for index in indices} == {name}
    assert [len(indices) for indices in parts.values()] == [200, 100]


def test_fingerprint_of_files_tells_place_name_size_and_kind(write_digits: WriteDigits, tmp_path: Path) -> None:
    def fingerprint(change: Callable[[Path], Any]) -> str:
        directory = write_digits(f"digits{len(list(tmp_path.iterdir()))}")
        change(directory)
        return of_files(directory).fingerprint

    def append(directory: Path) -> None:
        with (directory / "0" / "0000.png").open("ab") as file:
            file.write(b"x")

    changes: dict[str, Callable[[Path], Any]] = {
        "none": lambda directory: None,
        "name of a file": lambda directory: (directory / "0/0000.png").rename(directory / "0/1.png"),
        "class of a file": lambda directory: (directory / "0/0000.png").rename(directory / "1/0000.png"),
        "name of a class": lambda directory: (directory / "9").rename(directory / "nine"),
        "size of a file": append,
        "absence of a file": lambda directory: (directory / "0/0000.png").unlink(),
    }
    found = {name: fingerprint(change) for name, change in changes.items()}
    assert len(set(found.values())) == len(changes)
    assert fingerprint(lambda directory: None) == found["none"]


def test_file_that_vanished_is_for_the_loader_to_tell(write_digits: WriteDigits) -> None:
    data = of_files(write_digits())
    assert data.files is not None
    (data.files.directory / data.files.paths[0]).unlink()
    assert len(data.fingerprint) == 64


def test_settings_for_files_warn_beside_images_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        module(num_workers=3, on_error="skip").setup("fit")
        module(num_workers=None).setup("fit")
        module().setup("fit")
    assert [record.getMessage() for record in caplog.records] == [
        "data.num_workers=3 is not used: digits is held in memory",
        "data.on_error=skip is not used: digits is held in memory",
        "data.num_workers=null is not used: digits is held in memory",
    ]


def test_margin_is_for_files() -> None:
    with pytest.raises(
        ValueError, match=r"data\.margin=1\.25 is for files, and digits is held in memory: leave it out"
    ):
        module(margin=1.25).setup("fit")


def test_some_training_images_are_the_same_from_memory_and_from_files(write_digits: WriteDigits) -> None:
    files, memory = of_files(write_digits(end=1797)), module()
    memory.setup("fit")
    for data in (files, memory):
        batch = data.some_training_images(8)
        assert torch.equal(batch.indices[[0, -1]], data.train_indices[[0, -1]])
        assert batch.images.shape == (8, 1, 8, 8)
    assert files.files is not None
    assert memory.images is not None
    numbers = [int(Path(files.files.paths[index]).stem) for index in files.some_training_images(8).indices.tolist()]
    assert torch.equal(files.some_training_images(8).images, memory.images[numbers])


def test_images_of_files_come_with_their_margin_from_any_cache(write_digits: WriteDigits, tmp_path: Path) -> None:
    directory = write_digits()
    batches = []
    for cache in ("none", "memory", "disk"):
        data = of_files(directory, margin=1.5, cache=cache, cache_directory=str(tmp_path / "cache"))
        data.prepare_data()
        assert (data.cached is None) == (cache == "none")
        batches.append(next(iter(data.train_dataloader())))
    assert batches[0].images.shape == (64, 1, 12, 12)
    assert all(torch.equal(batches[0].images, batch.images) for batch in batches)


def test_disk_that_does_not_take_the_cache_is_tried_once(
    write_digits: WriteDigits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").write_text("")
    data = of_files(write_digits(), cache="disk", cache_directory=str(tmp_path / "a file"))
    for _ in range(3):
        data.prepare_data()
    assert data.cached is None
    assert [record.getMessage().partition("=")[0] for record in caplog.records] == ["data.cache_directory"]


def test_nothing_is_recorded_as_skipped_for_images_in_memory(tmp_path: Path) -> None:
    data = module()
    data.setup("fit")
    assert data.record_skipped(tmp_path / "skipped_images.csv") == {}
    assert not list(tmp_path.iterdir())


class Uneven:
    """400 images of class a, 40 of b, 8 of c; with `rare` one of d; `told` are their official parts."""

    name, class_names = "uneven", ("a", "b", "c", "d")
    task: Task = "single_label"
    channels, image_size, mean, std = 1, 2, (0.5,), (0.5,)

    def __init__(self, rare: int = 8, **told: torch.Tensor) -> None:
        self.labels = torch.repeat_interleave(torch.arange(4), torch.tensor([400, 40, 8, rare]))
        self.told = told

    def load(self, root: Path) -> Images:
        return Images(torch.zeros(len(self.labels), 1, 2, 2, dtype=torch.uint8), self.labels, **self.told)


def test_balanced_sampler_draws_classes_equally_often() -> None:
    data = module(source=Uneven(), sampler="balanced", batch_size=32)
    data.setup("fit")
    labels = torch.cat([batch.labels for batch in data.train_dataloader()])
    counts = torch.bincount(labels)
    assert len(labels) == len(data.train_indices) // 32 * 32
    assert (counts - len(labels) / 4).abs().max() <= 16
    assert {len(set(batch.indices.tolist())) for batch in data.val_dataloader()} == {len(data.val_indices)}


def test_weights_say_how_often_an_image_is_drawn() -> None:
    weights = torch.ones(456, dtype=torch.float64)
    weights[:200] = 0
    data = module(source=Uneven(weights=weights), batch_size=8)
    data.setup("fit")
    drawn = torch.cat([batch.indices for batch in data.train_dataloader()])
    assert int(drawn.min()) >= 200


def test_weights_stay_with_their_images_where_features_of_some_are_not_known() -> None:
    weights, rows, is_known = torch.ones(456, dtype=torch.float64), torch.zeros(456, 3), torch.ones(456).bool()
    weights[200:] = 0
    data = module(source=Uneven(weights=weights), batch_size=8)
    data.setup("fit")
    unknown = data.train_indices[:20]
    is_known[unknown] = False
    data.features = Features(rows, [rows], is_known)
    drawn = torch.cat([batch.indices for batch in data.train_dataloader()])
    assert int(drawn.max()) < 200
    assert len(drawn) == (len(data.train_indices) - 20) // 8 * 8


def test_class_that_is_not_looked_at_is_told_and_one_that_is_never_learnt_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        module(source=Uneven(rare=1)).setup("fit")
    assert "no test image of class d" in caplog.text
    parts = torch.zeros(456, dtype=torch.int64)
    parts[-8:] = TEST
    with pytest.raises(ValueError, match="uneven: class d has 8 test images and none to learn from"):
        module(source=Uneven(parts=parts)).setup("fit")


def test_group_in_two_parts_is_refused_by_name() -> None:
    parts, groups = torch.zeros(456, dtype=torch.int64), torch.arange(456) % 400
    parts[::2] = TEST
    module(source=Uneven(parts=parts)).setup("fit")
    groups[1] = 2
    with pytest.raises(ValueError, match=r"image \d+ and image \d+ are of one group, but in different parts"):
        module(source=Uneven(parts=parts, groups=groups)).setup("fit")


def test_folds_are_recorded_and_together_test_every_image() -> None:
    found = []
    for fold in range(3):
        data = module(fold=fold, folds=3)
        data.setup("fit")
        assert data.facts()["fold"] == f"{fold} of 3"
        found.append(data.test_indices)
    assert torch.equal(torch.cat(found).sort().values, torch.arange(1797))


class Labelled(Digits):
    """Digits with other labels, and a part for each, where given."""

    def __init__(
        self, task: Task, labels: torch.Tensor, class_names: tuple[str, ...] = (), parts: torch.Tensor | None = None
    ) -> None:
        self.task, self.labels, self.class_names, self.parts = task, labels, class_names, parts  # type: ignore[misc]

    def load(self, root: Path) -> Images:
        return Images(super().load(root).images[: len(self.labels)], self.labels, self.parts)


def test_labels_that_the_task_does_not_know_are_refused() -> None:
    numbers, several = torch.arange(300.0), torch.randint(2, (300, 3)).float()
    numbers[7], several[7, 1] = torch.nan, 0.5
    with pytest.raises(ValueError, match=r"image 7 has the label nan, expected a number"):
        module(source=Labelled("regression", numbers)).setup("fit")
    with pytest.raises(ValueError, match=r"image 7 has the label \[.*0.5.*\], expected 0 or 1 for each class"):
        module(source=Labelled("multi_label", several, ("a", "b", "c"))).setup("fit")


def test_one_of_several_labels_that_no_training_image_has_is_refused() -> None:
    labels, parts = torch.ones(300, 2), torch.zeros(300, dtype=torch.int64)
    parts[250:] = TEST
    labels[:250, 1] = 0
    with pytest.raises(ValueError, match=r"class b has 50 test images and none to learn from"):
        module(source=Labelled("multi_label", labels, ("a", "b"), parts)).setup("fit")


def test_outputs_are_as_many_as_the_task_needs() -> None:
    assert module().num_outputs == 10
    assert module(source=Labelled("regression", torch.zeros(300))).num_outputs == 1
    assert module(source=Labelled("multi_label", torch.ones(300, 2), ("a", "b"))).num_outputs == 2
