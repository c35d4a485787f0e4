"""Command line > **signals** > train: SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 ask a run to end, and it ends cleanly.

A signal may come at any instruction, where raising could leave anything half done, so it is noted, and whoever stands
between two steps asks for it. Only while data is read, where a step can take minutes, does it end the run at once.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self

from leyden.errors import Interrupted
from leyden.run import rank

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Signals:
    """As a context manager, notes the first signal that asks the process to end; a second SIGINT ends it at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.is_patient, self.has_raised = True, False
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.previous = {number: signal.signal(number, self._receive) for number in CAUGHT}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def receive_from_another_rank(self) -> None:
        """Counts as SIGTERM where this rank has received nothing itself."""
        self.received = self.received or signal.SIGTERM

    def check(self) -> None:
        """Ends the run where a signal has asked for it.

        Raises:
            Interrupted: with the signal's number.
        """
        if self.received is not None:
            raise Interrupted(self.received)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within this a signal raises where it comes, for work that may be left at any point."""
        self.is_patient = False
        try:
            self.check()
            yield
        finally:
            self.is_patient = True
        self.check()  # a library may have swallowed what was raised

    @contextlib.contextmanager
    def clearly(self) -> Iterator[None]:
        """Within this an error that a signal caused by raising in the midst of something is the signal's."""
        try:
            yield
        except Exception as error:
            if self.has_raised and self.received is not None:
                raise Interrupted(self.received) from error
            raise

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_second = self.received is not None and number == signal.SIGINT
        if is_second:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a third need not wait for anything
        if self.received is None:
            self.received = number
            if self.is_patient and rank() == 0:
                with contextlib.suppress(OSError):  # `| tee` gets the same Ctrl-C, and may be gone already
                    os.write(2, f"{signal.Signals(number).name}: stopping as soon as nothing is half done\n".encode())
        if is_second or not self.is_patient:
            self.has_raised = True
            raise Interrupted(number)
