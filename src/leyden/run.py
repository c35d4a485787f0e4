"""Config > everything > **the run directory**: what a run leaves behind, truthful at every instant.

`run.json` says what happened (status, command, versions, data, timings, metrics), `config.yaml` all settings,
`log.txt` what was said, `error.txt` the traceback of a failure. Everything that reads runs reads these.
"""

import contextlib
import json
import logging
import os
import secrets
import shlex
import shutil
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from omegaconf import DictConfig, OmegaConf

from leyden.errors import Interrupted, explain
from leyden.lock import is_held
from leyden.provenance import provenance
from leyden.wandb_names import run_id_of_a_sweep

STUDY_FILE = "study.json"  # of a study's directory, in which its runs have theirs
HISTOGRAMS = "histograms"  # of a run, a file for each step whose layers are logged with them
STATUSES = ("running", "finished", "pruned", "failed", "interrupted")
DONE = ("finished", "pruned")  # nothing is left to do
KINDS = {
    "attempt": int, "attempts": list, "overrides": list, "choices": dict, "heartbeat": dict, "metrics": dict,
    "data": dict, "reason": str | None,
}  # fmt: skip
OF_AN_ATTEMPT = ("metrics", "intervals", "timings", "calibration")  # what a new one does not take over
CGROUP = Path("/sys/fs/cgroup")
LEAST_FREE_BYTES = 50 * 2**20  # less than this is not worth beginning with


def rank() -> int:
    """This process's number in its run, known before any process group is (torchrun, Lightning and Slurm set these).

    Within a shell that Slurm has given, Lightning's processes have its SLURM_PROCID as well: it counts last.
    """
    return next((int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), 0)


