"""Faults > **processes**: real `leyden` processes, each with its own pid, in a fraction of a second.

A fresh interpreter needs five seconds for its imports. So this process imports everything once, starts no thread, and
forks: the child is what a fresh interpreter would be after its imports. With `fresh` the child does exec Python anew.
"""

import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

LONGEST_RUN = 120.0  # seconds after which a process hangs
SECONDS_BETWEEN_LOOKS = 0.005


class Hangs(Exception):
    """A process did not end."""


def import_everything() -> None:
    """What a run imports, once for all children; a thread would not survive a fork, so there must be none."""
    import matplotlib.pyplot
    import sklearn.datasets
    import torch

    import leyden.command_line
    import leyden.figures
    import leyden.train

    torch.set_num_threads(1)
    assert all((matplotlib.pyplot, sklearn.datasets, leyden.command_line, leyden.figures, leyden.train))
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads: forked children could wait for ever"


class Process:
    """`leyden <arguments>` in a session of its own; `inside` is called in it before the command begins."""

    def __init__(
        self, arguments: Sequence[str], log: Path, inside: Callable[[], object] | None = None, fresh: bool = False
    ) -> None:
        assert not (inside and fresh)
        sys.stdout.flush()
        sys.stderr.flush()
        self.arguments, self.log = list(arguments), log
        self.code: int | None = None
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            _become_leyden(self.arguments, log, inside, fresh)

    def is_alive(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is None

    def wait(self, longest: float = LONGEST_RUN) -> int:
        """The exit code; negative after a signal that nobody caught."""
        deadline = time.monotonic() + longest
        while self.is_alive():
            if time.monotonic() > deadline:
                for pid in self.relatives():
                    os.kill(pid, signal.SIGABRT)  # each writes where it stands
                time.sleep(1)
                raise Hangs(f"no end after {longest:.0f} s")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        assert self.code is not None
        return self.code

    def send(self, number: int) -> None:
        if self.is_alive():
            os.kill(self.pid, number)

    def children(self) -> list[int]:
        """Processes that it started: loader workers, other ranks."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        except OSError:  # it has ended
            return []
        return [int(pid) for pid in text.split()]

    def relatives(self) -> list[int]:
        """All living processes of its session, itself too."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = stat.read_text(encoding="utf-8").rpartition(")")[2].split()[:4]
            except OSError:  # it ended meanwhile
                continue
            if int(session) == self.pid and state != "Z":
                found.append(int(stat.parent.name))
        return found

    def clear_away(self) -> None:
        """Kills what is left of it and of its children."""
        for pid in self.relatives():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.wait()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def _become_leyden(arguments: list[str], log: Path, inside: Callable[[], object] | None, fresh: bool) -> None:
    """What the child does after the fork; never returns."""
    code = 1
    try:
        os.setsid()
        os.chdir(log.parent)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        faulthandler.enable()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if fresh:
            os.execv(sys.executable, [sys.executable, "-m", "leyden", *arguments])
        sys.argv = ["leyden", *arguments]
        if inside:
            inside()
        from leyden.__main__ import main

        code = main()
    except KeyboardInterrupt:  # as the interpreter ends: Python would kill itself with SIGINT
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
