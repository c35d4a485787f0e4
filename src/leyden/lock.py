"""Run directory > **lock**: one process at a time works in a run directory; the lock dies with its process.

A record lock (fcntl) belongs to the process itself: no child inherits it, whatever kills the process frees it, and
network file systems know it too.
"""

import contextlib
import fcntl
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

LOCK_FILE = ".lock"
CONTENTION = (BlockingIOError, PermissionError)  # how systems say that another process holds a lock
PATIENCE, SECONDS_BETWEEN_TRIES = 0.5, 0.05  # someone may only have asked who holds it


class Held(ValueError):
    """Another process holds a lock."""


class Lock:
    """Holds the lock of a run directory, which it makes, while it is a context manager.

    Raises:
        Held: on entering, when another process is at work in the directory, still after `patience` seconds.
        ValueError: on entering, when the directory cannot be written, or no file in it be locked.
    """

    def __init__(self, directory: Path, patience: float = PATIENCE) -> None:
        self.directory = directory
        self.patience = patience

    def __enter__(self) -> Self:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self.directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ValueError(
                f"the run directory {self.directory} cannot be written ({error.strerror}): "
                "give another place with runs_dir=…"
            ) from error
        begun = time.monotonic()
        while True:
            try:
                fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except CONTENTION as error:
                if time.monotonic() - begun > self.patience:
                    os.close(self.descriptor)
                    raise Held(
                        f"another process is at work in {self.directory}: wait for its end, or give another directory"
                    ) from error
                time.sleep(SECONDS_BETWEEN_TRIES)
            except OSError as error:
                os.close(self.descriptor)
                raise ValueError(
                    f"{self.directory} lies where files cannot be locked ({error.strerror}): "
                    "give another place with runs_dir=…"
                ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)


@contextlib.contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """The others wait for the one that is within; where nothing can be locked, none waits."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ValueError):
            stack.enter_context(Lock(directory, patience=math.inf))
        yield


def is_held(directory: Path) -> bool:
    """Whether a process is at work in a run directory. Not for that process to ask, who would free its lock so."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except CONTENTION:
        return True
    except OSError:  # where nothing can be locked nobody is at work
        return False
    finally:
        os.close(descriptor)
    return False
