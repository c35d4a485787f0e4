"""Loop > **Ray** > local: finds room for jobs on a cluster, whose machines run them as the local executor does.

Ray knows where CPUs and GPUs, or parts of one, are free, and tells of nodes that are lost. A job's process is not one
of Ray's, which would import everything anew for each: an actor has a process with all imports, from which it forks the
job, and then the next.
"""

import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leyden.lock import is_held
from leyden.study.job import Ended, Job, preload
from leyden.study.local import LocalExecutor

SECONDS_BETWEEN_ANSWERS = 0.5  # of an actor that waits for a job's end; between them it hears that it is to stop
SECONDS_TO_SAVE = 60.0  # for a run whose actor is gone: it was told to end by the system
SECONDS_TO_ANSWER = 10.0  # for a cluster at an address
BYTES_FOR_OBJECTS = 100 * 2**20  # of a cluster of our own: it carries jobs, which are small


class Host:
    """A place of the cluster, as an actor of Ray: runs one job at a time, in a process forked for it."""

    def __init__(
        self, working_directory: Path, path: Sequence[str], has_gpus: bool, threads: int, time_limit: float | None
    ) -> None:
        os.chdir(working_directory)  # relative paths of a config count from there
        os.environ["PYTHONPATH"] = os.pathsep.join(path)  # for the process that forks, and for other ranks
        sys.modules["__main__"].__file__ = None  # else multiprocessing imports Ray's own program into every job
        devices_per_run = None if has_gpus else 0
        self.executor = LocalExecutor(working_directory, jobs=1, devices_per_run=devices_per_run, time_limit=time_limit)
        self.executor.threads = threads

    def start(self, job: Job) -> list[Ended]:
        preload(job.config)
        self.executor.start([job])
        return self.executor.wait(0)

    def wait(self, seconds: float) -> list[Ended]:
        return self.executor.wait(seconds)

    def stop(self) -> None:
        self.executor.stop()


@dataclass
class Place:
    """What we know of a host: its resources, its job, and whether it has come to life."""

    host: Any
    resources: dict[str, float]
    job: Job
    has_begun: bool = False


@dataclass
class Orphan:
    """A job whose host is gone; it has ended only when its lock is free, or when it has had the time to save."""

    job: Job
    how: str | None
    deadline: float


