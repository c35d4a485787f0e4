"""Metrics > **checkpoint** > report: the files `last.ckpt`, `previous.ckpt` and `best.ckpt`, whole or not at all.

A checkpoint is written beside its place, flushed to the disk, read back and renamed, and the one before is kept as
`previous.ckpt`. Its SHA-256 stands in `<name>.sha256`, in the format that `sha256sum --check` reads. That file is taken
away before the checkpoint is replaced and comes back after, so that at any instant a checksum that is there is true.
What a checkpoint holds, and when it is written, is in `callbacks/checkpoints.py`.
"""

import hashlib
import logging
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from leyden.run import write_atomically

log = logging.getLogger(__name__)

FORMAT = 1  # counts up when older checkpoints can no longer be gone on from
LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


class DamagedCheckpoint(ValueError):
    """A file that is no whole checkpoint of ours."""


class WholeFiles(CheckpointIO):
    """How Lightning reads and writes checkpoints here; `resumed` was read already, to see whether it is whole."""

    def __init__(self, resumed: dict[str, Any] | None = None) -> None:
        self.resumed = resumed

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        write_checkpoint(checkpoint, path, path.with_name(PREVIOUS) if path.name == LAST else None)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        if not self.resumed:
            return read_checkpoint(Path(path))
        state = dict(self.resumed)
        self.resumed.clear()  # whoever found it keeps no second network in memory
        return state

    def remove_checkpoint(self, path: Any) -> None:
        for file in (Path(path), checksum_path(Path(path))):
            file.unlink(missing_ok=True)


def checksum_path(path: Path) -> Path:
    """Where the checksum of a checkpoint stands."""
    return path.with_name(path.name + ".sha256")


def write_checkpoint(state: dict[str, Any], path: Path, previous: Path | None = None) -> None:
    """Puts `state` in the place of `path`, whose old content goes to `previous` where one is given.

    Raises:
        OSError: the file cannot be written; what stood there before still stands.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside, checksum = path.with_name(f".{path.name}.{os.getpid()}"), checksum_path(path)
    try:
        digest = _write_and_verify(state, beside)
        old = checksum.read_text(encoding="ascii").split()[0] if previous and checksum.exists() else None
        checksum.unlink(missing_ok=True)
        if previous is not None and path.exists():
            checksum_path(previous).unlink(missing_ok=True)
            path.replace(previous)
        beside.replace(path)
        write_atomically(checksum, f"{digest}  {path.name}\n")
        if previous is not None and old is not None:
            write_atomically(checksum_path(previous), f"{old}  {previous.name}\n")
        _flush_directory(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError of its writer
        beside.unlink(missing_ok=True)
        raise OSError(
            f"{path} could not be written ({error}): free some space or give another place with runs_dir=…"
        ) from error


def _write_and_verify(state: dict[str, Any], path: Path) -> str:
    with path.open("wb") as file:
        hashing = _Hashing(file.write)
        torch.save(state, hashing)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    digest = hashing.digest.hexdigest()
    if file_digest(path) != digest:
        raise OSError("what was read back differs from what was written")
    return digest


class _Hashing:
    """A file to write to that also digests what it is given."""

    def __init__(self, write: Callable[[bytes], int]) -> None:
        self.write_through, self.digest = write, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.write_through(data)

    def flush(self) -> None:
        """Nothing: the file beneath is flushed by its owner."""


def _flush_directory(directory: Path) -> None:
    """Makes renames outlast a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Loads a checkpoint onto the CPU; only plain types and tensors are let in, no code runs.

    Raises:
        DamagedCheckpoint: absent, damaged, or not a checkpoint of ours; names the file.
        ValueError: of another format.
    """
    if not path.is_file():
        raise DamagedCheckpoint(f"{path} does not exist: give the directory of a run that has trained for an epoch")
    checksum = checksum_path(path)
    if checksum.is_file() and checksum.read_bytes().split()[:1] != [file_digest(path).encode()]:
        raise DamagedCheckpoint(f"{path} is damaged: its SHA-256 differs from the one in {checksum.name}")
    try:
        if not checksum.is_file():  # a kill within a write takes it away; torch does not look at its archive's own
            with zipfile.ZipFile(path) as archive:
                if (part := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(f"the checksum of {part} differs")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file that is refused a moment later
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, key and runtime errors, by where the damage is
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise DamagedCheckpoint(f"{path} carries code ({code[1]}), none of it was run: do not use it") from None
        raise DamagedCheckpoint(
            f"{path} is damaged, or holds more than plain types ({type(error).__name__}): it is not loaded"
        ) from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise DamagedCheckpoint(f"{path} is no checkpoint of a run: it has no 'state_dict'")
    if (found := state.get("leyden", {}).get("format", FORMAT)) != FORMAT:
        raise ValueError(
            f"{path} has format {found}, this version of Leyden reads format {FORMAT}: use the version that wrote it"
        )
    return state


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Found(NamedTuple):
    """Where training can go on from: a whole checkpoint, or None for the beginning, and the files found damaged."""

    path: Path | None
    state: dict[str, Any] | None
    damaged: list[Path]

    def describe(self) -> dict[str, Any]:
        """What a run's record says of it."""
        step = self.state["global_step"] if self.state else 0
        return {"file": self.path and self.path.name, "step": step, "damaged": [path.name for path in self.damaged]}


