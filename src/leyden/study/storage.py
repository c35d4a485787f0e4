"""Search > **storage** > trial: where Optuna keeps a search's trials, and who judges them; for the search and its jobs.

Importing this imports Optuna.
"""

import fcntl
import inspect
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leyden.config import suggest

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend
except ImportError as error:
    raise ValueError("hydra/sweeper=optuna needs the package optuna: pip install optuna") from error

STUDY_NAME = "search"  # the only one in its file
FILES = {"journal": "optuna.journal", "sqlite": "optuna.db"}
SECONDS_FOR_THE_DATABASE = 60
PRUNERS = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "threshold": optuna.pruners.ThresholdPruner,
}

optuna.logging.set_verbosity(optuna.logging.WARNING)


class JournalLock:
    """Keeps writers of a journal apart; unlike Optuna's own it dies with its process, so that none waits for it."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor = path.with_name(f".{path.name}.lock"), -1

    def acquire(self) -> bool:
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        os.close(self.descriptor)


def open_storage(directory: Path, kind: str, is_plan: bool = False) -> optuna.storages.BaseStorage:
    """The storage in a study's directory, which is made where there is none; a plan leaves no new one behind."""
    if kind not in FILES:
        raise ValueError(f"hydra.sweeper.storage={kind}: {suggest(kind, list(FILES))}")
    path = directory / FILES[kind]
    if is_plan and not path.is_file():
        return optuna.storages.InMemoryStorage()
    directory.mkdir(parents=True, exist_ok=True)
    if kind == "journal":
        lock = JournalLock(path)
        _drop_half_a_line(path, lock)
        backend = JournalFileBackend(str(path), lock_obj=lock)  # type: ignore[arg-type]
        return optuna.storages.JournalStorage(backend)
    waiting = {"connect_args": {"timeout": SECONDS_FOR_THE_DATABASE}}
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs=waiting)


def _drop_half_a_line(path: Path, lock: JournalLock) -> None:
    """Takes away what a writer that died has begun, for Optuna would not read beyond it."""
    lock.acquire()
    try:
        if path.is_file() and (text := path.read_bytes()) and not text.endswith(b"\n"):
            os.truncate(path, text.rfind(b"\n") + 1)
    finally:
        lock.release()


def make_pruner(name: str, arguments: Mapping[str, Any]) -> optuna.pruners.BasePruner:
    """One of Optuna's pruners by its name."""
    if name not in PRUNERS:
        raise ValueError(f"hydra.sweeper.pruner={name}: {suggest(name, list(PRUNERS))}")
    pruner: optuna.pruners.BasePruner = build("pruner", name, PRUNERS[name], arguments)
    return pruner


def build(part: str, name: str, kind: Any, arguments: Mapping[str, Any], **more: Any) -> Any:
    """Calls what a name stands for with the user's arguments, over ours.

    Raises:
        ValueError: an argument is unknown, missing or out of range.
    """
    known = [key for key in inspect.signature(kind).parameters if key not in ("kwargs", "args")]
    for key in arguments:
        if key not in known:
            raise ValueError(f"unknown key 'hydra.sweeper.{part}_arguments.{key}': {suggest(key, known)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return kind(**{**more, **arguments})
    except (TypeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise ValueError(f"hydra.sweeper.{part}={name} with {part}_arguments={dict(arguments)}: {words}") from error


class StoredTrial:
    """A trial of the search in `directory`, opened by the process that trains it."""

    def __init__(self, directory: Path, storage: str, number: int, pruner: str, arguments: Mapping[str, Any]) -> None:
        if not (directory / FILES[storage]).is_file():
            raise ValueError(f"{directory / FILES[storage]} is gone")
        self.number, self.pruner = number, pruner
        self.study = optuna.load_study(
            study_name=STUDY_NAME, storage=open_storage(directory, storage), pruner=make_pruner(pruner, arguments)
        )
        self.storage = self.study._storage  # with a cache of its own, where the kind needs one
        self.id = self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)

    def report(self, value: float, epoch: int) -> None:
        """Keeps the value of an epoch; a trial that is over, as one told to have failed, keeps what it has."""
        if not self._is_over():
            self.storage.set_trial_intermediate_value(self.id, epoch, value)

    def judge(self) -> str | None:
        """Why the pruner would end the run here; None where it would not."""
        if self._is_over() or not self.study.pruner.prune(self.study, self.storage.get_trial(self.id)):
            return None
        epoch = self.storage.get_trial(self.id).last_step
        return f"pruned after epoch {epoch}: the search's {self.pruner} pruner gave trial {self.number} up"

    def _is_over(self) -> bool:
        return self.storage.get_trial(self.id).state.is_finished()