class RayExecutor:
    """Runs jobs on the cluster at `address`, or on one of its own on this machine.

    A job takes `cpus_per_device` CPUs, and `gpus_per_device` GPUs (null: one, shared by `runs_per_device`) where its
    accelerator is one, for each of its devices, on one node; and `memory` bytes and other `resources` once.
    `jobs` at once; auto: as many as the cluster has room for now. Only with a number may the cluster be one that grows.
    """

    def __init__(
        self,
        directory: Path,
        jobs: int | str = "auto",
        devices_per_run: int | None = None,
        runs_per_device: int = 1,
        time_limit: float | None = None,
        address: str | None = None,
        cpus_per_device: float = 1,
        gpus_per_device: float | None = None,
        memory: int | None = None,
        resources: Mapping[str, float] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        self.ray = _import_ray()
        self.time_limit = time_limit
        self.cpus_per_device = cpus_per_device
        self.gpus_per_device = 1 / runs_per_device if gpus_per_device is None else gpus_per_device
        self.once = {"memory": float(memory or 0), **(resources or {})}
        self.runtime_env = dict(runtime_env or {})
        self._connect(address)
        self.nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        self.has_gpus = devices_per_run != 0 and any(node.get("GPU") for node in self.nodes)
        self.may_grow = address is not None and jobs != "auto"
        self.slots = self._count_slots(devices_per_run or 1) if jobs == "auto" else int(jobs)
        self.at_once = self.slots
        self.queue: deque[Job] = deque()
        self.under_way: dict[Any, Place] = {}  # by the answer that its host owes
        self.idle: list[Place] = []
        self.orphans: list[Orphan] = []
        self.ended: list[Ended] = []  # not told yet

    def _connect(self, address: str | None) -> None:
        if address is not None:
            _check_answers(address)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        local = {"include_dashboard": False, "object_store_memory": BYTES_FOR_OBJECTS} if address is None else {}
        previous = signal.getsignal(signal.SIGTERM)
        try:
            self.ray._private.worker._worker_logs_enabled = False  # what log_to_driver leaves: it disturbs the display
            self.ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **local)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ValueError(_no_answer(address, error)) from error
        finally:
            signal.signal(signal.SIGTERM, previous)  # Ray would exit without a word to any run

    def check(self, devices: int) -> None:
        """Refuses a run on more devices than any node has CPUs for."""
        needs = {"CPU": self.cpus_per_device * devices}
        if not self._fits(needs):
            raise ValueError(f"a run on {devices} devices: {self._where_it_does_not_fit(needs)}: lower trainer.devices")

    def start(self, jobs: Sequence[Job]) -> None:
        self.queue.extend(jobs)
        self._fill()

    def wait(self, seconds: float) -> list[Ended]:
        self._fill()
        if self.under_way:
            answers, _ = self.ray.wait(list(self.under_way), timeout=0 if self.ended else seconds)
            answers += self.ray.wait(list(self.under_way), num_returns=len(self.under_way), timeout=0)[0]
            for answer in dict.fromkeys(answers):
                self._hear(answer)
        elif self.orphans:
            time.sleep(min(seconds, 0.1))
        gone = [one for one in self.orphans if not is_held(one.job.directory) or time.monotonic() > one.deadline]
        self.orphans = [one for one in self.orphans if one not in gone]
        ended, self.ended = self.ended + [Ended(one.job, one.how) for one in gone], []
        return ended

    def stop(self) -> None:
        self.ended += [Ended(job) for job in self.queue]
        self.queue.clear()
        for answer in self.ray.wait(list(self.under_way), num_returns=len(self.under_way), timeout=0)[0]:
            self._hear(answer)
        for answer, place in list(self.under_way.items()):
            if place.has_begun:
                place.host.stop.remote()
            else:
                self._lose(answer, None)

    def close(self) -> None:
        self.queue.clear()
        for place in [*self.idle, *self.under_way.values()]:
            self.ray.kill(place.host)  # the system then asks its job to end
        self.idle, self.under_way = [], {}
        self.ray.shutdown()

    def _fill(self) -> None:
        """Hands out the queue in its order; a large run would wait for ever if small ones took all that falls free."""
        waiting = [place for place in self.under_way.values() if not place.has_begun]
        while self.queue and not any(place.job.devices > 1 for place in waiting):
            job = self.queue.popleft()
            resources = self._resources_of(job)
            if not self._fits(resources):
                self.ended.append(Ended(job, self._where_it_does_not_fit(resources)))
                continue
            place = next((place for place in self.idle if place.resources == resources), None)
            if place is None:
                place = Place(self._new_host(job, resources), resources, job)
                waiting.append(place)
            else:
                self.idle.remove(place)
                place.job = job
            self.under_way[place.host.start.remote(job)] = place
        if waiting:
            for place in self.idle:
                self.ray.kill(place.host)
            self.idle = []

    def _hear(self, answer: Any) -> None:
        """Takes note of what a host says of its job."""
        place = self.under_way[answer]
        try:
            ended = self.ray.get(answer)
        except self.ray.exceptions.RayError as error:
            self._lose(answer, _in_words(error))
            return
        del self.under_way[answer]
        place.has_begun = True
        if ended:
            self.ended += ended
            self.idle.append(place)
        else:
            self.under_way[place.host.wait.remote(SECONDS_BETWEEN_ANSWERS)] = place

    def _lose(self, answer: Any, how: str | None) -> None:
        place = self.under_way.pop(answer)
        self.ray.kill(place.host)
        self.orphans.append(Orphan(place.job, how, time.monotonic() + SECONDS_TO_SAVE))

    def _new_host(self, job: Job, resources: Mapping[str, float]) -> Any:
        named = dict(resources)
        cpus, gpus, memory = named.pop("CPU"), named.pop("GPU", 0), named.pop("memory", 0)
        options = {"num_cpus": cpus, "num_gpus": gpus, "memory": memory or None, "resources": named}
        actor = self.ray.remote(Host).options(**options, runtime_env=self.runtime_env or None)
        threads = max(1, int(self.cpus_per_device))
        path = [os.path.abspath(entry) for entry in sys.path]
        return actor.remote(Path.cwd(), path, gpus > 0, threads, self.time_limit)

    def _resources_of(self, job: Job) -> dict[str, float]:
        accelerator = job.config["trainer"]["accelerator"]
        on_gpus = accelerator in ("gpu", "cuda") or (accelerator == "auto" and self.has_gpus)
        return self._resources(job.devices, on_gpus)

    def _resources(self, devices: int, on_gpus: bool) -> dict[str, float]:
        needs = {"CPU": self.cpus_per_device * devices}
        if on_gpus:  # the ranks of a run have one each
            needs["GPU"] = self.gpus_per_device if devices == 1 else devices
        return {name: amount for name, amount in {**needs, **self.once}.items() if amount or name == "CPU"}

    def _count_slots(self, devices: int) -> int:
        needs = self._resources(devices, self.has_gpus)
        room = sum(min(int(node.get(name, 0) / need) for name, need in needs.items() if need) for node in self.nodes)
        if not room:
            raise ValueError(
                f"{self._where_it_does_not_fit(needs)}: lower what a run asks for in hydra.launcher.executor"
            )
        return room

    def _fits(self, needs: Mapping[str, float]) -> bool:
        return self.may_grow or any(
            all(node.get(name, 0) >= need for name, need in needs.items()) for node in self.nodes
        )

    def _where_it_does_not_fit(self, needs: Mapping[str, float]) -> str:
        return f"no node of the Ray cluster has {' and '.join(_amounts(needs))}"


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ValueError("hydra/launcher=ray needs the package ray: pip install ray") from error
    return ray


def _check_answers(address: str) -> None:
    """Refuses an address that nobody listens at, which Ray itself would try for minutes.

    Raises:
        ValueError: says what to do.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
        except OSError as error:
            raise ValueError(_no_answer(address, error)) from error


def _no_answer(address: str | None, error: Exception) -> str:
    return (
        f"hydra.launcher.executor.address={address}: no Ray cluster answers there ({error}): "
        "start one with `ray start --head` (where it asks for a token, set RAY_AUTH_MODE=token), "
        "or give null for one on this machine"
    )


def _amounts(needs: Mapping[str, float]) -> Iterator[str]:
    for name, amount in needs.items():
        yield f"{amount / 2**30:g} GiB of memory" if name == "memory" else f"{amount:g} {name}"


def _in_words(error: Exception) -> str:
    """How a host was lost."""
    from ray.exceptions import OutOfMemoryError

    if isinstance(error, OutOfMemoryError):
        return "it was killed by the system for memory: lower batch_size, or ask for more memory"
    said = [line.strip() for line in str(error).splitlines() if line.strip()][-1].partition(". ")[0]
    where = "node" if "node has died" in said else "place on the Ray cluster"
    return f"its {where} was lost ({said})"