def newest_whole(directory: Path) -> Found:
    """Finds the state to go on from: `last.ckpt`, else `previous.ckpt`, else the beginning; names what is damaged.

    A state also needs the `best.ckpt` that it speaks of, or a later one; lost, only training from the start gives it
    back.
    """
    damaged: list[Path] = []
    best = _read_or_name(directory / BEST, damaged)
    for name in (LAST, PREVIOUS):
        state = _read_or_name(directory / name, damaged)
        if state is None:
            continue
        best_step = state.get("callbacks", {}).get("Checkpoints", {}).get("best_step")
        if best_step is None or (best is not None and best["global_step"] >= best_step):
            return Found(directory / name, state, damaged)
        log.warning("%s: its best weights are not in %s, so training begins at the start", directory / name, BEST)
        break
    return Found(None, None, damaged)


def _read_or_name(path: Path, damaged: list[Path]) -> dict[str, Any] | None:
    """The state in a file; None where it is absent, or damaged, which is named and noted."""
    if not path.is_file():
        return None
    try:
        return read_checkpoint(path)
    except DamagedCheckpoint as error:
        log.warning("%s", error)
        damaged.append(path)
        return None


def set_aside(damaged: Iterable[Path]) -> None:
    """Renames damaged files to `<name>.damaged`, so that none is taken for the one before later."""
    for path in damaged:
        checksum_path(path).unlink(missing_ok=True)
        path.replace(path.with_name(path.name + ".damaged"))


def describe(directory: Path) -> str:
    """What lies in a directory of checkpoints, a line for each: where training was, what it holds, what is damaged."""
    lines = [f"{'file':14} {'epoch':>6} {'step':>8} {'MiB':>8}  {'written by':24} holds"]
    for path in sorted(directory.glob("*.ckpt*")):
        if path.suffix == ".sha256":
            continue
        size = path.stat().st_size / 2**20
        try:
            state = read_checkpoint(path)
        except DamagedCheckpoint as error:
            lines.append(f"{path.name:14} {'-':>6} {'-':>8} {size:8.1f}  {error}")
            continue
        written = state.get("leyden", {})
        by = f"leyden {written.get('version')}, torch {written.get('torch')}"
        num_weights = sum(value.numel() for value in state["state_dict"].values())
        parts = {
            f"{num_weights:,} weights": True,
            "optimizer": state.get("optimizer_states"),
            "schedule": state.get("lr_schedulers"),
            "averaged weights": "Ema" in state.get("callbacks", {}),
            "training metrics": state.get("training_metrics"),
            "config": state.get("run"),
        }
        holds = ", ".join(name for name, is_there in parts.items() if is_there)
        lines.append(f"{path.name:14} {state['epoch']:6} {state['global_step']:8} {size:8.1f}  {by:24} {holds}")
    return "\n".join(lines)
