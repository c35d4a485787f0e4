"""The lock of a run directory: one holder, freed by whatever ends it, never inherited."""

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from leyden.lock import LOCK_FILE, Held, Lock, is_held, one_at_a_time

HOLD = """
import pathlib, subprocess, sys
from leyden.lock import Lock
with Lock(pathlib.Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "60"], close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    sys.stdin.read()
"""


def test_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = holder.stdout.readline().strip()
        assert is_held(tmp_path)
        with pytest.raises(Held, match="another process is at work in"), Lock(tmp_path):
            pass
        holder.kill()
        holder.wait()
    assert not is_held(tmp_path)  # though the child, which has the file open, lives on
    subprocess.run(["kill", child], check=True)
    with Lock(tmp_path):
        pass


def test_others_wait_for_the_one_that_is_within(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = holder.stdout.readline().strip()
        threading.Timer(0.3, holder.kill).start()
        with one_at_a_time(tmp_path):
            assert holder.wait(timeout=10) < 0
    subprocess.run(["kill", child], check=True)
    (tmp_path / "file").touch()
    with one_at_a_time(tmp_path / "file" / "nothing can be locked there"):
        pass


def test_asking_leaves_the_lock_with_its_holder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = holder.stdout.readline().strip()
        assert [is_held(tmp_path) for _ in range(3)] == [True] * 3
        holder.communicate("")
    assert not is_held(tmp_path)
    subprocess.run(["kill", child], check=True)


def test_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ValueError, match=r"run directory .*/file/run cannot be written"),
        Lock(tmp_path / "file" / "run"),
    ):
        pass
    assert not (tmp_path / LOCK_FILE).exists()


def test_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with pytest.raises(ValueError, match=r"files cannot be locked \(No locks available\): give another") as caught:
        Lock(tmp_path).__enter__()
    assert not isinstance(caught.value, Held)
    assert not is_held(tmp_path)
