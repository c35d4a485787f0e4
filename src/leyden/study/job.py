"""Plan > **job** > train: one run of a study, as it is handed to the process that is made for it."""

import json
import logging
import multiprocessing
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from omegaconf import OmegaConf

from leyden.config import Origin
from leyden.run import rank, read_record, write_atomically

log = logging.getLogger(__name__)

OUTPUT_FILE = "output.txt"
SECONDS_FOR_THE_LOGGER = 60.0  # to hear that a run is dead
OF_ITS_OWN_WILL = (0, 1, 130, 143)  # exit codes of a run that has said in run.json how it ended
WANDB_SERVICE = "WANDB_SERVICE"  # where W&B's own process listens, which every run is to have for itself


@dataclass(frozen=True)
class Job:
    """A run of a study: plain values alone, so that it may be sent to another process or machine."""

    id: str  # a hash of its settings: the name of its directory
    directory: Path
    overrides: tuple[str, ...]  # what one would type for this run alone
    factors: Mapping[str, Any]  # swept key -> value
    config: Mapping[str, Any]  # composed, checked and resolved
    choices: Mapping[str, Any]  # group -> option
    config_directories: tuple[Path, ...]
    devices: int  # processes that the run itself will have, each on a device
    options: tuple[str, ...] = ()  # of the command line, beside the overrides

    @property
    def command(self) -> list[str]:
        """The arguments of `python -m leyden` that do the same in an interpreter of its own."""
        return ["train", *self.options, *self.overrides, f"hydra.run.dir={quoted(self.directory)}", "resume=auto"]


def quoted(path: Path) -> str:
    """A path as an override's value, whatever is in it."""
    if re.fullmatch(r"/[\w./-]+", str(path), re.ASCII):
        return str(path)
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"


def in_words(factors: Mapping[str, Any]) -> str:
    """The factors of a job as one would type them."""
    return " ".join(shlex.quote(f"{key}={short(level)}") for key, level in factors.items())


def short(level: Any) -> str:
    """A factor's value without digits that nobody reads."""
    return f"{level:.6g}" if isinstance(level, float) else str(level)


class Ended(NamedTuple):
    """A job whose process is gone; `how` says by what where the process could not say so itself."""

    job: Job
    how: str | None = None  # "it was killed by SIGKILL", "exit code 3", …
    is_told: bool = True  # else what its record says was said by an earlier attempt


class Executor(Protocol):
    """Where jobs run: processes of this machine, Slurm or Ray. Built with plain options and the study's directory."""

    slots: int  # how many jobs may be given to it at once
    at_once: int | None  # how many of them run together; None: as many as there is room for

    def check(self, devices: int) -> None:
        """Refuses, with a ValueError, a run on more devices than there are."""

    def start(self, jobs: Sequence[Job]) -> None:
        """Gives jobs a process each, now or as soon as there is room."""

    def wait(self, seconds: float) -> list[Ended]:
        """The jobs that have ended since the last call; returns as soon as there is one, at most after `seconds`."""

    def stop(self) -> None:
        """Asks all jobs to end with their state saved, as by SIGTERM; `wait` tells when each has."""

    def close(self) -> None:
        """Ends what still runs, by force, and takes back all that was set up."""


def preload(settings: Mapping[str, Any]) -> None:
    """Starts the process that runs are forked from; it imports what runs with such settings need, meanwhile."""
    targets = list(_values_of(settings, "_target_"))
    modules = {target.rpartition(".")[0] for target in targets if not target.startswith("hydra")}
    wandb = {"wandb"} if "leyden.loggers.WandbLogger" in targets else set()
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["leyden.train", "leyden.study.local", "leyden.study.estimate", *sorted(modules | wandb)]
    )
    # Ctrl-C, and a SIGTERM to a whole group, as of `timeout`, are for us alone: without it no run could begin or end.
    heard = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        forkserver.ensure_running()
    finally:
        for number, handler in heard.items():
            if handler is not None:  # as it is where another language has set it
                signal.signal(number, handler)


def _values_of(node: Any, key: str) -> Iterator[str]:
    for name, value in node.items() if isinstance(node, Mapping) else ():
        if name == key:
            yield str(value)
        yield from _values_of(value, key)


def run_job(job: Job) -> int:
    """Trains a job in this process, which has been made for it; goes on where an earlier attempt left off.

    What it prints goes to `output.txt` in its directory. Returns the exit code that the process is to have.
    """
    from leyden.command_line import train_composed

    job.directory.mkdir(parents=True, exist_ok=True)
    write_to(job.directory / (f"output_rank{rank()}.txt" if rank() else OUTPUT_FILE))
    sys.argv = ["leyden", *job.command]
    origin = Origin(list(job.overrides), job.choices, job.config_directories)
    return train_composed(job.config, job.directory, origin)


def environment_of_a_job() -> dict[str, str]:
    """This process's, but for what a run would take for its own.

    Within an allocation of Slurm's it would be one of its ranks; and by a W&B service of this process, which outlives
    the run, its end could not be told if it is killed.
    """
    return {key: value for key, value in os.environ.items() if key != WANDB_SERVICE and not key.startswith("SLURM_")}


def begin_apart(environment: Mapping[str, str]) -> None:
    """Makes a process, just forked from the one that has imported everything, one by itself with this environment."""
    os.setsid()  # Ctrl-C at the terminal is for the study, which tells its runs
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which the process that it is forked from does not hear
    multiprocessing.set_start_method(None, force=True)  # workers that decode images are no runs: as in a run of its own
    os.environ.clear()  # the process that is forked from may have been started with another one
    os.environ.update(environment)


def write_to(path: Path) -> None:
    """Sends all that this process prints, libraries in C too, to a file, after what an earlier attempt printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115


def last_words(job: Job) -> str:
    """The last line that a job printed; a run whose record could not be written has said there why."""
    path = job.directory / OUTPUT_FILE
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    said = next((line for line in reversed(lines) if line.strip()), "")
    return said.removeprefix("error: ") or "it ended without a word"


def record_death(job: Job, status: str, how: str) -> None:
    """Says in a job's record, and where it is logged, how its process ended that could not say it itself."""
    try:
        record = read_record(job.directory)
        record |= {"status": status, "reason": how, "ended": datetime.now(UTC).isoformat(timespec="seconds")}
        write_atomically(job.directory / "run.json", json.dumps(record, indent=2) + "\n")
    except (OSError, ValueError):  # a full disk, or a job that had not begun
        return
    if str(job.config["logger"].get("_target_", "")).startswith("leyden.loggers."):
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=_end_elsewhere, args=(job, environment_of_a_job()))
        process.start()
        process.join(SECONDS_FOR_THE_LOGGER)
        if process.exitcode != 0:
            log.warning("the logger could not be told that %s ended, see %s", job.id, job.directory / OUTPUT_FILE)


def _end_elsewhere(job: Job, environment: Mapping[str, str]) -> None:
    from leyden.build import build_loggers
    from leyden.loggers import finish

    begin_apart(environment)
    write_to(job.directory / OUTPUT_FILE)
    loggers = build_loggers(OmegaConf.create(dict(job.config)), job.directory, Origin(job.overrides, job.choices))
    finish(loggers, read_record(job.directory))
