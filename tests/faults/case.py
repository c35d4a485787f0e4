"""Faults > **case**: one run that is struck, resumed, and held against the uninterrupted one."""

import contextlib
import fcntl
import hashlib
import json
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .compare import Result, differences, result
from .inside import count_places
from .processes import Process
from .settings import Setting

# Which exit code goes with which statuses of run.json; None: the run ended before it wrote one.
Endings = Mapping[int, set[str | None]]
KILLED: Endings = {-signal.SIGKILL: {"running", None}}
FAILED: Endings = {1: {"failed"}}
UNWRITABLE: Endings = {1: {"failed", "running", None}}  # a disk that takes nothing takes no status either
FINISHED: Endings = {0: {"finished"}}
LONGEST_AFTERLIFE = 30.0  # seconds in which loader workers and other ranks must notice that a run is over
LATE = 1.0  # seconds: a signal that comes this close to a run's end may find it finished


def stopped_by(number: int, exit_code: int) -> Endings:
    """Stopped cleanly, or by the system in the first instants, when nobody catches signals yet."""
    return {exit_code: {"interrupted", None}, -number: {"running", None}}


class TooLate(Exception):
    """The run was finished before the fault came: to be tried again at another moment."""


class Lost(Exception):
    """Something is not as if nothing had happened."""


@dataclass(frozen=True)
class Reference:
    """The uninterrupted run of a setting, and how often its places for faults were passed."""

    seconds: float
    result: Result
    passes: dict[str, int] = field(default_factory=dict)
    last_step: int = 0


