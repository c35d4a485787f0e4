"""The file of decoded images: whole or not there, whoever builds it, however often it is killed, on whatever disk."""

import contextlib
import errno
import functools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from leyden.data import Files
from leyden.data.cache import Cached
from leyden.data.cache_file import CacheFile, content_hash
from leyden.data.image_file import read_image
from leyden.run import write_atomically

SHAPE = (1, 8, 8)
NUM_IMAGES = 120


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """120 grey PNG files of 8 x 8, each of one value: its own number."""
    directory = tmp_path / "pictures"
    directory.mkdir()
    paths = [f"{number:03}.png" for number in range(NUM_IMAGES)]
    for number, path in enumerate(paths):
        Image.new("L", (8, 8), number).save(directory / path)
    read = functools.partial(read_image, image_size=8, channels=1)
    return Files(directory, paths, torch.zeros(NUM_IMAGES, dtype=torch.int64), read)


@pytest.fixture
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images to a task, and every task's are put on the disk."""
    monkeypatch.setattr("leyden.data.cache.BYTES_OF_A_TASK", 640)
    monkeypatch.setattr("leyden.data.cache_file.BYTES_BETWEEN_SYNCS", 1)


def is_right(cached: Cached) -> bool:
    """Whether each image has its number."""
    expected = torch.arange(NUM_IMAGES).byte().view(-1, 1, 1, 1).expand(-1, *SHAPE)
    return torch.equal(cached.gather(torch.arange(NUM_IMAGES)), expected)


def counting(files: Files, counted: list[str], until: int = 10**9) -> Files:
    """The same files, whose paths are noted as they are read; the one after `until` ends all."""

    def read(path: str) -> torch.Tensor:
        if len(counted) == until:
            raise KeyboardInterrupt
        counted.append(path)
        return files.read(path)

    read.__module__, read.__qualname__ = "tests", "read"
    return files._replace(read=read)


def test_second_time_nothing_is_decoded(files: Files, tmp_path: Path) -> None:
    counted: list[str] = []
    for _ in range(2):
        assert is_right(CacheFile(tmp_path / "cache", counting(files, counted), SHAPE).open_or_build(0, None))
    assert len(counted) == NUM_IMAGES
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".images", ".json"}


@pytest.mark.usefixtures("few_at_a_time")
def test_build_that_was_ended_goes_on_where_it_was(files: Files, tmp_path: Path) -> None:
    counted: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        CacheFile(tmp_path / "cache", counting(files, counted, until=57), SHAPE).open_or_build(0, None)
    file = CacheFile(tmp_path / "cache", counting(files, counted), SHAPE)
    assert file.open() is None
    assert is_right(file.open_or_build(0, None))
    assert len(counted) == 57 + NUM_IMAGES - 50


SLOW = """
import functools, sys, time, torch
from pathlib import Path
import leyden.data.cache as cache, leyden.data.cache_file as cache_file
from leyden.data import Files
from leyden.data.image_file import read_image
cache.BYTES_OF_A_TASK, cache_file.BYTES_BETWEEN_SYNCS = 640, 1
def read(path):
    print("read", flush=True)
    time.sleep(float(sys.argv[2]))
    return read_image(path, 8, 1)
read.__module__, read.__qualname__ = "tests", "read"
paths = sorted(path.name for path in Path(sys.argv[1], "pictures").iterdir())
files = Files(Path(sys.argv[1], "pictures"), paths, torch.zeros(len(paths)), read)
cache_file.CacheFile(Path(sys.argv[1], "cache"), files, (1, 8, 8)).open_or_build(0, None)
"""


