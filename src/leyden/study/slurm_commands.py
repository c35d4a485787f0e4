"""Slurm executor > **Slurm's commands**: what they are asked, and what they say in plain values."""

import contextlib
import logging
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator

from leyden.study.job import WANDB_SERVICE

log = logging.getLogger(__name__)

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
SECONDS_FOR_AN_ANSWER = 60


def ask(*command: str) -> str | None:
    """What a command prints; None where Slurm does not answer, as it sometimes does for a while."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_FOR_AN_ANSWER)
    except subprocess.TimeoutExpired:
        log.warning("%s did not answer within %d s", command[0], SECONDS_FOR_AN_ANSWER)
        return None
    except OSError as error:
        log.warning("%s cannot be called: %s", command[0], error.strerror)
        return None
    if done.returncode and "Invalid job id" not in done.stderr:  # it has forgotten the only one asked for
        if done.stderr:
            log.warning("%s: %s", command[0], " ".join(done.stderr.split()))
        return None
    return done.stdout


def states(numbers: Iterable[str]) -> dict[str, str] | None:
    """The state of each job that Slurm still knows, for minutes after its end too; None where it does not answer."""
    arrays = sorted({number.partition("_")[0] for number in numbers})
    if not arrays:
        return {}
    said = ask("squeue", "--noheader", "--array", "--states=all", "--format=%i %T", f"--jobs={','.join(arrays)}")
    return None if said is None else dict(line.split(maxsplit=1) for line in said.splitlines())


def cancel(numbers: Iterable[str]) -> None:
    """Ends jobs; those that run may save, in the time that the cluster leaves them."""
    ask("scancel", "--quiet", *numbers)


def ask_to_end(numbers: Iterable[str]) -> None:
    """Takes jobs that wait out of the queue and sends SIGTERM to the processes of those that run."""
    ask("scancel", "--quiet", "--state=PENDING", *numbers)
    ask("scancel", "--quiet", "--state=RUNNING", "--signal=TERM", *numbers)


def how_it_failed(number: str) -> tuple[int | None, str]:
    """The exit code of a job that failed, where Slurm still knows it, and the same in words."""
    found = re.search(r" ExitCode=(\d+):(\d+)", ask("scontrol", "show", "job", "--oneliner", number) or "")
    if found is None:
        return None, "it failed"
    code = int(found[1]) or 128 + int(found[2])
    if code > 128 and code - 128 in signal.valid_signals():  # as shells have it, and srun
        return code, f"it was killed by {signal.Signals(code - 128).name}"
    return code, f"exit code {code}"


def most_in_an_array() -> int:
    """How many jobs the cluster takes in one array."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config") or "")
    return int(found[1]) if found else 1000


def has_gpus(partition: str | None) -> bool:
    """Whether nodes of a partition, or of the one that Slurm would choose, have GPUs."""
    said = ask("sinfo", "--noheader", "--format=%P %G", *([f"--partition={partition}"] if partition else [])) or ""
    chosen = [line for line in said.splitlines() if partition or "*" in line.split()[0]]
    return any("gpu" in line.partition(" ")[2] for line in chosen)


@contextlib.contextmanager
def outside_of_a_job() -> Iterator[None]:
    """Within this, what jobs of our own are not to have is hidden from them.

    That is what a job of Slurm that we may be in has in its environment, and the W&B service of this process, as
    that of a notebook, which no other node reaches.
    """
    service = os.environ.pop(WANDB_SERVICE, None)
    try:
        with _without_slurm():
            yield
    finally:
        if service is not None:
            os.environ[WANDB_SERVICE] = service


@contextlib.contextmanager
def _without_slurm() -> Iterator[None]:
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    from submitit.helpers import clean_env, environment_variables

    where = {"SLURM_CONF": os.environ["SLURM_CONF"]} if "SLURM_CONF" in os.environ else {}
    with clean_env(), environment_variables(**where):
        yield
