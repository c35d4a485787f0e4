"""Directories of image files: which files count, which class and part they belong to, and wrong layouts."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from leyden.data import Digits, ImageFolder
from leyden.data.sources import TEST, TRAINING, VALIDATION

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
    images, labels = Digits().load(Path("unused"))[:2]
    numbers = [int(Path(path).stem) for path in files.paths]
    assert sorted(numbers) == list(range(300))
    assert source.class_names == Digits.class_names
    assert files.parts is None
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
    assert files.parts is not None
    assert files.parts.tolist() == [TRAINING] * 3 + [TEST]


@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_validation_directory_is_an_official_part(validation: str, tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", f"{validation}/b/1.png", "test/a/1.png")
    files = folder(tmp_path).load(tmp_path)
    assert files.paths == ["train/a/1.png", "train/b/1.png", f"{validation}/b/1.png", "test/a/1.png"]
    assert files.parts is not None
    assert files.parts.tolist() == [TRAINING, TRAINING, VALIDATION, TEST]


def test_two_directories_for_one_part_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/1.png", "validation/a/1.png")
    with pytest.raises(ValueError, match=r"holds val/ and validation/: keep one of them"):
        folder(tmp_path)


def test_train_directory_alone_is_no_official_part(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png")
    assert folder(tmp_path).load(tmp_path).parts is None


def test_train_may_be_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.png", "bus/1.png")
    assert folder(tmp_path).class_names == ("bus", "train")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "holds no class directories"),
        (["1.png"], "holds no class directories"),
        (["a/1.png"], "holds one class directory alone, a, at least two are needed"),
        (["train/a/1.png", "test/a/1.png"], "holds one class directory alone, a, at least two are needed"),
        (["train/a/1.png", "train/b/1.png", "extra/a/1.png"], "holds extra/ beside train/"),
        (["val/a/1.png", "val/b/1.png", "test/a/1.png"], "holds test/ and no train/"),
    ],
)
def test_wrong_layout_is_refused_before_anything_is_read(names: list[str], expected: str, tmp_path: Path) -> None:
    touch(tmp_path, *names)
    with pytest.raises(ValueError, match=expected) as caught:
        folder(tmp_path)
    assert f"data.root={tmp_path}" in str(caught.value)
    assert "expected a directory for each class" in str(caught.value)


def test_absent_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.root=.*absent is no directory: expected a directory for"):
        folder(tmp_path / "absent")


def test_class_without_an_image_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/readme.txt")
    with pytest.raises(ValueError, match=r"b holds no image \(\.bmp"):
        folder(tmp_path).load(tmp_path)


def test_test_part_without_an_image_is_not_dealt_from_the_training_part(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.heic", "test/b/1.heic")
    with pytest.raises(ValueError, match=r"test has class directories and no image \(\.bmp"):
        folder(tmp_path).load(tmp_path)


def test_class_of_the_test_part_alone_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "test/c/1.png")
    with pytest.raises(ValueError, match=r"there is no class 'c' in .*train"):
        folder(tmp_path).load(tmp_path)


NAMES = ["a b.png", " .png", "grün 花.png", "two\nlines.png", 'comma, "quote".png', "-rf *.png", "%s{0}.png"]


def test_any_name_of_a_file_is_read_and_comes_back_whole(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        for label in ("grün \u200c", "two words"):
            path = tmp_path / label / "deep\ner" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), number).save(path)
    source = folder(tmp_path)
    files = source.load(tmp_path)
    assert source.class_names == ("grün \u200c", "two words")
    assert len(files.paths) == 2 * len(NAMES)
    for path in files.paths:
        assert files.read(str(files.directory / path)).unique().tolist() == [NAMES.index(Path(path).name)]


def test_class_whose_name_cannot_be_printed_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "two\nlines/1.png")
    with pytest.raises(ValueError, match=r"'two\\nlines', no name to print for a class"):
        folder(tmp_path)


def test_links_within_the_root_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "set/a/1.png", "set/b/1.png", "more/2.png", "more/deep/3.png")
    (tmp_path / "set" / "b" / "more").symlink_to("../../more")
    (tmp_path / "set" / "a" / "4.png").symlink_to(tmp_path / "more" / "2.png")
    files = folder(tmp_path / "set").load(tmp_path)
    assert files.paths == ["a/1.png", "a/4.png", "b/1.png", "b/more/2.png", "b/more/deep/3.png"]


def test_root_may_be_a_link_itself(tmp_path: Path) -> None:
    touch(tmp_path, "set/a/1.png", "set/b/1.png")
    (tmp_path / "link").symlink_to("set")
    assert folder(tmp_path / "link").load(tmp_path / "link").paths == ["a/1.png", "b/1.png"]


@pytest.mark.parametrize("link", ["set/c", "set/b/deep", "set/b/2.png"])
def test_link_that_leaves_the_root_is_named(link: str, tmp_path: Path) -> None:
    touch(tmp_path, "set/a/1.png", "set/b/1.png", "other/1.png")
    (tmp_path / link).symlink_to(tmp_path / "other" / ("1.png" if link.endswith(".png") else ""))
    with pytest.raises(ValueError, match=rf"{tmp_path / link} leads out of data\.root={tmp_path / 'set'}, to "):
        folder(tmp_path / "set").load(tmp_path / "set")


@pytest.mark.parametrize(
    ("link", "target"),
    [("a/loop", "."), ("a/loop", ".."), ("a/deep/loop", "../.."), ("loop", "."), ("a/x", "../b/deep")],
)
def test_link_to_where_it_lies_is_named(link: str, target: str, tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/deep/1.png", "b/1.png", "b/deep/1.png")
    (tmp_path / "b" / "deep" / "y").symlink_to("../../a")  # with a/x in b/deep a loop of two
    if target != "../b/deep":
        (tmp_path / "b" / "deep" / "y").unlink()
    (tmp_path / link).symlink_to(target)
    with pytest.raises(ValueError, match=r"is a symbolic link to .*, in which it lies itself, without end: delete it"):
        folder(tmp_path).load(tmp_path)


def test_link_to_itself_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "c").symlink_to("c")
    with pytest.raises(ValueError, match=r"c cannot be followed \(Too many levels of symbolic links\): delete it"):
        folder(tmp_path)


def test_images_beside_the_class_directories_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a/1.png", "b/1.png", "1.png", "2.jpg", "notes.txt")
    assert folder(tmp_path).load(tmp_path).paths == ["a/1.png", "b/1.png"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: what lies beside the class directories is not used, 2 of it images"
    ]


def test_pipe_with_the_name_of_an_image_is_no_image(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(tmp_path / "a" / "2.png")  # opening it would wait for ever
    assert folder(tmp_path).load(tmp_path).paths == ["a/1.png", "b/1.png"]


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
