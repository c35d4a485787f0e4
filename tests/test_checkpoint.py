"""Checkpoints: whole files only, checksums that other tools read, no code in them, damage named."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from leyden import checkpoint
from leyden.callbacks import Checkpoints
from leyden.checkpoint import (
    BEST,
    BEST_COPY,
    FORMAT,
    LAST,
    PREVIOUS,
    DamagedCheckpoint,
    WholeFiles,
    checksum_path,
    describe,
    file_digest,
    newest_whole,
    put_in_order,
    read_checkpoint,
    read_tensors,
    write_checkpoint,
)

STATE = {key: {} for key in checkpoint.STATE} | {
    "state_dict": {"weight": torch.arange(1000.0)}, "epoch": 3, "global_step": 7,
    "leyden": {"format": FORMAT}, "run": {"run_id": "a"},
}  # fmt: skip


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
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


class Attack:
    """Runs a shell command when it is unpickled in the usual way."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("with_checksum", [True, False])
def test_code_in_a_checkpoint_is_refused_by_name_and_not_run(
    protocol: int, with_checksum: bool, tmp_path: Path
) -> None:
    path = tmp_path / LAST
    torch.save({"state_dict": Attack(f"touch {tmp_path}/attacked")}, path, pickle_protocol=protocol)
    if with_checksum:
        checksum_path(path).write_text(f"{file_digest(path)}  {LAST}\n")
    expected = (
        r"last.ckpt carries code \(posix.system\)" if protocol == 2 else "last.ckpt is damaged, or holds more than"
    )
    with pytest.raises(ValueError, match=expected[protocol]):
        read_checkpoint(path)
    assert newest_whole(tmp_path).state is None
    assert not (tmp_path / "attacked").exists()
    torch.load(path, weights_only=False)  # what others would do
    assert (tmp_path / "attacked").exists()


def test_changed_bit_is_found_without_the_checksum_file(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    weights = torch.rand(1000)
    write_checkpoint(STATE | {"state_dict": {"weights": weights}}, path)
    checksum_path(path).unlink()
    assert read_checkpoint(path)["state_dict"]["weights"].equal(weights)
    content = bytearray(path.read_bytes())
    content[content.index(weights.numpy().tobytes()) + 1234] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match=r"last\.ckpt is damaged"):
        read_checkpoint(path)


