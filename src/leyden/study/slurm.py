"""Loop > **Slurm** > job: runs as jobs of a cluster, submitted in arrays; they begin whenever there is room.

Whether a job has ended is read from the queue, and what it did from its `run.json`: neither needs Slurm's accounting,
without which a look through submitit would never end. Read `slurm_job.py` next, what happens in such a job.
"""

import contextlib
import functools
import io
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from leyden.run import DONE, read_record, write_atomically
from leyden.study.job import OF_ITS_OWN_WILL, Ended, Job
from leyden.study.slurm_commands import (
    COMMANDS,
    ask_to_end,
    cancel,
    has_gpus,
    how_it_failed,
    most_in_an_array,
    outside_of_a_job,
    states,
)
from leyden.study.slurm_job import work

SUBMITTED_FILE = "submitted.json"  # job -> its number in Slurm
MANY = 100_000  # jobs may be in the queue
SECONDS_BETWEEN_STOPS = 3.0  # a job that is about to begin may not have heard it
OVER = {
    "COMPLETED": "it ended without a word",
    "FAILED": "it failed",
    "CANCELLED": "it was cancelled in Slurm",
    "TIMEOUT": "Slurm ended it at its time limit before it had saved: raise hydra.launcher.executor.signal_delay_s",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "it was killed by the system for memory: lower batch_size, or raise …executor.mem_gb",
    "PREEMPTED": "it had to make room for another job, and Slurm did not queue it again",
    "DEADLINE": "Slurm ended it at its deadline",
    "BOOT_FAIL": "its node did not start",
}


class Resources(NamedTuple):
    """What all jobs of an array have alike."""

    nodes: int
    tasks_per_node: int  # a process for each device
    on_gpu: bool


