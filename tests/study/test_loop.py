"""The loop ends when nothing is left to do, or nothing may be begun any more."""

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from leyden.signals import Signals
from leyden.study.display import Display
from leyden.study.job import Ended, Job
from leyden.study.loop import Loop, Planned
from leyden.study.plan import planned
from leyden.study.record import Row


class Late:
    """An executor whose jobs find, as the study is asked to end, that another process is at work on them."""

    slots, at_once = 1, 1

    def __init__(self, signals: Signals) -> None:
        self.signals, self.jobs, self.held = signals, list[Job](), set[Path]()

    def check(self, devices: int) -> None:
        pass

    def start(self, jobs: Sequence[Job]) -> None:
        self.jobs += jobs
        self.held |= {job.directory for job in jobs}
        self.signals.received = signal.SIGTERM

    def wait(self, seconds: float) -> list[Ended]:
        ended, self.jobs = [Ended(job) for job in self.jobs], []
        return ended

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_study_that_is_asked_to_end_waits_for_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("a", tmp_path / "a", (), {}, {"seed": 0}, {}, (), 1)
    signals, rows = Signals(), list[Row]()
    executor = Late(signals)
    monkeypatch.setattr("leyden.study.loop.is_held", lambda directory: directory in executor.held)
    source = Planned([planned(job)], lambda _: job)
    display = Display(1, 1, "val/accuracy")
    Loop(source, executor, signals, display, lambda job: None, rows.append).run(retry=0, stop_on_error=False)
    assert rows == []
