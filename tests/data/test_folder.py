"""Directories of image files: which files count, which class and part they belong to, and wrong layouts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leyden.data import Digits, ImageFolder

WriteDigits = Callable[..., Path]


def folder(directory: Path, **settings: Any) -> ImageFolder:
    facts = {"image_size": 8, "channels": 1, "mean": [0.3], "std": [0.4]}
    return ImageFolder(**{"directory": str(directory)} | facts | settings)


def touch(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()
    return directory


def test_files_give_the_images_of_the_package(write_digits: WriteDigits) -> None:
    source = folder(write_digits())
    files = source.load(Path("unused"))
    images, labels, _ = Digits().load(Path("unused"))
    numbers = [int(Path(path).stem) for path in files.paths]
    assert sorted(numbers) == list(range(300))
    assert source.class_names == Digits.class_names
    assert files.num_train is None
    assert torch.equal(files.labels, labels[numbers])
    read = torch.stack([files.read(str(files.directory / path)) for path in files.paths])
    assert torch.equal(read, images[numbers])


def test_images_count_at_any_depth_and_hidden_ones_do_not(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.JPG", "b/1.png", "b/deep/er/0.webp", "a/3.tiff", "a/notes.txt", "a/.4.png", "a/.trash/5.png")
    touch(tmp_path, ".hidden/6.png", "7.png")
    files = folder(tmp_path).load(tmp_path)
    assert files.paths == ["a/3.tiff", "b/1.png", "b/2.JPG", "b/deep/er/0.webp"]
    assert files.labels.tolist() == [0, 1, 1, 1]


def test_train_and_test_directories_are_the_official_parts(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "train/b/2.png", "test/b/1.png")
    source = folder(tmp_path)
    files = source.load(tmp_path)
    assert source.class_names == ("a", "b")
    assert files.paths == ["train/a/1.png", "train/b/1.png", "train/b/2.png", "test/b/1.png"]
    assert files.labels.tolist() == [0, 1, 1, 1]
    assert files.num_train == 3


def test_train_directory_alone_is_no_official_part(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png")
    assert folder(tmp_path).load(tmp_path).num_train is None


def test_train_may_be_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.png", "bus/1.png")
    assert folder(tmp_path).class_names == ("bus", "train")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "holds no class directories"),
        (["1.png"], "holds no class directories"),
        (["a/1.png"], "holds 1 class directories"),
        (["train/a/1.png", "test/a/1.png"], "holds 1 class directories"),
        (["train/a/1.png", "train/b/1.png", "val/a/1.png"], "holds val/ beside train/"),
    ],
)
def test_wrong_layout_is_refused_before_anything_is_read(names: list[str], expected: str, tmp_path: Path) -> None:
    touch(tmp_path, *names)
    with pytest.raises(ValueError, match=expected) as caught:
        folder(tmp_path)
    assert f"data.source.directory={tmp_path}" in str(caught.value)
    assert "expected a directory for each class" in str(caught.value)


def test_absent_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.source\.directory=.*absent is no directory: expected a directory for"):
        folder(tmp_path / "absent")


def test_class_without_an_image_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/readme.txt")
    with pytest.raises(ValueError, match=r"b holds no image \(\.bmp"):
        folder(tmp_path).load(tmp_path)


def test_class_of_the_test_part_alone_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "test/c/1.png")
    with pytest.raises(ValueError, match=r"there is no class 'c' in .*train"):
        folder(tmp_path).load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"image_size": 0}, "data.source.image_size=0"),
        ({"channels": 2}, "data.source.channels=2"),
        ({"channels": 3}, "data.source.mean has 1 numbers, data.source.channels=3"),
        ({"std": [0.0]}, r"data.source.std=\[0.0\]"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], expected: str, tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    with pytest.raises(ValueError, match=expected):
        folder(tmp_path, **settings)