def num_cores() -> int:
    """How many cores this process may use: of those that it may run on, as many as its container has time of."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):  # of cgroups v2 and v1
        with contextlib.suppress(OSError, ValueError):  # none, or the word max
            quota, period = map(int, " ".join((CGROUP / name).read_text() for name in files).split())
            if quota > 0:
                cores = min(cores, max(1, quota // period))
    return cores


def rank_error_path(directory: Path, number: int) -> Path:
    """Where another rank than the first leaves the traceback of its failure."""
    return directory / f"error_rank{number}.txt"


@contextlib.contextmanager
def in_place_of(path: Path, is_lasting: bool = True) -> Iterator[Path]:
    """A file beside `path` to write, which is put there in one step at the end, and is gone where that fails.

    What `is_lasting` is on the disk before it is put there; what can be spared does not wait for that.
    """
    beside = path.with_name(f".{os.getpid()}.{threading.get_ident()}.{path.name}")  # NumPy would add an ending
    try:
        yield beside
        if is_lasting:
            sync(beside)
        beside.replace(path)
    except BaseException:  # a full disk needs the room, and a signal may come here
        beside.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str) -> None:
    """Replaces the file in one step, so that a reader or a kill meets the old text or the new one, whole."""
    with in_place_of(path) as beside:
        beside.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Makes a file, or of a directory the renames in it, outlast a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class RunRecord:
    """Keeps `run.json` of one run directory; as a context manager it also records how the run ended.

    Ranks other than 0 record nothing.
    """

    def __init__(
        self,
        directory: Path,
        overrides: Sequence[str],
        record: Mapping[str, Any] | None = None,
        choices: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.is_first_rank = rank() == 0
        self.began = time.perf_counter()
        self.facts: dict[str, Any] = {**(record or {}), "overrides": list(overrides)}
        self.facts["choices"] = dict(choices or {})
        self.ending: dict[str, Any] = {"status": "finished", "reason": None}

    def __enter__(self) -> Self:
        if not self.is_first_rank:
            self.log_handler = _log_to(self.directory / f"log_rank{rank()}.txt")
            return self
        self._check_directory()
        attempt = self.facts.get("attempt", 0) + 1
        attempts = self.facts.get("attempts", [])
        if attempt > 1:
            attempts.append({key: self.facts.get(key) for key in ("started", "ended", "status", "reason", "seconds")})
            if attempts[-1]["status"] == "running":  # and yet it is not: killed without a word
                attempts[-1] |= {"status": "killed", "ended": self.facts.get("heartbeat", {}).get("time")}
            for path in self.directory.glob("error_rank*.txt"):
                path.unlink()
            if (self.directory / "error.txt").is_file():
                (self.directory / "error.txt").replace(self.directory / f"error_attempt{attempt - 1}.txt")
        (self.directory / "error.txt").unlink(missing_ok=True)  # of a run that had saved nothing
        self.log_handler = _log_to(self.directory / "log.txt")
        now = _now()
        self.facts = {key: value for key, value in self.facts.items() if key not in OF_AN_ATTEMPT}
        self.facts |= {
            "status": "running", "reason": None, "started": now, "ended": None, "seconds": None,
            "heartbeat": {"time": now}, "pid": os.getpid(), "host": socket.gethostname(),
            "attempt": attempt, "attempts": attempts,
            "run_id": self.facts.get("run_id") or run_id_of_a_sweep() or secrets.token_hex(8),
            "working_directory": os.getcwd(),
        }  # fmt: skip
        if of_study := membership(self.directory):
            self.facts["study"] = of_study
        command = shlex.join(["leyden", *sys.argv[1:]])
        self.update(**{"command": self.facts.get("command", command), "last_command": command, **provenance()})
        return self

    def begin(self, config: DictConfig, resumed_from: Mapping[str, Any], is_new: bool) -> None:
        """Keeps the resolved config, from which the run can be built again; a new run begins without rows."""
        if self.is_first_rank:
            write_atomically(self.directory / "config.yaml", OmegaConf.to_yaml(config))
            if is_new:
                (self.directory / "metrics.csv").unlink(missing_ok=True)
                shutil.rmtree(self.directory / HISTOGRAMS, ignore_errors=True)
        self.update(resumed_from=resumed_from)

    def update(self, **facts: Any) -> None:
        """Adds facts to run.json at once."""
        self.facts |= facts
        if self.is_first_rank:
            text = json.dumps(self.facts, indent=2, default=_plain, allow_nan=False)
            write_atomically(self.directory / "run.json", text + "\n")

    def beat(self, **place: Any) -> None:
        """Says in run.json that the run is alive, and where; a disk that is full for a moment is not worth an end."""
        with contextlib.suppress(OSError):
            self.update(heartbeat={"time": _now(), **place})

    def prune(self, reason: str) -> None:
        """Makes the run one that a search has ended early: not finished, and no failure."""
        self.ending = {"status": "pruned", "reason": reason}

    @property
    def seconds(self) -> float:
        """Seconds since the run began, in this attempt."""
        return round(time.perf_counter() - self.began, 3)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._record_end(error)
        except Interrupted:  # by a second SIGINT, while it was written; a third would kill
            self._record_end(error)
            raise
        finally:
            logging.getLogger().removeHandler(self.log_handler)
            self.log_handler.close()

    def _record_end(self, error: BaseException | None) -> None:
        if error is None:
            self.update(**self.ending, ended=_now(), seconds=self.seconds)
        else:
            self.record_failure("interrupted" if isinstance(error, Interrupted) else "failed", error)

    def record_failure(self, status: str, error: BaseException) -> None:
        """Records how the run failed, with its traceback; a disk that takes no more must not hide the first error."""
        path = self.directory / "error.txt" if self.is_first_rank else rank_error_path(self.directory, rank())
        try:
            if status == "failed":
                text = "".join(traceback.format_exception(error))
                path.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files may be any bytes
            self.update(status=status, reason=explain(error), ended=_now(), seconds=self.seconds)
        except OSError as second:
            logging.getLogger(__name__).error("run.json could not record the failure: %s", second)

    def _check_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            probe = self.directory / ".writable"
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            raise ValueError(
                f"the run directory {self.directory} cannot be written ({error.strerror}): "
                "give another with runs_dir=… or hydra.run.dir=…"
            ) from error
        free = shutil.disk_usage(self.directory).free
        if free < LEAST_FREE_BYTES:
            raise ValueError(
                f"only {free / 2**20:.1f} MiB are free at {self.directory}, a run needs {LEAST_FREE_BYTES >> 20} MiB: "
                "free some space or give another place with runs_dir=…"
            )


def is_writable(directory: Path) -> bool:
    """Whether something may be put into a directory."""
    return directory.is_dir() and os.access(directory, os.W_OK)


def read_record(directory: Path) -> dict[str, Any]:
    """Reads `run.json` of a run directory.

    Raises:
        ValueError: the directory holds no run, or its record is damaged.
    """
    path = directory / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{directory} is no run directory: it has no run.json") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): `leyden resume` restores what it can") from error
    for key, kind in KINDS.items() if isinstance(record, dict) else ():
        if key in record and not isinstance(record[key], kind):
            raise ValueError(f"{path} is damaged: its {key} should be a {getattr(kind, '__name__', kind)}")
    if not isinstance(record, dict) or record.get("status") not in STATUSES:
        raise ValueError(f"{path} is damaged: its status should be one of {', '.join(STATUSES)}")
    return record


def is_study(directory: Path) -> bool:
    """Whether a study, and not a single run, lies in a directory."""
    return (directory / STUDY_FILE).is_file()


def run_directories(directories: Sequence[Path], depth: int) -> list[Path]:
    """Each directory given that holds a run, and those up to `depth` levels below the others, resolved.

    What holds none does not count where others do: a shell's `runs/name/*` has previews and reports in it, too.

    Raises:
        ValueError: a directory is not there, or there is no run at all.
    """
    found: list[Path] = []
    for directory in (path.resolve() for path in directories):
        if not directory.exists():
            raise ValueError(f"{directory} holds neither a study nor runs: there is no such directory")
        if (directory / "run.json").exists():
            found.append(directory)
        else:
            patterns = ["*/" * level + "run.json" for level in range(1, depth + 1)]
            found += sorted({path.parent for pattern in patterns for path in directory.glob(pattern)})
    if not found:
        raise ValueError(f"{' '.join(map(str, directories))} holds neither a study nor runs")
    return list(dict.fromkeys(found))


def membership(directory: Path) -> dict[str, Any]:
    """The study that the run in `directory` is a job of, and its factors there; empty for a run of its own."""
    if not is_study(directory.parent):
        return {}
    try:
        study = json.loads((directory.parent / STUDY_FILE).read_text(encoding="utf-8"))
        return {"name": study["name"], "job": directory.name, "factors": study["jobs"][directory.name]["factors"]}
    except (ValueError, KeyError, TypeError):  # damaged, which its own reader tells; or a run that merely lies there
        return {}


def working_directory(directory: Path) -> Path:
    """Where a run was called from, which its relative paths count from; where that is gone or lost, here."""
    try:
        there = Path(read_record(directory)["working_directory"])
    except (ValueError, KeyError, NotADirectoryError):  # a checkpoint alone has no run beside it
        return Path.cwd()
    return there if there.is_dir() else Path.cwd()


def describe_state(directory: Path) -> str:
    """How a run stands, in words; one that says `running` while nobody holds its lock was killed."""
    try:
        record = read_record(directory)
    except ValueError as error:
        return str(error)
    status, attempt = record["status"], record.get("attempt", 1)
    if status != "running":
        told = f", ended {record.get('ended')}"
    else:
        alive = record.get("heartbeat", {})
        place = ", ".join(f"{key} {value}" for key, value in alive.items() if key != "time")
        told = f", last sign of life {alive.get('time')} ({place or 'before its first step'})"
        if is_held(directory):
            status = f"running as process {record.get('pid')} on {record.get('host')}"
        else:
            status = "killed: it did not say how it ended, and no process is at work in it"
    return f"attempt {attempt}, {status}{told}" + (f": {record['reason']}" if record.get("reason") else "")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def say(text: object, file: TextIO | None = None) -> None:
    """Prints a line; nothing ends for want of a reader, as where `| tee` has ended by the same Ctrl-C."""
    stream = file or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except OSError:  # what is still to be written would fail at the end, and make the exit code 120
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Terminal(logging.Handler):
    """Prints to what standard error is when something is said, not when it was made."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record on a line."""
        say(self.format(record), sys.stderr)


def show_warnings() -> None:
    """Lets our own warnings be seen on the terminal, from the first rank, and logs fail in silence.

    On a full disk each line of each library's log would be told there with a traceback.
    """
    logging.raiseExceptions = False
    ours = logging.getLogger("leyden")
    if not ours.handlers and rank() == 0:
        terminal = Terminal(logging.WARNING)
        terminal.setFormatter(logging.Formatter("warning: %(message)s"))
        ours.addHandler(terminal)


@contextlib.contextmanager
def without_words_of(*loggers: str) -> Iterator[None]:
    """Keeps a library's remarks, and all warnings, from a terminal on which nobody can heed them."""
    named = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in named]
    for logger in named:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(named, levels, strict=True):
            logger.setLevel(level)


def _log_to(path: Path) -> logging.Handler:
    """Sends all that is logged, libraries' warnings too, to log.txt."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()  # they print by themselves
        logging.getLogger(name).propagate = True
    return handler


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"run.json holds plain types only, not {type(value).__name__}")