def test_absent_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        read_checkpoint(tmp_path / "last.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ValueError, match="is damaged or of another program: it has no 'state_dict'"):
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
    checkpoints, saved = Checkpoints(monitor), []
    checkpoints.directory = Path("nowhere")
    for epoch, value in enumerate(values):
        trainer: Any = SimpleNamespace(
            state=SimpleNamespace(fn="fit"), callback_metrics={monitor: value}, current_epoch=epoch, global_step=epoch,
            save_checkpoint=lambda *_, epoch=epoch, **__: saved.append(epoch),
        )  # fmt: skip
        checkpoints.on_validation_end(trainer, None)  # type: ignore[arg-type]
    assert checkpoints.best_epoch == saved[-1] == best


def written(directory: Path, *steps: int) -> None:
    """Checkpoints of these steps, one after the other in the place of the last."""
    for step in steps:
        write_checkpoint(STATE | {"global_step": step}, directory / LAST, directory / PREVIOUS)


def test_the_one_before_is_kept_with_its_checksum(tmp_path: Path) -> None:
    written(tmp_path, 7, 14, 21)
    assert read_checkpoint(tmp_path / LAST)["global_step"] == 21
    assert read_checkpoint(tmp_path / PREVIOUS)["global_step"] == 14
    for name in (LAST, PREVIOUS):
        subprocess.run(["sha256sum", "--check", f"{name}.sha256"], cwd=tmp_path, check=True, capture_output=True)


WHOLE_AND_DAMAGED = [
    ((), 21), ((LAST,), 14), ((PREVIOUS,), 21), ((LAST, PREVIOUS), None),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("damaged", "expected"), WHOLE_AND_DAMAGED)
def test_newest_whole_checkpoint_is_found_and_damage_named(
    damage: str, damaged: tuple[str, ...], expected: int | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, 7, 14, 21)
    for name in damaged:
        (tmp_path / name).write_bytes(DAMAGES[damage]((tmp_path / name).read_bytes()))
    found = newest_whole(tmp_path)
    assert (found.state["global_step"] if found.state else None) == expected
    if LAST in damaged:
        assert f"{tmp_path / LAST} is damaged" in caplog.text
    put_in_order(tmp_path, found)
    assert {path.name for path in tmp_path.glob("*.damaged")} == {path.name + ".damaged" for path in found.damaged}


def test_state_without_the_best_weights_it_speaks_of_is_not_gone_on_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = STATE | {"callbacks": {"Checkpoints": {"best_step": 14}}, "global_step": 21}
    write_checkpoint(state, tmp_path / LAST)
    assert newest_whole(tmp_path).state is None
    for other in ({"global_step": 7}, *({"global_step": 14, "run": {"run_id": name}} for name in "Ab")):
        write_checkpoint(STATE | other, tmp_path / BEST)
        assert newest_whole(tmp_path).state is None
    assert "the best weights that it speaks of are not here" in caplog.text
    for step in (14, 28):  # a later one comes of a run killed after it; the same is written again
        write_checkpoint(STATE | {"global_step": step}, tmp_path / BEST)
        assert newest_whole(tmp_path).path == tmp_path / LAST


@pytest.mark.parametrize("damage", DAMAGES)
def test_best_weights_come_back_from_their_copy(damage: str, tmp_path: Path) -> None:
    best = STATE | {"global_step": 14}
    WholeFiles().save_checkpoint(best, tmp_path / BEST)
    write_checkpoint(STATE | {"callbacks": {"Checkpoints": {"best_step": 14}}, "global_step": 21}, tmp_path / LAST)
    (tmp_path / BEST).write_bytes(DAMAGES[damage]((tmp_path / BEST).read_bytes()))
    found = newest_whole(tmp_path)
    assert found.path == tmp_path / LAST
    put_in_order(tmp_path, found)
    assert read_checkpoint(tmp_path / BEST)["global_step"] == 14
    assert (tmp_path / "best.ckpt.damaged").is_file()
    assert read_checkpoint(tmp_path / BEST_COPY)["global_step"] == 14


def test_only_the_best_weights_have_a_copy(tmp_path: Path) -> None:
    for name in (LAST, BEST):
        assert not (tmp_path / BEST_COPY).exists()
        WholeFiles().save_checkpoint(STATE, tmp_path / name)
    assert (tmp_path / BEST_COPY).read_bytes() == (tmp_path / BEST).read_bytes()


def test_checkpoint_is_removed_with_its_checksum_where_it_has_one(tmp_path: Path) -> None:
    for _ in range(2):  # and nothing where there is none
        WholeFiles().remove_checkpoint(tmp_path / LAST)
        write_checkpoint(STATE, tmp_path / LAST)
    WholeFiles().remove_checkpoint(tmp_path / LAST)
    assert list(tmp_path.iterdir()) == []


def test_nothing_found_is_step_0_in_a_run_s_record(tmp_path: Path) -> None:
    assert newest_whole(tmp_path).describe() == {"file": None, "step": 0, "damaged": []}
    written(tmp_path, 7)
    assert newest_whole(tmp_path).describe() == {"file": LAST, "step": 7, "damaged": []}


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth"])
def test_weights_that_torch_wrote_before_its_archives_are_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save({"weight": torch.arange(3)}, path, _use_new_zipfile_serialization=False)
    assert read_tensors(path)["weight"].tolist() == [0, 1, 2]
    path.replace(tmp_path / LAST)
    with pytest.raises(DamagedCheckpoint):  # ours are archives
        read_tensors(tmp_path / LAST)


def test_size_of_each_file_is_told_in_mebibytes(tmp_path: Path) -> None:
    write_checkpoint(STATE | {"state_dict": {"weight": torch.zeros(2_000_000)}}, tmp_path / BEST)
    row = describe(tmp_path).splitlines()[1].split()
    assert row[:3] == [BEST, "3", "7"]
    assert float(row[3]) == pytest.approx(8_000_000 / 2**20, abs=0.1)


def test_half_written_files_are_swept_away(tmp_path: Path) -> None:
    written(tmp_path, 7)
    (tmp_path / ".last.ckpt.123").write_bytes(b"half")
    put_in_order(tmp_path, newest_whole(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {LAST, f"{LAST}.sha256"}


WRITE_AND_DIE = """
import os, pathlib, sys
from leyden.checkpoint import FORMAT, STATE, write_checkpoint

def dying(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return function(*arguments, **options)
    return call

def write(step):
    known = {"global_step": step, "leyden": {"format": FORMAT}, "run": {"run_id": "a"}}
    write_checkpoint(dict.fromkeys(STATE, {}) | known, directory / "last.ckpt", directory / "previous.ckpt")

for moment in range(1, 100):
    left, directory = moment, pathlib.Path(sys.argv[1], str(moment))
    directory.mkdir()
    if os.fork() == 0:
        write(7)
        write(14)
        os.fsync = dying(os.fsync)
        pathlib.Path.replace, pathlib.Path.unlink = dying(pathlib.Path.replace), dying(pathlib.Path.unlink)
        write(21)
        os._exit(0)
    if os.wait()[1] == 0:
        break
"""


def test_kill_at_any_step_of_a_write_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(tmp_path)], timeout=100, check=True)
    moments = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(moments) > 8
    for directory in moments:
        found = newest_whole(directory)
        assert found.state is not None
        assert found.state["global_step"] in (14, 21), directory
        assert found.damaged == []
