"""Build > **ranks** > train: the processes of a run on several devices end together, and the first error is told."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

import torch
from lightning_fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from pytorch_lightning import Trainer

from leyden.errors import EXIT_CODE_WHEN_ASKED, Interrupted
from leyden.gather import has_group
from leyden.run import RunRecord, rank_error_path

SECONDS_FOR_RANKS_TO_END = 120
SECONDS_TO_SEE_A_RANK_DIE = 5  # after the connection to it was lost
SECONDS_FOR_THE_FIRST_TO_END = 20  # by its own error, once another rank has died


def wait_for_ranks(trainer: Trainer, run: RunRecord) -> None:
    """Takes leave of the other ranks and waits for the processes of those that Lightning started, so that none fails
    unseen.
    """
    if has_group():
        trainer.strategy.barrier()
        torch.distributed.destroy_process_group()  # gloo's threads would outlive the interpreter and abort it
    for number, process in enumerate(_processes(trainer), start=1):
        try:
            code = process.wait(timeout=SECONDS_FOR_RANKS_TO_END)
        except TimeoutExpired as error:
            raise ChildProcessError(
                f"rank {number} of this run (process {process.pid}) has not ended {SECONDS_FOR_RANKS_TO_END} s after "
                "all was done: end it by hand"
            ) from error
        if code:
            raise _failure_of(number, process, run.directory)


@contextlib.contextmanager
def telling_which_rank_failed(trainer: Trainer, run: RunRecord) -> Iterator[None]:
    """Within this the death of another rank is the error, not the lost connection that it shows itself by."""
    _tell_of_deaths(run)
    try:
        yield
    except Exception as error:
        if _is_lost_connection(error):
            for number, process in enumerate(_processes(trainer), start=1):
                with contextlib.suppress(TimeoutExpired):
                    if process.wait(timeout=SECONDS_TO_SEE_A_RANK_DIE):
                        raise _failure_of(number, process, run.directory) from error
            if not _processes(trainer) and (told := _told_by_others(run)):
                raise ChildProcessError(told) from error
        raise


def _told_by_others(run: RunRecord) -> str | None:
    """What ranks that a scheduler has started say, to whom it was no lost connection either."""
    give_up = time.monotonic() + SECONDS_TO_SEE_A_RANK_DIE
    while run.is_first_rank and time.monotonic() < give_up:
        for path in sorted(run.directory.glob("error_rank*.txt")):
            told = _last_line(path)
            if told and not _is_lost_connection(RuntimeError(told)):
                number = path.stem.removeprefix("error_rank")
                return f"rank {number} of this run ended before its time: {told}"
        time.sleep(0.1)
    return None


def _last_line(path: Path) -> str:
    """What a rank's error was; nothing where it could not write that, or not yet."""
    lines = path.read_text(encoding="utf-8").strip().splitlines() if path.is_file() else []
    return lines[-1] if lines else ""


def _processes(trainer: Trainer) -> list[Popen[Any]]:
    return getattr(trainer.strategy.launcher, "procs", [])


def _is_lost_connection(error: BaseException) -> bool:
    words = ("gloo", "nccl", "connection closed", "connection reset", "disterror", "distnetworkerror")
    return isinstance(error, torch.distributed.DistError) or any(word in str(error).lower() for word in words)


def _tell_of_deaths(run: RunRecord) -> None:
    """Lightning kills the first process when another has died; before that it may tell, and end by its own error."""

    def end_all(observer: Any) -> None:
        processes = observer._child_processes
        number, dead = next((number, child) for number, child in enumerate(processes, start=1) if child.returncode)
        for process in processes:
            process.kill()
        threading.main_thread().join(SECONDS_FOR_THE_FIRST_TO_END)
        if threading.main_thread().is_alive():  # it waits for what the dead one will never send
            error = _failure_of(number, dead, run.directory)
            run.record_failure("interrupted" if isinstance(error, Interrupted) else "failed", error)
            print(f"error: {error}", file=sys.stderr, flush=True)
            os._exit(error.exit_code if isinstance(error, Interrupted) else 1)

    _ChildProcessObserver._terminate_all = end_all  # type: ignore[assignment]


def _failure_of(number: int, process: Popen[Any], directory: Path) -> BaseException:
    """What another rank's end means; one that was asked to end when all was done speaks for the whole run."""
    code = process.returncode
    if code in (-signal.SIGTERM, EXIT_CODE_WHEN_ASKED):
        return Interrupted(signal.SIGTERM)
    end = f"it was killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    how = _last_line(rank_error_path(directory, number)) or end
    return ChildProcessError(f"rank {number} of this run (process {process.pid}) ended before its time: {how}")
