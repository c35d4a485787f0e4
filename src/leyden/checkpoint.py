"""Metrics > **checkpoint** > report: writes `last.ckpt` at each epoch's end and `best.ckpt` at each new best.

A checkpoint is written beside its place, flushed to the disk, and renamed, so that a name always stands for a whole
file; its SHA-256 stands in `<name>.sha256`, in the format that `sha256sum --check` reads.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import CheckpointIO

from leyden.metrics import direction


class Checkpoints(Checkpoint):
    """Keeps the last and the best state of training in `<run directory>/checkpoints`.

    `monitor` is the validation metric that decides what is best; of equal epochs the last one
    counts, whose weights the schedule has brought to rest.
    """

    def __init__(self, monitor: str) -> None:
        super().__init__()
        self.monitor = monitor
        self.best_value: float | None = None
        self.best_epoch: int | None = None
        self.directory: Path | None = None  # given by the composition root, which knows the run directory

    @property
    def best_path(self) -> Path:
        assert self.directory is not None
        return self.directory / "best.ckpt"

    @property
    def last_path(self) -> Path:
        assert self.directory is not None
        return self.directory / "last.ckpt"

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.state.fn != "fit" or trainer.sanity_checking or value is None:
            return
        if self._is_better(float(value)):
            self.best_value, self.best_epoch = float(value), trainer.current_epoch
            self.save(trainer, self.best_path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save(trainer, self.last_path)

    def _is_better(self, value: float) -> bool:
        if self.best_value is None:
            return True
        return value >= self.best_value if direction(self.monitor) == "max" else value <= self.best_value

    def save(self, trainer: pl.Trainer, path: Path) -> None:
        """Writes the whole state of training to `path`; every rank takes part, rank 0 writes."""
        trainer.save_checkpoint(path, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        return {"best_value": self.best_value, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_value, self.best_epoch = state_dict["best_value"], state_dict["best_epoch"]


class WholeFiles(CheckpointIO):
    """How Lightning reads and writes checkpoints here: whole files with their checksums, plain types only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        for file in (Path(path), checksum_path(Path(path))):
            file.unlink(missing_ok=True)


def checksum_path(path: Path) -> Path:
    """Where the checksum of a checkpoint stands."""
    return path.with_name(path.name + ".sha256")


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Replaces `path` and its checksum by `state`; at no instant is either half written.

    Raises:
        OSError: the file cannot be written; what stood there before still stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        digest = file_digest(beside)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError of its writer
        beside.unlink(missing_ok=True)
        raise OSError(
            f"{path} could not be written ({error}): free some space or give another place with runs_dir=…"
        ) from error
    checksum_path(beside).write_text(f"{digest}  {path.name}\n", encoding="ascii")
    beside.replace(path)
    checksum_path(beside).replace(checksum_path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Loads a checkpoint onto the CPU; only plain types and tensors are let in, no code runs.

    Raises:
        ValueError: absent, damaged, or not a checkpoint of ours; names the file and what to do.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist: give the directory of a run that has trained for an epoch")
    checksum = checksum_path(path)
    if checksum.is_file() and checksum.read_text(encoding="ascii").split()[:1] != [file_digest(path)]:
        raise ValueError(f"{path} is damaged: its SHA-256 differs from the one in {checksum.name}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, key and runtime errors, by where the damage is
        raise ValueError(
            f"{path} is damaged or no checkpoint ({type(error).__name__}): train again or give another"
        ) from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise ValueError(f"{path} is no checkpoint of a run: it has no 'state_dict'")
    return state


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
