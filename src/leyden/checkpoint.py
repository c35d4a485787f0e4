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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf
from pytorch_lightning.plugins.io import CheckpointIO

from leyden.run import sync, write_atomically

log = logging.getLogger(__name__)

FORMAT = 1  # counts up when older checkpoints can no longer be gone on from
LAST, PREVIOUS, BEST, BEST_COPY = "last.ckpt", "previous.ckpt", "best.ckpt", "best_copy.ckpt"
WEIGHTS = ("state_dict", "epoch", "global_step", "callbacks", "run", "leyden")  # what every checkpoint holds
STATE = (
    *WEIGHTS, "loops", "optimizer_states", "lr_schedulers", "position", "total_steps", "training_metrics",
    "metrics_csv", "skipped", "frozen",
)  # fmt: skip
AVERAGED = "module."  # before the names of averaged weights, in the state of the callback that keeps them


class DamagedCheckpoint(ValueError):
    """A file that is no whole checkpoint of ours."""


class WholeFiles(CheckpointIO):
    """How Lightning reads and writes checkpoints here; `resumed` was read already, to see whether it is whole."""

    def __init__(self, resumed: dict[str, Any] | None = None) -> None:
        self.resumed = resumed

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        write_checkpoint(checkpoint, path, path.with_name(PREVIOUS) if path.name == LAST else None)
        if path.name == BEST:  # nothing but training from the start would bring it back
            write_checkpoint(checkpoint, path.with_name(BEST_COPY))

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
        OSError: the file cannot be written; what stood there before stands there still, or in `previous`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside, checksum = path.with_name(f".{path.name}.{os.getpid()}"), checksum_path(path)
    try:
        digest = _write_and_verify(state, beside)
        old = checksum.read_text(encoding="ascii").split()[:1] if previous and checksum.exists() else None
        checksum.unlink(missing_ok=True)
        if previous is not None and path.exists():
            checksum_path(previous).unlink(missing_ok=True)
            path.replace(previous)
        beside.replace(path)
        write_atomically(checksum, f"{digest}  {path.name}\n")
        if previous is not None and old:
            write_atomically(checksum_path(previous), f"{old[0]}  {previous.name}\n")
        sync(path.parent)
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


def read_tensors(path: Path) -> dict[str, Any]:
    """Loads a file of tensors and plain types onto the CPU; no code of it runs.

    Raises:
        DamagedCheckpoint: absent, damaged, or it carries code; names the file.
    """
    if not path.is_file():
        raise DamagedCheckpoint(f"{path} {'is no file' if path.exists() else 'does not exist'}")
    try:
        _check_sum(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file that is refused a moment later
            content = torch.load(path, map_location="cpu", weights_only=True)
    except DamagedCheckpoint:
        raise
    except Exception as error:  # torch raises pickle, zip, key and runtime errors, by where the damage is
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise DamagedCheckpoint(f"{path} carries code ({code[1]}), none of it was run: do not use it") from None
        raise DamagedCheckpoint(
            f"{path} is damaged, or holds more than plain types ({type(error).__name__}): it is not loaded"
        ) from error
    return content if isinstance(content, dict) else {}


def read_checkpoint(path: Path, holds: Sequence[str] = WEIGHTS) -> dict[str, Any]:
    """Loads a checkpoint of ours, with `read_tensors`.

    Raises:
        DamagedCheckpoint: absent, damaged, or without what it should hold; names the file.
        ValueError: of another format.
    """
    state = read_tensors(path)
    written = state.get("leyden")
    if isinstance(written, dict) and written.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {written.get('format')}, this version of Leyden reads format {FORMAT}: "
            "use the version that wrote it"
        )
    if missing := [key for key in holds if key not in state]:
        raise DamagedCheckpoint(f"{path} is damaged or of another program: it has no '{missing[0]}'")
    return state


def is_of_the_average(run: Mapping[str, Any]) -> bool:
    """Whether a run has picked its best checkpoint by averaged weights; `run` is what a checkpoint says of it."""
    config = OmegaConf.create(run["config"])
    picked = OmegaConf.select(config, "callbacks.checkpoints.monitor") or config.monitor
    return str(picked).startswith("val/ema_")