class SlurmExecutor:
    """Runs jobs under Slurm, which gets them all at once; `jobs` caps how many of one array run at the same time."""

    slots = MANY

    def __init__(
        self,
        directory: Path,
        jobs: int | str = "auto",
        time_limit: float | None = None,
        runs_per_device: int = 1,
        partition: str | None = None,
        account: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        exclude: str | None = None,
        gpus: bool | str = "auto",
        cpus_per_task: int | None = None,
        mem_gb: float | None = None,
        timeout_min: int | None = None,
        signal_delay_s: int = 120,
        max_num_timeout: int = 20,
        setup: Sequence[str] | None = None,
        additional_parameters: Mapping[str, Any] | None = None,
        python: str | None = None,
        poll_seconds: float = 10.0,
    ) -> None:
        if time_limit is not None:
            raise ValueError(f"time_limit={time_limit:g} is not for Slurm: give hydra.launcher.executor.timeout_min=…")
        if runs_per_device > 1:
            raise ValueError(
                f"runs_per_device={runs_per_device} is not for Slurm, which gives each run whole GPUs: ask for a share "
                "of one by hydra.launcher.executor.gpus=false and additional_parameters"
            )
        if timeout_min is not None and signal_delay_s >= timeout_min * 60:
            raise ValueError(
                f"hydra.launcher.executor.signal_delay_s={signal_delay_s} leaves no time to train before "
                f"timeout_min={timeout_min}: lower it, or raise timeout_min"
            )
        _check_commands()
        self.directory, self.python = directory / "slurm", python
        self.at_once = None if jobs == "auto" else int(jobs)  # what a search should keep under way
        self.may_have_gpus = has_gpus(partition) if gpus == "auto" else bool(gpus)
        self.max_num_timeout, self.poll_seconds = max_num_timeout, poll_seconds
        self.options: dict[str, Any] = {
            "job_name": f"leyden-{directory.name}",
            "partition": partition,
            "account": account,
            "qos": qos,
            "constraint": constraint,
            "exclude": exclude,
            "cpus_per_task": cpus_per_task,
            "mem": None if mem_gb is None else f"{round(mem_gb * 1024)}M",
            "time": timeout_min,
            "signal_delay_s": signal_delay_s,
            "array_parallelism": self.at_once or MANY,
            "setup": setup,
            "srun_args": _srun_arguments(cpus_per_task),
            "additional_parameters": {"requeue": True, **(additional_parameters or {})},
            "wckey": None,  # which submitit would set
        }
        self.under_way: dict[str, Job] = {}  # by its number in Slurm
        self.ended_before: dict[str, str | None] = {}  # job -> when an earlier attempt has ended
        self.left_over: dict[str, str] | None = None  # of a study that was killed: job -> its number
        self.looked = time.monotonic()
        self.is_stopping = False

    def check(self, devices: int) -> None:
        """Nothing: Slurm knows what there is, and says so when a job is submitted."""

    def start(self, jobs: Sequence[Job]) -> None:
        if self.left_over is None:
            self.left_over = self._still_queued()
        arrays: dict[Resources, list[Job]] = defaultdict(list)
        for job in jobs:
            if job.id in self.left_over:
                self.under_way[self.left_over.pop(job.id)] = job
            else:
                _, self.ended_before[job.id] = _end_by_its_record(job.directory)
                arrays[self._resources(job)].append(job)
        most = most_in_an_array() if arrays else 0
        for resources, alike in arrays.items():
            for begin in range(0, len(alike), most):
                self._submit(resources, alike[begin : begin + most])

    def wait(self, seconds: float) -> list[Ended]:
        if self.is_stopping and time.monotonic() - self.looked > SECONDS_BETWEEN_STOPS:
            self.stop()
        pause = SECONDS_BETWEEN_STOPS if self.is_stopping else self.poll_seconds
        left = self.looked + pause - time.monotonic()
        time.sleep(min(seconds, max(0.0, left)))
        if left > seconds:
            return []
        known = states(self.under_way)
        self.looked = time.monotonic()
        if known is None:
            return []
        over = [number for number in self.under_way if number not in known or known[number] in OVER]
        return [self._end(number, known.get(number)) for number in over]

    def stop(self) -> None:
        self.is_stopping = True
        if self.under_way:
            ask_to_end(self.under_way)

    def close(self) -> None:
        if self.under_way:
            cancel(self.under_way)
        self.under_way.clear()

    def _still_queued(self) -> dict[str, str]:
        """What this study had submitted before it was killed and Slurm has kept: job -> its number.

        Raises:
            ValueError: Slurm does not answer.
        """
        submitted = self._submitted()
        # Before Slurm is asked: a search hands out such a job later, when it may have said how it ended.
        self.ended_before = {job: _end_by_its_record(self.directory.parent / job)[1] for job in submitted}
        known = states(submitted.values())
        if known is None:
            raise ValueError(
                "Slurm does not answer, and its queue may still hold jobs of this study: give the same line later"
            )
        return {job: number for job, number in submitted.items() if known.get(number) not in (None, *OVER)}

    def _resources(self, job: Job) -> Resources:
        settings = job.config["trainer"]
        on_gpu = self.may_have_gpus and settings["accelerator"] != "cpu"
        return Resources(settings.get("num_nodes", 1), max(1, job.devices), on_gpu)

    def _submit(self, resources: Resources, jobs: Sequence[Job]) -> None:
        from submitit import SlurmExecutor as Submission
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = Submission(self.directory, python=self.python)
        executor.update_parameters(
            **self.options,
            nodes=resources.nodes,
            ntasks_per_node=resources.tasks_per_node,
            gpus_per_node=resources.tasks_per_node if resources.on_gpu else None,
        )
        calls = [functools.partial(work, job, self.max_num_timeout) for job in jobs]
        try:
            with outside_of_a_job(), contextlib.redirect_stderr(io.StringIO()):  # where submitit repeats the error
                submitted = executor.submit_array(calls)
        except (FailedJobError, FailedSubmissionError) as error:
            raise ValueError(f"Slurm did not take the jobs: {' '.join(str(error).split())}") from error
        numbers = [str(each.job_id) for each in submitted]
        self.under_way |= dict(zip(numbers, jobs, strict=True))
        known = self._submitted() | {job.id: number for job, number in zip(jobs, numbers, strict=True)}
        write_atomically(self.directory / SUBMITTED_FILE, json.dumps(known, indent=1) + "\n")

    def _submitted(self) -> dict[str, str]:
        try:
            known: dict[str, str] = json.loads((self.directory / SUBMITTED_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known

    def _end(self, number: str, state: str | None) -> Ended:
        job = self.under_way.pop(number)
        status, ended = _end_by_its_record(job.directory)
        is_told = ended not in (None, self.ended_before[job.id])  # by this attempt
        if status in DONE:
            return Ended(job)
        if state == "FAILED":
            code, how = how_it_failed(number)
            is_told = is_told and code in (None, *OF_ITS_OWN_WILL)
            return Ended(job, None if is_told else f"{how}; see {self.directory / number}_0_log.err")
        was_not_begun = state in ("CANCELLED", None) and status != "running" and self.is_stopping
        if is_told or was_not_begun:
            return Ended(job)
        return Ended(job, OVER[state] if state else "it left Slurm's queue without a word")


def _end_by_its_record(directory: Path) -> tuple[str | None, str | None]:
    """A job's status and when it has ended, as far as its directory says so."""
    try:
        record = read_record(directory)
    except ValueError:
        return None, None
    return record["status"], record.get("ended")


def _check_commands() -> None:
    if missing := [name for name in COMMANDS if not shutil.which(name)]:
        raise ValueError(f"hydra/launcher=slurm: no {', '.join(missing)} here: give it on a machine of the cluster")
    if find_spec("submitit") is None:
        raise ValueError("hydra/launcher=slurm needs the package submitit: pip install submitit")


def _srun_arguments(cpus_per_task: int | None) -> list[str]:
    """One process that dies takes the others of its run along; and Slurm does not hand on how many cores each has."""
    return ["--kill-on-bad-exit=1", *([f"--cpus-per-task={cpus_per_task}"] if cpus_per_task else [])]
