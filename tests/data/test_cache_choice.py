"""Where decoded images are kept: memory where they fit and nobody else wants them, else the disk, else nowhere."""

import errno
import fcntl
import logging
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from leyden.data import Files, ImageFolder
from leyden.data.cache import Cached
from leyden.data.cache_choice import available_memory, is_job_of_a_study, keep_decoded

SHAPE = (1, 8, 8)
Keep = Callable[..., Cached | None]


@pytest.fixture
def files(write_digits: Callable[..., Path], tmp_path: Path) -> Files:
    """30 digits in PNG files."""
    return ImageFolder(str(write_digits(end=30)), 8, [0.3], [0.4], channels=1).load(tmp_path)


@pytest.fixture
def keep(files: Files, tmp_path: Path) -> Keep:
    """Keeps the digits, on the disk below tmp_path/cache."""

    def kept(
        kind: str = "auto", share: float = 0.5, num_ranks: int = 1, skipped: dict[str, str] | None = None
    ) -> Cached | None:
        return keep_decoded(files, SHAPE, kind, tmp_path / "cache", share, num_ranks, 0, skipped)

    return kept


def is_in_memory(cached: Cached | None) -> bool:
    assert cached is not None
    return cached.mapped is None


def test_what_fits_is_kept_in_memory_and_leaves_the_disk_alone(keep: Keep, tmp_path: Path) -> None:
    assert is_in_memory(keep())
    assert not (tmp_path / "cache").exists()


def test_what_does_not_fit_goes_to_the_disk(keep: Keep) -> None:
    assert not is_in_memory(keep(share=1e-9))


def test_what_other_ranks_want_too_goes_to_the_disk(keep: Keep) -> None:
    assert not is_in_memory(keep(num_ranks=2))


def test_what_lies_on_the_disk_is_used(keep: Keep) -> None:
    keep("disk")
    assert not is_in_memory(keep())


def tell(results: "multiprocessing.Queue[bool]") -> None:
    results.put(is_job_of_a_study())


def test_job_of_a_study_knows_that_it_is_one() -> None:
    assert not is_job_of_a_study()
    context = multiprocessing.get_context("forkserver")
    results = context.Queue()
    process = context.Process(target=tell, args=(results,))
    process.start()
    assert results.get(timeout=120)
    process.join()


def test_directory_that_cannot_be_written_is_told_and_nothing_is_kept(
    keep: Keep, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert keep("disk") is None
    assert "cannot take 0.0 GB of decoded images (Not a directory)" in caplog.text


def test_directory_without_locks_is_told_and_nothing_is_kept(
    keep: Keep, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lockf(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", lockf)
    assert keep("disk") is None
    assert [record.getMessage().partition(" (")[2][:20] for record in caplog.records] == ["No locks available):"]


def test_files_that_were_unreadable_when_it_was_built_stay_left_out_and_are_told(
    keep: Keep, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    path = files.directory / files.paths[3]
    path.write_bytes(path.read_bytes()[:60])
    first: dict[str, str] = {}
    again: dict[str, str] = {}
    keep("disk", skipped=first)
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        cached = keep("disk", skipped=again)
    assert cached is not None
    assert list(cached.unreadable) == [3]
    assert list(first) == [str(path)]
    assert first == again
    assert [record.getMessage() for record in caplog.records] == ["1 of 30 files could not be read, and are left out"]
    with pytest.raises(ValueError, match="cannot be read"):
        keep("disk")


def test_available_memory_is_less_than_there_is() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < available_memory() <= total
