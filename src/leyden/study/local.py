"""Loop > **this machine** > job: a process for each run, forked from one that has imported everything.

A fresh interpreter takes seconds to import what a run needs, a fork of one that has it milliseconds; and a process of
its own leaks nothing into the next run and takes none along when it dies. CUDA is first touched in the fork.
"""

import contextlib
import ctypes
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from leyden.run import num_cores
from leyden.study.job import (
    OF_ITS_OWN_WILL,
    OUTPUT_FILE,
    Ended,
    Job,
    begin_apart,
    environment_of_a_job,
    run_job,
    write_to,
)

log = logging.getLogger(__name__)

SECONDS_TO_SAVE = 30.0  # for a run that was asked to end, before it is killed
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


@dataclass
class Running:
    """A job under way: its process, the places that it takes and since when."""

    job: Job
    process: ForkServerProcess
    places: list[int]
    began: float
    oom_kills: int
    record: bytes  # that earlier attempts have left
    stopped: float | None = None  # when it was asked to end
    why: str | None = None


class LocalExecutor:
    """Runs jobs as processes of this machine, each with GPUs or a share of the CPU's cores for itself.

    `jobs` at once (auto: as many as there are places: GPUs times `runs_per_device`, or else cores).
    """

    def __init__(
        self,
        directory: Path,
        jobs: int | str = "auto",
        devices_per_run: int | None = None,
        runs_per_device: int = 1,
        time_limit: float | None = None,
    ) -> None:
        self.gpus = visible_gpus() if devices_per_run != 0 else []
        self.cores = num_cores()
        self.num_devices = len(self.gpus) or self.cores
        room = max(1, self.num_devices // (devices_per_run or 1)) * (runs_per_device if self.gpus else 1)
        self.at_once = room if jobs == "auto" else int(jobs)
        if self.gpus and self.at_once > room:
            log.warning("jobs=%s: the GPUs here have room for %d: raise runs_per_device to share them", jobs, room)
            self.at_once = room
        self.slots = self.at_once + 1  # one is ready when another ends
        per_device = runs_per_device if self.gpus else -(-self.at_once // self.num_devices)
        self.free = [per_device] * self.num_devices  # places on each device
        self.threads = max(1, self.cores // self.at_once)
        self.time_limit = time_limit
        self.queue: deque[Job] = deque()
        self.never_begun: list[Job] = []  # of those that were stopped
        self.running: dict[int, Running] = {}  # by the sentinel of the process
        self.context = multiprocessing.get_context("forkserver")

    def check(self, devices: int) -> None:
        """Refuses a run on more devices than there are."""
        if devices > self.num_devices:
            kind = "GPUs" if self.gpus else "CPU cores, and no GPU"
            raise ValueError(
                f"a run on {devices} devices, but this machine has {self.num_devices} {kind}: "
                "lower trainer.devices or devices_per_run"
            )

    def start(self, jobs: Sequence[Job]) -> None:
        self.queue.extend(jobs)
        self._fill()

    def wait(self, seconds: float) -> list[Ended]:
        self._end_overdue()
        if self.never_begun:
            ended = [Ended(job) for job in self.never_begun]
            self.never_begun = []
            return ended
        ready = wait_for_any(list(self.running), timeout=seconds) if self.running else []
        ended = [self._end(self.running.pop(sentinel)) for sentinel in ready if isinstance(sentinel, int)]
        self._fill()
        return ended

    def stop(self) -> None:
        self.never_begun.extend(self.queue)
        self.queue.clear()
        for running in self.running.values():
            self._ask_to_end(running, None)

    def close(self) -> None:
        self.queue.clear()
        for running in self.running.values():
            running.process.kill()
        while self.running:
            self.wait(1.0)

    def _fill(self) -> None:
        while self.queue and len(self.running) < self.at_once:
            places = self._places_for(self.queue[0])
            if places is None:
                return
            job = self.queue.popleft()
            for place in places:
                self.free[place] -= 1
            process = self.context.Process(target=_work, args=(job, self._environment(places), self.threads))
            before = _oom_kills(), _record_of(job)
            process.start()  # returns when it has been forked, for the first run after all imports
            self.running[process.sentinel] = Running(job, process, places, time.monotonic(), *before)

    def _places_for(self, job: Job) -> list[int] | None:
        """The least used devices, as many as the job wants; None where they are not free."""
        by_use = sorted(range(self.num_devices), key=lambda place: -self.free[place])[: job.devices]
        return by_use if all(self.free[place] > 0 for place in by_use) else None

    def _environment(self, places: list[int]) -> dict[str, str]:
        environment = environment_of_a_job()
        environment["OMP_NUM_THREADS"] = str(self.threads)  # of the ranks that a run may have
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus[place] for place in places)
        return environment

    def _end(self, running: Running) -> Ended:
        running.process.join()
        assert running.process.pid is not None
        code = running.process.exitcode
        with contextlib.suppress(ProcessLookupError, PermissionError):  # what it may have left behind
            os.killpg(running.process.pid, signal.SIGTERM)
        running.process.close()
        for place in running.places:
            self.free[place] += 1
        how = running.why
        if how is None and code not in OF_ITS_OWN_WILL and code is not None:
            how = f"it was killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            if code == -signal.SIGKILL and _oom_kills() > running.oom_kills:
                how = "it was killed by the system for memory: lower batch_size, or jobs=…"
            if running.stopped and code == -signal.SIGTERM:
                how = None  # before it had begun
        return Ended(running.job, how, is_told=_record_of(running.job) != running.record)

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for running in self.running.values():
            if running.stopped is None and self.time_limit is not None and now - running.began > self.time_limit:
                self._ask_to_end(running, f"it took longer than time_limit={self.time_limit:g} s")
            elif running.stopped is not None and now - running.stopped > SECONDS_TO_SAVE:
                running.why = running.why or f"it did not end within {SECONDS_TO_SAVE:g} s of being asked to"
                running.process.kill()

    def _ask_to_end(self, running: Running, why: str | None) -> None:
        if running.stopped is None:
            running.stopped, running.why = time.monotonic(), why
            running.process.terminate()


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name here, found without touching CUDA itself."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def _work(job: Job, environment: dict[str, str], threads: int) -> None:
    """A job's process, from its first instruction on."""
    begin_apart(environment)
    threading.Thread(target=_end_with_the_study, daemon=True).start()
    if job.devices > 1:
        sys.exit(_run_as_command(job))
    import torch

    torch.set_num_threads(threads)
    sys.exit(run_job(job))


def _end_with_the_study() -> None:
    """Ends this process when the study's is gone, however it went: with its state saved if that is possible."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_SAVE)
    os.kill(os.getpid(), signal.SIGKILL)


def _run_as_command(job: Job) -> int:
    """Runs a job on several devices, whose other ranks Lightning starts by repeating the command line."""
    job.directory.mkdir(parents=True, exist_ok=True)
    write_to(job.directory / OUTPUT_FILE)
    process = subprocess.Popen(command_of_ranks(job), preexec_fn=_end_with_parent)
    signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
    code = process.wait()
    if code < 0:  # this process ends as that one has
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def command_of_ranks(job: Job) -> list[str]:
    """The program that runs a job on several devices; composed anew, its pictures would be those of a run alone."""
    return [sys.executable, "-m", "leyden", *job.command, f"pictures={json.dumps(job.config['pictures'])}"]


def _end_with_parent() -> None:
    """Lets the system end this process, cleanly, when its parent is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _record_of(job: Job) -> bytes:
    try:
        return (job.directory / "run.json").read_bytes()
    except OSError:
        return b""


def _oom_kills() -> int:
    """How many processes the system has killed for memory, here or in this container."""
    total = 0
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        with contextlib.suppress(OSError):
            lines: list[Any] = [line.split() for line in Path(path).read_text(encoding="ascii").splitlines()]
            total += sum(int(line[1]) for line in lines if line[0] == "oom_kill")
    return total
