"""Several processes of one run: one killed ends all within seconds, is told, and the run goes on to the same bits."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from running import FinishedRun, differences

Leyden = Callable[..., subprocess.CompletedProcess[str]]
DDP = ["trainer=ddp", "backbone=cnn", "backbone.widths=[4,8]", "backbone.convolutions_per_stage=1", "head.dropout=0.2",
       "augment=strong", "callbacks.ema.decay=0.9", "logger=csv", "trainer.accelerator=cpu", "epochs=12",
       "callbacks.checkpoints.every_n_steps=7"]  # fmt: skip
SECONDS_TO_END = 40


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The run that nothing disturbs."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    start(directory).communicate(timeout=120)
    return FinishedRun(directory)


def start(directory: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "leyden", "train", f"hydra.run.dir={directory}", *DDP],
        cwd=directory.parent, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def disturb(directory: Path, victim: int, number: int) -> tuple[int, str]:
    """Sends a signal to one rank in the midst of training; returns the first rank's exit code and errors."""
    process = start(directory)
    deadline = time.monotonic() + 60
    while not (directory / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    first = psutil.Process(process.pid)
    (second,) = [child for child in first.children() if "leyden" in " ".join(child.cmdline())]
    (first, second)[victim].send_signal(number)
    _, errors = process.communicate(timeout=SECONDS_TO_END)
    second.wait(timeout=SECONDS_TO_END)
    return process.returncode, errors


CASES = [
    (0, signal.SIGKILL, -signal.SIGKILL, "running", None),
    (1, signal.SIGKILL, 1, "failed", r"rank 1 .* \(process \d+\) ended before its time: it was killed by SIGKILL"),
    (0, signal.SIGTERM, 143, "interrupted", "stopped by SIGTERM, the state is saved"),
    (1, signal.SIGUSR1, 143, "interrupted", "stopped by SIGTERM, the state is saved"),
]  # fmt: skip


@pytest.mark.parametrize(("victim", "number", "code", "status", "reason"), CASES)
def test_one_rank_struck_ends_all_and_the_run_goes_on_exactly(
    victim: int,
    number: int,
    code: int,
    status: str,
    reason: str | None,
    whole: FinishedRun,
    leyden: Leyden,
    tmp_path: Path,
) -> None:
    directory = tmp_path / "run"
    returned, errors = disturb(directory, victim, number)
    assert returned == code, errors
    run = FinishedRun(directory)
    assert run.record["status"] == status
    if reason:
        assert re.search(reason, run.record["reason"]), errors
        assert re.search(reason, errors)
        assert "Traceback" not in errors
    done = leyden("resume", str(directory))
    assert done.returncode == 0, done.stderr
    assert differences(whole, run) == []
