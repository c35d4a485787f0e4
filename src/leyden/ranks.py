"""Build > **ranks** > train: the processes of a run on several devices end together, and the first error is told."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

import torch
from lightning_fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from pytorch_lightning import Trainer

from leyden.run import RunRecord, rank_error_path

SECONDS_FOR_RANKS_TO_END = 120
SECONDS_TO_SEE_A_RANK_DIE = 5  # after the connection to it was lost
SECONDS_FOR_THE_FIRST_TO_END = 20  # by its own error, once another rank has died


def wait_for_ranks(trainer: Trainer) -> None:
    """Takes leave of the other ranks and waits for the processes of those that Lightning started, so that none fails
    unseen.
    """
    if torch.distributed.is_initialized():
        trainer.strategy.barrier()
        torch.distributed.destroy_process_group()  # gloo's threads would outlive the interpreter and abort it
    for process in _processes(trainer):
        code = process.wait(timeout=SECONDS_FOR_RANKS_TO_END)
        if code:
            raise ChildProcessError(f"another rank of this run (process {process.pid}) ended with exit code {code}")


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
                        raise ChildProcessError(_explain(number, process, run.directory)) from error
        raise


def _processes(trainer: Trainer) -> list[Popen[Any]]:
    return getattr(trainer.strategy.launcher, "procs", [])


def _is_lost_connection(error: BaseException) -> bool:
    words = ("gloo", "nccl", "connection closed", "connection reset")
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
            error = ChildProcessError(_explain(number, dead, run.directory))
            run.record_failure("failed", error)
            print(f"error: {error}", file=sys.stderr, flush=True)
            os._exit(1)

    _ChildProcessObserver._terminate_all = end_all  # type: ignore[assignment]


def _explain(number: int, process: Popen[Any], directory: Path) -> str:
    path = rank_error_path(directory, number)
    if path.is_file():
        how = path.read_text(encoding="utf-8").strip().splitlines()[-1]
    elif process.returncode < 0:
        how = f"it was killed by {signal.Signals(-process.returncode).name}"
    else:
        how = f"exit code {process.returncode}"
    return f"rank {number} of this run (process {process.pid}) ended before its time: {how}"
