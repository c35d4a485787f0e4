"""Faults > **kinds**: what can happen to a run. The table at the end is the heart of the campaign.

A fault starts the case's run, strikes at the case's random moment, and returns the endings that are truthful then.
"""

import contextlib
import functools
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import inside
from .case import FAILED, FINISHED, KILLED, UNWRITABLE, Case, Endings, Lost, TooLate, stopped_by
from .settings import ADAMW, DDP, FILES, SGD, WAYS, Setting

DISK_BYTES = 60 * 2**20  # a run does not begin with less than 50 MiB free


# Signals


def signals(*numbers: int, exit_code: int) -> Callable[[Case], Endings]:
    """Signals in a row, a little apart."""

    def strike(case: Case) -> Endings:
        case.start()
        case.wait_for_moment()
        case.strike(numbers[0])
        for number in numbers[1:]:
            time.sleep(case.chance.uniform(0, 0.1))
            case.process.send(number)
        return KILLED if numbers[0] == signal.SIGKILL else stopped_by(numbers[0], exit_code)

    return strike


def kill_inside(kind: str) -> Callable[[Case], Endings]:
    """The process kills itself with SIGKILL at one of the places of a kind."""

    def strike(case: Case) -> Endings:
        case.start(inside.kill_at(kind, case.place(kind), case.struck, case.chance.random()))
        return KILLED

    return strike


# Disks