def weights_that_answer(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The weights that the run's validation has picked, of a checkpoint that has both the raw and the averaged ones."""
    weights = dict(state["state_dict"])
    if is_of_the_average(state["run"]):
        kept = state["callbacks"]["Ema"]["average"].items()
        weights |= {name.removeprefix(AVERAGED): value for name, value in kept if name.startswith(AVERAGED)}
    return weights


def _check_sum(path: Path) -> None:
    checksum = checksum_path(path)
    if checksum.is_file():
        if checksum.read_bytes().split()[:1] != [file_digest(path).encode()]:
            raise DamagedCheckpoint(f"{path} is damaged: its SHA-256 differs from the one in {checksum.name}")
        return
    if not zipfile.is_zipfile(path) and path.suffix != ".ckpt":
        return  # as torch wrote them before version 1.6
    with zipfile.ZipFile(path) as archive:  # a kill within a write takes it away; torch does not look at the archive's
        if (part := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"the checksum of {part} differs")


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Saved(NamedTuple):
    """Where training can go on from: a whole checkpoint, or None for the beginning, and the files found damaged."""

    path: Path | None
    state: dict[str, Any] | None
    damaged: list[Path]

    @property
    def is_anything(self) -> bool:
        """Whether a run has saved anything here, whole or not."""
        return self.path is not None or bool(self.damaged)

    def describe(self) -> dict[str, Any]:
        """What a run's record says of it."""
        step = self.state["global_step"] if self.state else 0
        return {"file": self.path and self.path.name, "step": step, "damaged": [path.name for path in self.damaged]}


def newest_whole(directory: Path, run_id: str | None = None) -> Saved:
    """Finds the state to go on from: `last.ckpt`, else `previous.ckpt`, else the beginning; names what is damaged.

    A state also needs the best weights that it speaks of, or later ones of its run; lost with their copy too, only
    training from the start gives them back.

    Raises:
        ValueError: a checkpoint is of another run than `run_id`, or of another format.
    """
    damaged: list[Path] = []
    bests = [  # one network at a time is in memory
        (best["run"]["run_id"], best["global_step"])
        for name in (BEST, BEST_COPY)
        if (best := _read_or_name(directory / name, WEIGHTS, run_id, damaged)) is not None
    ]
    for name in (LAST, PREVIOUS):
        state = _read_or_name(directory / name, STATE, run_id, damaged)
        if state is None:
            continue
        step = state["callbacks"].get("Checkpoints", {}).get("best_step")
        ours = [best_step for best_run, best_step in bests if best_run == state["run"]["run_id"]]
        if step is None or any(best_step >= step for best_step in ours):
            return Saved(directory / name, state, damaged)
        log.warning("%s: the best weights that it speaks of are not here", directory / name)
    return Saved(None, None, damaged)


def _read_or_name(path: Path, holds: Sequence[str], run_id: str | None, damaged: list[Path]) -> dict[str, Any] | None:
    """The state in a file; None where it is absent, or damaged, which is named and noted."""
    if not path.exists():
        return None
    try:
        state = read_checkpoint(path, holds)
    except DamagedCheckpoint as error:
        log.warning("%s", error)
        damaged.append(path)
        return None
    if run_id not in (None, state["run"]["run_id"]):
        raise ValueError(f"{path} is of another run than run.json: put this run's own back, or delete it")
    return state


def put_in_order(directory: Path, found: Saved) -> None:
    """Renames damaged files to `<name>.damaged`, puts lost best weights back, sweeps half written files away."""
    for path in found.damaged:
        checksum_path(path).unlink(missing_ok=True)
        path.replace(path.with_name(path.name + ".damaged"))
    for path in directory.glob(".*.ckpt*"):
        path.unlink()
    best, copy = directory / BEST, directory / BEST_COPY
    if found.state is None or not copy.is_file():
        return
    if not best.is_file() or read_checkpoint(best)["run"]["run_id"] != found.state["run"]["run_id"]:
        log.warning("%s is put back from its copy", best)
        write_checkpoint(read_checkpoint(copy), best)


def describe(directory: Path) -> str:
    """What lies in a directory of checkpoints, a line for each: where training was, what it holds, what is damaged."""
    lines = [f"{'file':14} {'epoch':>6} {'step':>8} {'MiB':>8}  {'written by':38} holds"]
    for path in sorted(directory.glob("*.ckpt*")):
        if path.suffix == ".sha256":
            continue
        size = path.stat().st_size / 2**20
        try:
            state = read_checkpoint(path)
        except ValueError as error:
            lines.append(f"{path.name:14} {'-':>6} {'-':>8} {size:8.1f}  {error}")
            continue
        by = f"leyden {state['leyden'].get('version')}, torch {state['leyden'].get('torch')}"
        num_weights = sum(value.numel() for value in state["state_dict"].values())
        parts = {
            f"{num_weights:,} weights": True,
            "optimizer": state.get("optimizer_states"),
            "schedule": state.get("lr_schedulers"),
            "averaged weights": "Ema" in state["callbacks"],
            "training metrics": state.get("training_metrics"),
            "config": state["run"],
        }
        holds = ", ".join(name for name, is_there in parts.items() if is_there)
        lines.append(f"{path.name:14} {state['epoch']:6} {state['global_step']:8} {size:8.1f}  {by:38} {holds}")
    return "\n".join(lines)
