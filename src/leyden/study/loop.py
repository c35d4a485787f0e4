"""Record > **loop** > executor: hands out jobs while there is room, and takes note of each end."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from leyden.lock import is_held
from leyden.run import DONE
from leyden.signals import Signals
from leyden.study.display import Display
from leyden.study.job import Ended, Executor, Job, last_words, record_death
from leyden.study.plan import PlannedJob, planned
from leyden.study.record import Row, read_row

SECONDS_BETWEEN_LOOKS = 0.2


class Source(Protocol):
    """Where jobs come from: a plan, or a search that learns from those that have ended."""

    is_adaptive: bool  # asked for no more jobs than run at once, so that it learns from as many as possible

    def next(self) -> Job | None:
        """The next job; None where none is left, or none now."""

    def tell(self, job: Job) -> None:
        """Takes note that a job has ended for good."""

    def leave(self, job: Job) -> None:
        """Takes note that a job has ended and is to go on another time."""


class Planned:
    """The jobs of a plan, one after the other."""

    is_adaptive = False

    def __init__(self, jobs: Iterable[PlannedJob], make_job: Callable[[PlannedJob], Job]) -> None:
        self.jobs: Iterator[PlannedJob] = iter(jobs)
        self.make_job = make_job

    def next(self) -> Job | None:
        job = next(self.jobs, None)
        return None if job is None else self.make_job(job)

    def tell(self, job: Job) -> None:
        """Nothing: what is left does not depend on it."""

    def leave(self, job: Job) -> None:
        """Nothing: the next command plans it again."""


class Loop:
    """Runs the jobs of a source; `on_start` hears of each before it begins, `on_row` what has become of it."""

    def __init__(
        self, source: Source, executor: Executor, signals: Signals, display: Display,
        on_start: Callable[[Job], object], on_row: Callable[[Row], None],
    ) -> None:  # fmt: skip
        self.source, self.executor, self.signals = source, executor, signals
        self.display, self.on_start, self.on_row = display, on_start, on_row
        self.under_way: dict[str, Job] = {}
        self.tries: Counter[str] = Counter()
        self.elsewhere: list[Job] = []  # those that another process is at work on
        self.is_stopping = False

    def run(self, retry: int, stop_on_error: bool) -> None:
        """Returns when nothing runs any more: all is done, or the study was asked to end."""
        while True:
            if self.signals.received is not None:
                self._stop()
            if not self.is_stopping:
                self._hand_out()
            if not self.under_way and (self.is_stopping or not self.elsewhere):
                return
            for ended in self._wait():
                del self.under_way[ended.job.id]
                if is_held(ended.job.directory):  # another process was faster
                    self._leave_to_the_other(ended.job)
                    continue
                row = self._settle(ended)
                is_error = row.status == "failed" or (ended.how is not None and row.status not in DONE)
                if is_error and self.tries[row.job.id] < retry and not self.is_stopping:
                    self.tries[row.job.id] += 1
                    self.display.say(f"{row.job.id} {row.status} ({row.reason}): trying again")
                    self._start([ended.job])
                    continue
                if row.status in (*DONE, "failed"):
                    self.source.tell(ended.job)
                else:
                    self.source.leave(ended.job)
                self.on_row(row)
                if row.status != "waiting":
                    self.display.ended(row)
                if is_error and stop_on_error:
                    self.display.say("on_error=stop: the other runs are asked to end")
                    self._stop()
            self.display.update(list(self.under_way.values()))

    def _wait(self) -> list[Ended]:
        if self.under_way:
            return self.executor.wait(SECONDS_BETWEEN_LOOKS)
        time.sleep(SECONDS_BETWEEN_LOOKS)
        return []

    def _leave_to_the_other(self, job: Job) -> None:
        if not self.elsewhere:
            self.display.say("another process is at work on some of these runs: what it leaves undone is done here")
        self.elsewhere.append(job)

    def _next(self) -> Job | None:
        """A job that another process has let go, or the source's next."""
        free = next((job for job in self.elsewhere if not is_held(job.directory)), None)
        if free is not None:
            self.elsewhere.remove(free)
            return free
        job = self.source.next()
        if job is not None:
            self.on_start(job)
        return job

    def _hand_out(self) -> None:
        jobs: list[Job] = []
        most = self.executor.slots
        if self.source.is_adaptive and self.executor.at_once is not None:
            most = self.executor.at_once
        while len(self.under_way) + len(jobs) < most and (job := self._next()) is not None:
            if is_held(job.directory):
                self._leave_to_the_other(job)
            elif (row := self._read(job)).status in DONE:  # by another process, or a search has come by it again
                self.source.tell(job)
                self.on_row(row)
                self.display.ended(row)
            else:
                jobs.append(job)
        self._start(jobs)

    def _start(self, jobs: Sequence[Job]) -> None:
        if jobs:
            self.under_way |= {job.id: job for job in jobs}
            self.executor.start(jobs)

    def _stop(self) -> None:
        if not self.is_stopping:
            self.is_stopping = True
            self.executor.stop()
            if self.signals.received is not None:
                self.display.say("stopping: each run saves its state")

    def _settle(self, ended: Ended) -> Row:
        """What became of a job, which its own record says, or ours where its process could not."""
        job, how, is_told = ended
        row = self._read(job)
        if row.status in DONE:
            return row
        if how is None and is_told and row.is_told and row.status in ("failed", "interrupted"):
            return row
        if how is None and self.is_stopping:  # before it had begun
            return row
        status = "failed" if how is None else "interrupted"
        reason = how or last_words(job)
        record_death(job, status, reason)
        return self._read(job)._replace(status=status, reason=reason)

    def _read(self, job: Job) -> Row:
        return read_row(job.directory, planned(job))