def builder(tmp_path: Path, pause: float) -> subprocess.Popen[str]:
    """Another process that builds the same file, and tells of each image."""
    command = [sys.executable, "-c", SLOW, str(tmp_path), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.whole
def test_killed_build_is_no_cache_and_goes_on(files: Files, tmp_path: Path) -> None:
    for number_of_kill in range(3):
        process = builder(tmp_path, 0.01)
        assert process.stdout is not None
        for _ in range(23):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert CacheFile(tmp_path / "cache", counting(files, []), SHAPE).open() is None, number_of_kill
    counted: list[str] = []
    assert is_right(CacheFile(tmp_path / "cache", counting(files, counted), SHAPE).open_or_build(0, None))
    assert 0 < len(counted) <= NUM_IMAGES - 60


@pytest.mark.whole
def test_two_builders_decode_each_image_once(files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process = builder(tmp_path, 0.01)
    assert process.stdout is not None
    process.stdout.readline()
    counted: list[str] = []
    assert is_right(CacheFile(tmp_path / "cache", counting(files, counted), SHAPE).open_or_build(0, None))
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert output.count("read") == NUM_IMAGES - 1  # the first was read above
    assert counted == []
    assert "another process is decoding these images" in caplog.text


CHANGES: dict[str, Callable[[Path], Any]] = {
    "size": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "time": lambda path: os.utime(path, ns=(0, 0)),
    "absence": Path.unlink,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_file_is_another_content(files: Files, change: str) -> None:
    before = content_hash(files, SHAPE)
    assert content_hash(files, SHAPE) == before
    CHANGES[change](files.directory / files.paths[17])
    assert content_hash(files, SHAPE) != before


def test_content_is_told_by_names_and_decoding_not_by_labels(files: Files) -> None:
    other = functools.partial(files.read, image_size=9)
    names = {
        content_hash(files, SHAPE),
        content_hash(files, (1, 8, 9)),
        content_hash(files._replace(read=other), SHAPE),
        content_hash(files._replace(read=functools.partial(read_image, image_size=8, channels=3)), SHAPE),
        content_hash(files._replace(paths=files.paths[::-1]), SHAPE),
    }
    assert len(names) == 5
    assert content_hash(files._replace(labels=files.labels + 1), SHAPE) == content_hash(files, SHAPE)


DAMAGES: dict[str, Callable[[CacheFile], Any]] = {
    "images cut": lambda file: os.truncate(file.path, 1000),
    "images gone": lambda file: file.path.unlink(),
    "description cut": lambda file: os.truncate(file.description, 10),
    "description gone": lambda file: file.description.unlink(),
    "description of something else": lambda file: file.description.write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_built_anew(files: Files, tmp_path: Path, damage: str) -> None:
    file = CacheFile(tmp_path / "cache", files, SHAPE)
    file.open_or_build(0, None)
    DAMAGES[damage](file)
    assert file.open() is None
    assert is_right(file.open_or_build(0, None))


@pytest.mark.usefixtures("few_at_a_time")
@pytest.mark.parametrize("name", ["images", "done"])
def test_half_built_cache_that_does_not_fit_together_is_begun_anew(files: Files, tmp_path: Path, name: str) -> None:
    counted: list[str] = []
    file = CacheFile(tmp_path / "cache", counting(files, counted, until=57), SHAPE)
    with pytest.raises(KeyboardInterrupt):
        file.open_or_build(0, None)
    os.truncate(file.building / name, 17)
    counted.clear()
    assert is_right(CacheFile(tmp_path / "cache", counting(files, counted), SHAPE).open_or_build(0, None))
    assert len(counted) == NUM_IMAGES


def test_full_disk_is_an_error_that_gives_the_room_back(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        CacheFile(tmp_path / "cache", files, SHAPE).open_or_build(0, None)
    assert list((tmp_path / "cache").iterdir()) == []


def gathered(file: CacheFile, results: Any) -> None:
    cached = file.open()
    results.put(cached is not None and is_right(cached))


def test_processes_read_one_file_at_once(files: Files, tmp_path: Path) -> None:
    file = CacheFile(tmp_path / "cache", files, SHAPE)
    file.open_or_build(2, None)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=gathered, args=(file, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [True] * 3
    for process in processes:
        process.join()


def test_files_elsewhere_that_are_alike_in_all_else_are_another_content(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "others"
    shutil.copytree(files.directory, other, copy_function=shutil.copy2)  # names, sizes and times
    assert content_hash(files, SHAPE) != content_hash(files._replace(directory=other), SHAPE)


def test_file_that_can_be_read_again_is_no_longer_left_out(files: Files, tmp_path: Path) -> None:
    def fails(path: str) -> torch.Tensor:
        if path.endswith("007.png"):
            raise OSError(5, "Input/output error")
        return files.read(path)

    fails.__module__, fails.__qualname__ = "tests", "read"
    mended = counting(files, [])
    skipped: dict[str, str] = {}
    first = CacheFile(tmp_path / "cache", files._replace(read=fails), SHAPE)
    assert list(first.open_or_build(0, skipped).unreadable) == [7]
    again = CacheFile(tmp_path / "cache", files._replace(read=fails), SHAPE)
    assert again.open() is not None
    later = CacheFile(tmp_path / "cache", mended, SHAPE)
    assert later.path == first.path
    assert is_right(later.open_or_build(0, None))


def test_mended_cache_that_was_killed_before_its_end_shows_no_image_that_it_lacks(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = files.directory / "007.png"
    whole, state = spoilt.read_bytes(), spoilt.stat()
    spoilt.write_bytes(bytes(len(whole)))
    os.utime(spoilt, ns=(state.st_atime_ns, state.st_mtime_ns))
    file = CacheFile(tmp_path / "cache", files, SHAPE)
    assert list(file.open_or_build(0, {}).unreadable) == [7]
    spoilt.write_bytes(whole)
    os.utime(spoilt, ns=(state.st_atime_ns, state.st_mtime_ns))

    def killed(path: Path, text: str) -> None:
        write_atomically(path, text)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("leyden.data.cache_file.write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            file.open_or_build(0, None)
    assert file.open() is None
    assert is_right(file.open_or_build(0, None))


def test_builder_that_waited_for_one_that_failed_builds_by_itself(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def after_a_failure(file: CacheFile) -> Iterator[None]:
        shutil.rmtree(file.building)
        yield

    monkeypatch.setattr(CacheFile, "_alone", after_a_failure)
    assert is_right(CacheFile(tmp_path / "cache", files, SHAPE).open_or_build(0, None))


def test_unreadable_file_gives_the_room_back(files: Files, tmp_path: Path) -> None:
    (files.directory / "007.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot be read"):
        CacheFile(tmp_path / "cache", files, SHAPE).open_or_build(0, None)
    assert list((tmp_path / "cache").iterdir()) == []


def test_file_that_recovers_while_the_cache_is_built_is_left_out_this_time(files: Files, tmp_path: Path) -> None:
    tries = []

    def fails_once(path: str) -> torch.Tensor:
        if path.endswith("007.png"):
            tries.append(path)
            if len(tries) == 1:
                raise OSError(5, "Input/output error")
        return files.read(path)

    fails_once.__module__, fails_once.__qualname__ = "tests", "read"
    skipped: dict[str, str] = {}
    file = CacheFile(tmp_path / "cache", files._replace(read=fails_once), SHAPE)
    assert list(file.open_or_build(0, skipped).unreadable) == [7]
    assert len(skipped) == 1
    assert is_right(file.open_or_build(0, skipped))
