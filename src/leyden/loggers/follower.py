"""Metrics > metrics.csv > **followers**: another tool is handed each row, in a thread of its own, and may fail.

A follower that has fewer rows than there are, as one of a run that was killed and goes on, reads those it lacks in the
file; one that has more is given none twice. So each tool holds each row once, whatever happened. Only the test of a
run that is trained longer stays there beside the rows that came in its place.
"""

import logging
import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leyden.errors import explain
from leyden.metric_names import is_of_the_test, read_numbers

log = logging.getLogger(__name__)

SECONDS_TO_END = 180.0  # for what a tool still has to send
RECORDS = ("config.yaml", "run.json", "metrics.csv", "log.txt", "error.txt")  # of a run, which a tool may keep


class Follower:
    """Hands the rows of a run's metrics.csv to a tool; training neither waits for it nor ends with it.

    Each kind gives `tool`, its name, and `open`, `send` and `close`, which run in the follower's own thread.
    """

    tool: str

    def __init__(self, run_directory: Path) -> None:
        self.run_directory = run_directory
        self.config: dict[str, Any] = {}
        self.run_id = ""
        self.num_sent = 0
        self.ends_in_test = False  # whether the last row that the tool has is that of a test
        self.thread: threading.Thread | None = None
        self.jobs: queue.SimpleQueue[tuple[int, dict[str, float]] | Mapping[str, Any]] = queue.SimpleQueue()

    def open(self) -> int:
        """Begins the run `run_id` at the tool, or goes on with it; how many rows it has already.

        Sets `ends_in_test`.
        """
        raise NotImplementedError

    def send(self, index: int, row: dict[str, float]) -> None:
        """Hands over a row, the first of which has index 0."""
        raise NotImplementedError

    def close(self, record: Mapping[str, Any]) -> None:
        """Ends the run at the tool as run.json says that it ended."""
        raise NotImplementedError

    def recover(self, error: Exception) -> int:
        """After an error: how many rows the tool has, if it goes on in another way; otherwise raises it again."""
        raise error

    def begin(self, run_id: str) -> None:
        """Starts handing over rows."""
        if self.thread is None:
            self.run_id = run_id
            self.thread = threading.Thread(target=self._work, name=f"follower {self.tool}", daemon=True)
            self.thread.start()

    def follow(self, index: int, row: dict[str, float]) -> None:
        """Takes note of a new row; returns at once."""
        self.jobs.put((index, row))

    def finish(self, record: Mapping[str, Any]) -> None:
        """Hands over what is left and ends the run there, as run.json says; waits for it, but not for ever."""
        self.begin(record["run_id"])
        assert self.thread is not None
        self.jobs.put(record)
        self.thread.join(SECONDS_TO_END)
        if self.thread.is_alive():
            log.warning(
                "%s has not taken everything within %.0f s: %s", self.tool, SECONDS_TO_END, self._what_is_kept()
            )

    def hand_over(self, record: Mapping[str, Any]) -> int:
        """Gives the tool, at once, what it lacks of a run that has ended, as run.json says; how many rows that were.

        Raises whatever goes wrong there.
        """
        self.run_id = record["run_id"]
        num_known = self.num_sent = self.open()
        self._end(record)
        return self.num_sent - num_known

    def _work(self) -> None:
        try:
            self._open()
            while not isinstance(job := self.jobs.get(), Mapping):
                self._try(self._take, *job)
            self._try(self._end, job)
        except Exception as error:
            log.warning("%s: %s; training goes on: %s", self.tool, explain(error), self._what_is_kept())

    def _open(self) -> None:
        try:
            self.num_sent = self.open()
        except Exception as error:
            self.num_sent = self.recover(error)

    def _try(self, step: Any, *arguments: Any) -> None:
        try:
            step(*arguments)
        except Exception as error:
            self.num_sent = self.recover(error)
            step(*arguments)

    def _take(self, index: int, row: dict[str, float]) -> None:
        self._step_back(index, row)
        self._catch_up(index)
        if index == self.num_sent:
            self._send(row)

    def _end(self, record: Mapping[str, Any]) -> None:
        self._catch_up()
        self.close(record)

    def _catch_up(self, end: int | None = None) -> None:
        """Hands over rows that stand in the file and were not handed over, before index `end`."""
        if end is None or self.num_sent < end:
            rows = read_numbers(self.run_directory / "metrics.csv")
            if 0 < self.num_sent <= len(rows):
                self._step_back(self.num_sent - 1, rows[self.num_sent - 1])
            for row in rows[self.num_sent : end]:
                self._send(row)

    def _step_back(self, index: int, row: dict[str, float]) -> None:
        """Where a run is trained longer than to its test, the tool lacks the row that has come in place of that."""
        if self.ends_in_test and index == self.num_sent - 1 and not is_of_the_test(row):
            self.num_sent, self.ends_in_test = index, False

    def _send(self, row: dict[str, float]) -> None:
        self.send(self.num_sent, row)
        self.num_sent, self.ends_in_test = self.num_sent + 1, is_of_the_test(row)

    def records(self) -> list[Path]:
        """What the run has written of itself so far."""
        return [path for name in RECORDS if (path := self.run_directory / name).is_file()]

    def _what_is_kept(self) -> str:
        return f"{self.run_directory / 'metrics.csv'} has every row"