def full_disk(case: Case) -> Endings:
    """A small file system of its own, filled up; where mounting is not permitted, files that may not grow."""
    if may_mount():
        mount(case.clean, case.run, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs")
        ballast = case.run / "ballast"
        case.before_resume.callback(ballast.unlink, missing_ok=True)
        case.start()
        case.wait_for_moment("run.json")
        case.check_alive()
        case.struck.touch()
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(2**20)):
                pass
    else:
        case.start()
        case.wait_for_moment("run.json")
        case.check_alive()
        case.struck.touch()
        limit = case.chance.randrange(2**14)
        resource.prlimit(case.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    return UNWRITABLE


def read_only_directory(case: Case) -> Endings:
    """The run directory turns read-only, as after an error of its disk."""
    case.start()
    case.wait_for_moment("checkpoints")
    case.check_alive()
    case.struck.touch()
    if may_mount():
        still = case.directory / "still"  # laid over the directory once it is read-only: the log is open for writing
        mount(case.before_resume, still, "--bind", str(case.run))
        subprocess.run(["mount", "-o", "remount,bind,ro", str(still)], check=True)
        mount(case.before_resume, case.run, "--bind", str(still))
    else:
        for path in (case.run, case.run / "checkpoints"):
            case.before_resume.callback(path.chmod, path.stat().st_mode)
            path.chmod(0o555)
    return UNWRITABLE


@functools.cache
def may_mount() -> bool:
    """Whether this process may mount file systems: root often may, inside a container often not."""
    return os.geteuid() == 0 and not subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode


def mount(undo: contextlib.ExitStack, place: Path, *arguments: str) -> None:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", *arguments, str(place)], check=True)
    undo.callback(subprocess.run, ["umount", "-l", str(place)], check=True)


# Inside the process


def broken_step(what: Callable[[], object]) -> Callable[[Case], Endings]:
    """One training step goes wrong, in the first attempt only."""

    def strike(case: Case) -> Endings:
        case.start(inside.break_step(what, case.place("training step"), case.struck))
        return FAILED

    return strike


def clock_jump(case: Case) -> Endings:
    """The clock jumps back a day, and later the process is killed."""
    case.start(inside.turn_clock_back(case.place("training step")))
    case.wait_for_moment()
    case.strike(signal.SIGKILL)
    return KILLED


def second_process(case: Case) -> Endings:
    """The second process on a run directory refuses in one sentence; the first is unharmed."""
    case.start()
    case.wait_for_moment("run.json")
    case.check_alive()
    arguments = case.chance.choice([["resume", str(case.run)], [*case.process.arguments]])
    second = case.launch(arguments, "second", fresh=False)  # at once: the first does not wait
    code, said = second.wait(), second.said()
    if not case.process.is_alive() and "finished" in said:
        raise TooLate
    if code != 1 or len(said.splitlines()) != 1:
        raise Lost(f"a second process ended with {code} and said: {said[-300:]}")
    return FINISHED


# Damaged files, after the process was killed or stopped


def damaged(damage: Callable[[Case, Path], None], *names: str) -> Callable[[Case], Endings]:
    """Files of the run directory that are no longer what was written."""

    def strike(case: Case) -> Endings:
        number = case.chance.choice([signal.SIGKILL, signal.SIGTERM])
        case.start()
        case.wait_for_moment("checkpoints/last.ckpt", *names)
        case.strike(number)
        if not all((case.run / name).exists() for name in names):
            raise TooLate  # between the two renames of a checkpoint there is none to damage
        for name in names:
            case.before_resume.callback(damage, case, case.run / name)
        return KILLED if number == signal.SIGKILL else stopped_by(number, 143)

    return strike


def flip_bit_without_checksum(case: Case, path: Path) -> None:
    """As after a kill within a write, which takes the checksum away; a bit may lie in padding, and do no harm."""
    delete(case, path.with_name(path.name + ".sha256"))
    content = bytearray(path.read_bytes())
    content[case.chance.randrange(len(content))] ^= 1 << case.chance.randrange(8)
    path.write_bytes(content)


def any_damage(case: Case, path: Path) -> None:
    """Cut short, emptied, overwritten, changed in one bit, or deleted."""
    content, chance = path.read_bytes(), case.chance
    place, bit = divmod(chance.randrange(8 * len(content)), 8)
    flipped = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
    damages = [content[:place], b"", chance.randbytes(len(content)), flipped, None]
    damage = chance.choice(damages)
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
        if path.with_name(path.name + ".sha256").exists():  # other files are restored in any case
            case.damaged.append(path.name)


def delete(case: Case, path: Path) -> None:
    path.unlink(missing_ok=True)


def worker_killed(case: Case) -> Endings:
    """One of the processes that read files is killed; the run cannot go on without."""
    case.start()
    case.wait_for_moment("checkpoints")
    while not (workers := case.process.children()):
        case.check_alive()
        time.sleep(0.005)
    case.struck.touch()
    with contextlib.suppress(ProcessLookupError):
        os.kill(case.chance.choice(workers), signal.SIGKILL)
    if case.process.wait() == 0:
        case.compare()
        raise TooLate  # it had done its part; one that nobody ever missed would be too late each time
    return FAILED


def unreadable_image(case: Case) -> Endings:
    """One of the image files is cut short, and mended before the resume."""
    case.start()
    case.wait_for_moment()
    path = case.chance.choice(sorted((case.directory / "images").rglob("*.png")))
    whole = path.read_bytes()
    case.before_resume.callback(path.write_bytes, whole)
    path.write_bytes(whole[: len(whole) // 2])
    return FAILED  # or the run finishes, when it needs that file no more: too late


# Several processes that train together


def ranks(number: int, *which: int) -> Callable[[Case], Endings]:
    """A signal to some of the ranks of a run."""

    def strike(case: Case) -> Endings:
        case.start()
        case.wait_for_moment("checkpoints")
        pids = [case.process.pid, *case.process.children()]
        case.check_alive()
        if len(pids) < 2:
            raise TooLate
        case.struck.touch()
        for rank in which:
            os.kill(pids[rank], number)
        if number != signal.SIGKILL:
            return stopped_by(number, 143)
        return KILLED if 0 in which else FAILED

    return strike


@dataclass(frozen=True)
class Fault:
    """A line of the table: its share of the injections, the settings that it strikes, whether it is quick enough for
    the fast tests.
    """

    name: str
    strike: Callable[[Case], Endings]
    share: int
    settings: Sequence[Setting] = (ADAMW, SGD)
    quick: bool = False


KILL, TERM, INT, USR1, USR2 = signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2
LAST, PREVIOUS, BEST = (f"checkpoints/{name}.ckpt" for name in ("last", "previous", "best"))

FAULTS = [
    Fault("kill -9 at any moment", signals(KILL, exit_code=137), 24, (ADAMW, SGD, FILES, *WAYS), quick=True),
    Fault("kill -9 while a checkpoint is written", kill_inside("checkpoint write"), 24, quick=True),
    Fault("kill -9 while another file is written", kill_inside("small write"), 10),
    Fault("kill -9 during validation", kill_inside("validation step"), 10, quick=True),
    Fault("SIGTERM", signals(TERM, exit_code=143), 14, (ADAMW, SGD, FILES, *WAYS), quick=True),
    Fault("SIGINT", signals(INT, exit_code=130), 10),
    Fault("SIGINT twice", signals(INT, INT, exit_code=130), 6, quick=True),
    Fault("SIGUSR1", signals(USR1, exit_code=143), 6),
    Fault("SIGUSR2", signals(USR2, exit_code=143), 6),
    Fault("disk full", full_disk, 8, quick=True),
    Fault("directory turns read-only", read_only_directory, 6),
    Fault("unreadable image", unreadable_image, 4, (FILES,)),
    Fault("loader worker killed", worker_killed, 6, (FILES,)),
    Fault("loss becomes NaN", broken_step(inside.not_a_number), 6, quick=True),
    Fault("out of memory in a step", broken_step(inside.out_of_memory), 6, quick=True),
    Fault("clock jumps back a day, then kill -9", clock_jump, 6),
    Fault("second process on the same run", second_process, 8, quick=True),
    Fault("config.yaml damaged", damaged(any_damage, "config.yaml"), 6),
    Fault("run.json damaged", damaged(any_damage, "run.json"), 6),
    Fault("metrics.csv damaged", damaged(any_damage, "metrics.csv"), 8, quick=True),
    Fault("last.ckpt damaged", damaged(any_damage, LAST), 14, quick=True),
    Fault("checksum of last.ckpt deleted", damaged(delete, LAST + ".sha256"), 4),
    Fault("last.ckpt damaged without its checksum", damaged(flip_bit_without_checksum, LAST), 6),
    Fault("last.ckpt and previous.ckpt damaged", damaged(any_damage, LAST, PREVIOUS), 6, quick=True),
    Fault("best.ckpt damaged", damaged(any_damage, BEST), 8),
    Fault("DDP: kill -9 of rank 0", ranks(KILL, 0), 2, (DDP,)),
    Fault("DDP: kill -9 of rank 1", ranks(KILL, 1), 2, (DDP,)),
    Fault("DDP: SIGTERM to rank 1", ranks(TERM, 1), 2, (DDP,)),
    Fault("DDP: SIGTERM to all ranks", ranks(TERM, 0, 1), 2, (DDP,)),
]
