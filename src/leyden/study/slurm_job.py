"""Slurm executor > **in a job of Slurm** > run: trains, and has itself queued again where Slurm has cut it short.

Slurm says USR2 some time before the time limit and, where the partition grants a grace time, TERM before it gives the
place to a more urgent job. A run saves its state at both; what it lacks then is a new turn.
"""

import os
import select
import signal
import sys
from types import FrameType
from typing import NoReturn

from leyden.errors import Interrupted
from leyden.run import DONE, rank, read_record
from leyden.signals import CAUGHT
from leyden.study.job import Job, run_job
from leyden.study.slurm_commands import ask

SECONDS_TO_HEAR = 5.0  # a signal that another rank has heard already


def work(job: Job, max_requeues: int) -> NoReturn:
    """All that a task of the job does; a run on several devices has as many tasks."""
    heard = _listen()
    _share_cores()
    try:
        code = 0 if rank() and _is_finished(job) else run_job(job)
        for number in CAUGHT:
            signal.signal(number, signal.SIG_IGN)  # nothing is left to save
    except Interrupted as stopped:
        code = stopped.exit_code
    if code in (130, 143) and rank() == 0 and _wants_another_turn(heard, max_requeues):
        ask("scontrol", "requeue", _job_id())
    sys.exit(code)


def _listen() -> int:
    """Lets a signal end the process until the run itself listens; returns where the number of each can be read."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(number)

    for number in CAUGHT:
        signal.signal(number, end)
    heard, said = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(said, warn_on_full_buffer=False)  # whoever handles it
    return heard


def _share_cores() -> None:
    """As many threads as the process has cores; torch would take all that it sees."""
    cores, tasks = (int(os.environ.get(name, 1)) for name in ("SLURM_CPUS_ON_NODE", "SLURM_NTASKS_PER_NODE"))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // tasks)))


def _is_finished(job: Job) -> bool:
    """Whether the first rank will find nothing to do: the others would wait for it."""
    try:
        return read_record(job.directory)["status"] in DONE
    except ValueError:
        return False


def _wants_another_turn(heard: int, max_requeues: int) -> bool:
    """Whether Slurm has ended the run for its own reasons, not a person."""
    select.select([heard], [], [], SECONDS_TO_HEAR)
    try:
        is_time_up = signal.SIGUSR2 in os.read(heard, 4096)
    except BlockingIOError:
        is_time_up = False
    if is_time_up:
        return int(os.environ.get("SLURM_RESTART_COUNT", 0)) < max_requeues
    # Where there is no grace Slurm queues it again by itself.
    shown = ask("scontrol", "show", "job", "--oneliner", _job_id()) or ""
    return " PreemptTime=" in shown and " PreemptTime=None " not in shown


def _job_id() -> str:
    """The task's own number; SLURM_JOB_ID may mean the whole array."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]
