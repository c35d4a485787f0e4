"""Checkpoints: whole files only, checksums that other tools read, no code in them, damage named."""

import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leyden.callbacks import Checkpoints
from leyden.checkpoint import (
    read_checkpoint,
    write_checkpoint,
)  # fmt: skip

STATE = {"state_dict": {"weight": torch.arange(1000.0)}, "epoch": 3}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    write_checkpoint(STATE, path)
    state = read_checkpoint(path)
    assert torch.equal(state["state_dict"]["weight"], torch.arange(1000.0))
    assert state["epoch"] == 3
    assert sorted(file.name for file in path.parent.iterdir()) == ["last.ckpt", "last.ckpt.sha256"]


def test_sha256sum_agrees(tmp_path: Path) -> None:
    write_checkpoint(STATE, tmp_path / "best.ckpt")
    subprocess.run(["sha256sum", "--check", "best.ckpt.sha256"], cwd=tmp_path, check=True, capture_output=True)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "changed": lambda data: data[:1500] + b"\xff\x00\xff" + data[1503:],
    "empty": lambda data: b"",
    "other": lambda data: b"hello",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("with_checksum", [True, False])
def test_damaged_file_is_named(damage: str, with_checksum: bool, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(STATE, path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    if not with_checksum:
        path.with_name("last.ckpt.sha256").unlink()
        if damage == "changed":
            return  # without its checksum a changed weight looks like any other
    with pytest.raises(ValueError, match="is damaged") as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


def test_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "attacked",))

    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": Attack()}, path, pickle_protocol=pickle.DEFAULT_PROTOCOL)
    with pytest.raises(ValueError, match=r"last.ckpt carries code \(pathlib"):
        read_checkpoint(path)
    assert not (tmp_path / "attacked").exists()


def test_absent_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        read_checkpoint(tmp_path / "last.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ValueError, match="no checkpoint of a run"):
        read_checkpoint(tmp_path / "list.ckpt")


def test_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(STATE, path)
    with pytest.raises(Exception, match="pickle"):
        write_checkpoint({"state_dict": {}, "function": lambda: None}, path)
    assert read_checkpoint(path)["epoch"] == 3


@pytest.mark.parametrize(("monitor", "values", "best"), [
    ("val/accuracy", [0.5, 0.9, 0.7, 0.9, 0.8], 3),
    ("val/loss", [0.5, 0.2, 0.3, 0.2, 0.4], 3),
])  # fmt: skip
def test_last_of_equal_epochs_is_the_best(monitor: str, values: list[float], best: int) -> None:
    checkpoints = Checkpoints(monitor)
    for epoch, value in enumerate(values):
        if checkpoints._is_better(value):
            checkpoints.best_value, checkpoints.best_epoch = value, epoch
    assert checkpoints.best_epoch == best
