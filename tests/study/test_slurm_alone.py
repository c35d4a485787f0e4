"""What is made of Slurm's answers, and of none; without a Slurm."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from leyden.study.job import Ended, Job
from leyden.study.slurm import Resources, SlurmExecutor
from leyden.study.slurm_commands import ask
from leyden.study.slurm_job import _wants_another_turn


@pytest.fixture
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmExecutor:
    """One whose jobs have numbers and nothing else of Slurm's."""

    def submit(self: SlurmExecutor, resources: Resources, jobs: Sequence[Job]) -> None:
        self.under_way |= {f"7_{number}": job for number, job in enumerate(jobs)}

    monkeypatch.setattr("leyden.study.slurm._check_commands", lambda: None)
    monkeypatch.setattr("leyden.study.slurm.most_in_an_array", lambda: 1000)
    monkeypatch.setattr(SlurmExecutor, "_submit", submit)
    return SlurmExecutor(tmp_path, gpus=False, poll_seconds=0)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job("a", tmp_path / "a", (), {}, {"trainer": {"accelerator": "cpu"}}, {}, (), 1)


def say(job: Job, **record: Any) -> None:
    """Leaves behind what a run says of its end."""
    job.directory.mkdir(exist_ok=True)
    (job.directory / "run.json").write_text(json.dumps(record), encoding="utf-8")


def end(executor: SlurmExecutor, state: str, monkeypatch: pytest.MonkeyPatch) -> Ended:
    monkeypatch.setattr("leyden.study.slurm.states", lambda numbers: dict.fromkeys(numbers, state))
    (ended,) = executor.wait(0.1)
    return ended


def test_a_share_of_a_gpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="runs_per_device=4 is not for Slurm"):
        SlurmExecutor(tmp_path, runs_per_device=4)


def test_what_was_said_before_the_study_was_killed_is_not_the_end_of_a_job_still_queued(
    executor: SlurmExecutor, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(job, status="interrupted", ended="2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(SlurmExecutor, "_submitted", lambda self: {"a": "7_0"})
    monkeypatch.setattr("leyden.study.slurm.states", lambda numbers: dict.fromkeys(numbers, "PENDING"))
    executor.start([job])
    assert str(end(executor, "NODE_FAIL", monkeypatch).how).startswith("its node failed")


@pytest.mark.parametrize(
    ("state", "how"),
    [("NODE_FAIL", "its node failed"), ("BOOT_FAIL", "its node did not start"), ("PREEMPTED", "it had to make room")],
)
def test_what_an_earlier_attempt_said_is_not_the_end_of_this_one(
    state: str, how: str, executor: SlurmExecutor, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(job, status="interrupted", ended="2026-01-01T00:00:00+00:00")
    executor.start([job])
    assert str(end(executor, state, monkeypatch).how).startswith(how)
    executor.start([job])
    say(job, status="interrupted", ended="2026-01-01T00:10:00+00:00")
    assert end(executor, state, monkeypatch).how is None


def test_job_taken_out_of_the_queue_by_a_stop_ends_as_it_was(
    executor: SlurmExecutor, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leyden.study.slurm.ask_to_end", lambda numbers: None)
    say(job, status="interrupted", ended="2026-01-01T00:00:00+00:00")
    executor.start([job])
    executor.stop()
    monkeypatch.setattr("leyden.study.slurm.SECONDS_BETWEEN_STOPS", 0.0)
    assert end(executor, "CANCELLED", monkeypatch).how is None


def test_jobs_that_may_be_queued_are_not_submitted_again(
    executor: SlurmExecutor, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leyden.study.slurm.states", lambda numbers: None)
    with pytest.raises(ValueError, match="give the same line later"):
        executor.start([job])
    assert not executor.under_way


def test_command_that_is_missing_or_slow_has_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(str(tmp_path / "scontrol")) is None
    monkeypatch.setattr("leyden.study.slurm_commands.SECONDS_FOR_AN_ANSWER", 0.1)
    assert ask("sleep", "5") is None
    assert [record.message.partition(": ")[2] for record in caplog.records] == ["No such file or directory", ""]


def test_run_is_not_queued_again_where_slurm_does_not_say_why_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leyden.study.slurm_job.SECONDS_TO_HEAR", 0.0)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    heard, said = os.pipe2(os.O_NONBLOCK)
    assert not _wants_another_turn(heard, 20)
    os.close(heard)
    os.close(said)
