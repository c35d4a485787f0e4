"""Which paths are meant, in which order, and what is said where there are none."""

import glob
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from leyden.predict.inputs import expand, find_inputs, walk


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes files below a directory that is the working one."""
    monkeypatch.chdir(tmp_path)

    def make(names: str) -> None:
        for name in names.split("|"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


FILES = "b/2.png|b/10.JPG|b/.hidden.png|a é/x y.webp|a é/deep/z.png|.git/1.png|notes.md|c.gif"


def test_a_folder_gives_its_images_by_name_at_any_depth(place: Callable[[str], None]) -> None:
    place(FILES)
    assert list(walk(".")) == ["./a é/deep/z.png", "./a é/x y.webp", "./b/10.JPG", "./b/2.png", "./c.gif"]
    inputs = find_inputs(".", "path", None)
    assert inputs.name == Path.cwd().name
    assert len(list(inputs.paths)) == 5


def test_links_are_followed_but_not_in_circles(place: Callable[[str], None], tmp_path: Path) -> None:
    place("one/a.png|two/b.png")
    (tmp_path / "one" / "link").symlink_to(tmp_path / "two")
    (tmp_path / "one" / "up").symlink_to(tmp_path / "one")
    assert list(walk("one")) == ["one/a.png", "one/link/b.png"]


@pytest.mark.parametrize(
    "pattern", ["*.gif", "b/*", "*/*.png", "**/*.png", "**", "b/[0-9].png", "a é/**/*.png", "./b/?.png", "*/deep/z.png"]
)  # fmt: skip
def test_a_pattern_fits_what_python_has_it_fit(pattern: str, place: Callable[[str], None], tmp_path: Path) -> None:
    place(FILES)
    for prefix in ("", f"{tmp_path}/"):
        theirs = {
            os.path.normpath(path) for path in glob.glob(prefix + pattern, recursive=True) if os.path.isfile(path)
        }
        found = [os.path.normpath(path) for path in expand(prefix + pattern)]
        assert set(found) == theirs
        assert len(set(found)) == len(found)
        assert found == list(map(os.path.normpath, expand(prefix + pattern)))


def test_a_directory_that_cannot_be_read_keeps_no_other_back(
    place: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place("a/1.png|lost+found/2.png|z/3.png")
    scandir = os.scandir

    def denied(path: str) -> object:
        if path.endswith("lost+found"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    found = [Path(path).name for path in find_inputs(str(tmp_path), "path", None).paths]
    assert found == ["1.png", "3.png"]
    assert "lost+found cannot be read (Permission denied): its images are left out" in caplog.text


def test_a_link_that_cannot_be_followed_keeps_no_other_back(
    place: Callable[[str], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place("a.png|z.png")
    (tmp_path / "loop").symlink_to("loop")
    assert list(find_inputs(".", "path", None).paths) == ["./a.png", "./z.png"]
    assert "loop cannot be followed (" in caplog.text


def test_a_tables_paths_begin_beside_it_or_at_the_root(place: Callable[[str], None], tmp_path: Path) -> None:
    place("t/a.png")
    (tmp_path / "t" / "list.csv").write_text('label,path\n1,a.png\n2,"b, c.png"\n3,/d.png\n', encoding="utf-8")
    inputs = find_inputs("t/list.csv", "path", None)
    assert (inputs.name, list(inputs.paths)) == ("list", ["t/a.png", "t/b, c.png", "/d.png"])
    assert list(find_inputs("t/list.csv", "label", Path("/r")).paths) == ["/r/1", "/r/2", "/r/3"]
    parquet.write_table(pyarrow.table({"file": ["é.png", None]}), tmp_path / "list.parquet")
    assert list(find_inputs("list.parquet", "file", None).paths) == ["é.png", ""]


@pytest.mark.parametrize("given", ["t", "t/a.png", "t/*.png"])
def test_a_root_that_no_path_is_put_below_is_told(
    given: str, place: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    place("t/a.png")
    assert list(find_inputs(given, "path", Path("/r")).paths) == ["t/a.png"]
    assert caplog.messages == [
        f"root=/r is not used: it is for a table of paths or standard input, and input={given} is none of these"
    ]


def test_standard_input_names_paths_of_any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO("a b.png\n\né.png\r\n".encode() + b"\xff.png"))
    monkeypatch.setattr(sys, "stdin", text)
    assert list(find_inputs("-", "path", None).paths) == ["a b.png", "é.png", "\udcff.png"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("nowhere", "input=nowhere: nothing is there; give an image, a folder"),
        ("empty", r"input=empty holds no image \(\.bmp"),
        ("*.xyz", r"input=\*\.xyz: the pattern fits no file"),
        ("rows.csv", "input=rows.csv has no row"),
        ("other.csv", "other.csv has no column 'path': did you mean 'paths'.* another is named by path_column="),
        ("torn.csv", "torn.csv, line 3: 2 cells"),
    ],
)
def test_what_holds_no_image_gets_one_sentence(
    given: str, sentence: str, place: Callable[[str], None], tmp_path: Path
) -> None:
    place("empty/notes.md")
    tables = {"rows.csv": "path\n", "other.csv": "paths\nx\n", "torn.csv": "path\na.png\nb,c\n"}
    for name, text in tables.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        list(find_inputs(given, "path", None).paths)