class Case:
    """One injection. A fault starts the run, waits, strikes, and says how the run may end."""

    def __init__(
        self, setting: Setting, reference: Reference, chance: random.Random, directory: Path, fresh: bool = False
    ) -> None:
        self.setting, self.reference, self.chance = setting, reference, chance
        self.directory, self.run = directory, directory / "run"
        self.fresh = fresh or setting.fresh
        self.before_resume = contextlib.ExitStack()  # damage and mending
        self.clean = contextlib.ExitStack()
        self.moment = chance.uniform(0, 1.1)  # when to strike, as a share of the uninterrupted run's time
        self.damaged: list[str] = []  # what the resume must speak of
        self.overrides = setting.prepare(directory)

    # What a fault does

    def start(self, inside: Callable[[], object] | None = None) -> None:
        """Starts the run; `inside` is called in its process first."""
        self.process = self.launch(["train", *self.overrides, f"hydra.run.dir={self.run}"], "struck", inside)

    def launch(
        self, arguments: list[str], name: str, inside: Callable[[], object] | None = None, fresh: bool | None = None
    ) -> Process:
        """Another process, killed at the end at the latest."""
        fresh = self.fresh and inside is None if fresh is None else fresh
        process = Process(arguments, self.directory / f"{name}.txt", inside, fresh)
        self.clean.callback(process.clear_away)
        return process

    def wait_for_moment(self, *needed: str) -> None:
        """Until files of the run directory are there, and then until the random moment of this case."""
        while not all((self.run / name).exists() for name in needed):
            self.check_alive()
            time.sleep(0.005)
        begun = time.monotonic() - self.process.began
        time.sleep(max(0.0, self.moment * (self.reference.seconds - begun)))

    def check_alive(self) -> None:
        if not self.process.is_alive():
            raise TooLate

    def place(self, kind: str) -> int:
        """One of the uninterrupted run's passes of a place, at random, counted from 1."""
        return self.chance.randint(1, max(1, self.reference.passes[kind]))

    @property
    def struck(self) -> Path:
        """Its time of change is the time of the blow."""
        return self.directory / "struck"

    def strike(self, number: int) -> None:
        """Sends a signal at the random moment."""
        self.check_alive()
        self.struck.touch()
        self.process.send(number)

    # What the campaign does

    def judge(self, endings: Endings) -> None:
        """Waits for the struck run's end, resumes, compares; raises Lost, or TooLate."""
        self.check_ending(endings)
        self.before_resume.close()
        self.go_on()
        self.compare()
        deadline = time.monotonic() + LONGEST_AFTERLIFE
        while orphans := self.process.relatives():
            if time.monotonic() > deadline:
                raise Lost(f"{len(orphans)} of its processes outlived it")
            time.sleep(0.1)

    def compare(self) -> None:
        """Holds what the run left against the uninterrupted one's; raises Lost."""
        if left := differences(result(self.run), self.reference.result):
            raise Lost(f"{', '.join(left)} differ")

    def check_ending(self, endings: Endings) -> None:
        code, status = self.process.wait(), self.status()
        if status == "finished" and "finished" not in set().union(*endings.values()):
            if not self.struck.exists() or self.last_write() < self.struck.stat().st_mtime + LATE:
                raise TooLate
            raise Lost(f"the run went on after the fault and finished with exit code {code}")
        if code not in endings:
            raise Lost(f"exit code {code}, expected {' or '.join(map(str, endings))}: {self.process.said()[-300:]}")
        if status not in endings[code]:
            raise Lost(f"run.json says {status} after exit code {code}")
        if self.is_locked():
            raise Lost("the lock outlived its process")
        if status == "interrupted" and newest_step(self.run / "checkpoints") and "resume" not in self.process.said():
            raise Lost(f"nobody was told how to go on: {self.process.said()[-300:]}")

    def status(self) -> str | None:
        path = self.run / "run.json"
        if not path.exists():
            return None
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["status"])
        except ValueError as error:
            raise Lost(f"run.json is not whole: {error}") from error

    def last_write(self) -> float:
        return (self.run / "run.json").stat().st_mtime

    def is_locked(self) -> bool:
        path = self.run / ".lock"
        if not path.exists():
            return False
        with path.open() as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
        return False

    def go_on(self) -> None:
        """`leyden resume`; where the run had not got as far as its own files, the command once more."""
        step = newest_step(self.run / "checkpoints")
        is_begun = any((self.run / name).exists() for name in ("config.yaml", "checkpoints"))
        counted = self.directory / "resumed"
        counted.mkdir()
        count = None if self.fresh else count_places(counted)
        resumed = self.launch(["resume", str(self.run)], "resume", count)
        if not is_begun:
            if resumed.wait() != 1 or len(resumed.said().splitlines()) != 1:
                raise Lost(f"resume of nothing ended with {resumed.code}: {resumed.said()[-300:]}")
            resumed = self.launch(["train", *self.overrides, f"hydra.run.dir={self.run}"], "again", count)
        if resumed.wait() != 0:
            raise Lost(f"resume ended with exit code {resumed.code}: {resumed.said()[-400:]}")
        for name in self.damaged:
            if name not in resumed.said():
                raise Lost(f"nobody was told that {name} is damaged")
        self.check_nothing_twice(step, counted / "training step")

    def check_nothing_twice(self, step: int, counted: Path) -> None:
        """A run that began anew would be exact too: only what came after the newest whole checkpoint is repeated."""
        if self.fresh or not counted.exists():
            return
        all_, last = self.reference.passes["training step"], self.reference.last_step
        most, done = round(all_ * (1 - step / last)), counted.stat().st_size
        if done > most:
            raise Lost(f"{done} of {all_} training steps were done again, expected {most}: a whole checkpoint was left")


def newest_step(directory: Path) -> int:
    """The optimizer step from which a resume must go on: that of the newest checkpoint that bears its checksum."""
    for path in (directory / "last.ckpt", directory / "previous.ckpt"):
        if is_whole(path):
            state = torch.load(path, map_location="cpu", weights_only=True)
            bests = (directory / "best.ckpt", directory / "best_copy.ckpt")
            has_best = any(map(is_whole, bests)) or state["callbacks"]["Checkpoints"]["best_value"] is None
            return int(state["global_step"]) if has_best else 0
    return 0


def is_whole(path: Path) -> bool:
    checksum = path.with_name(path.name + ".sha256")
    if not path.is_file() or not checksum.is_file():
        return False
    return checksum.read_bytes().split()[:1] == [hashlib.sha256(path.read_bytes()).hexdigest().encode()]
