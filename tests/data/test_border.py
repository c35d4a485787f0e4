"""The border of a data set: links that stay within, that leave, and that have no end."""

import os
from pathlib import Path

import pytest

from leyden.data.border import Border, is_directory, lies_in


@pytest.fixture
def border(tmp_path: Path) -> Border:
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "settled").mkdir()
    return Border(tmp_path / "set")


def test_what_stays_within_is_followed_to_its_real_place(border: Border, tmp_path: Path) -> None:
    (tmp_path / "set" / "b").symlink_to("a")
    assert border.follow(str(tmp_path / "set" / "b" / "1.png")) == os.path.realpath(tmp_path / "set" / "a" / "1.png")


def test_directory_whose_name_begins_alike_lies_outside(border: Border, tmp_path: Path) -> None:
    (tmp_path / "set" / "b").symlink_to(tmp_path / "settled")
    with pytest.raises(ValueError, match=r"b leads out of data\.root=.*set, to .*settled: put what is there below"):
        border.follow(str(tmp_path / "set" / "b"))


def test_link_to_a_neighbour_may_be_entered_and_one_to_above_may_not(border: Border, tmp_path: Path) -> None:
    real = os.path.realpath(tmp_path / "set")
    (tmp_path / "set" / "b").symlink_to("a")
    (tmp_path / "set" / "a" / "up").symlink_to("..")
    assert border.enter(str(tmp_path / "set" / "b"), [real]) == f"{real}/a"
    with pytest.raises(ValueError, match=r"up is a symbolic link to .*, in which it lies itself, without end"):
        border.enter(str(tmp_path / "set" / "a" / "up"), [f"{real}/a"])


def test_root_of_the_disk_holds_everything() -> None:
    assert lies_in("/a", "/")
    assert not lies_in("/", "/a")


def test_link_to_itself_cannot_be_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nothing").symlink_to("absent")
    with os.scandir(tmp_path) as entries:
        found = {entry.name: entry for entry in entries}
    assert not is_directory(found["nothing"])
    with pytest.raises(ValueError, match=r"loop cannot be followed \(Too many levels of symbolic links\): delete it"):
        is_directory(found["loop"])
