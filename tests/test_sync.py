"""What `leyden sync` sends arrives once, row by row, however often it was cut off; and it says what it sent."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
import yaml
from PIL import Image

from leyden import command_line
from leyden.loggers import WandbLogger
from leyden.metric_names import OF_TEST, ROW, read_numbers
from leyden.predictions import Predictions, write_predictions
from leyden.study.job import WANDB_SERVICE
from wandb_server import KEY, Wandb, wandb_server

OF_WANDB = {"_step", "_runtime", "_timestamp", ROW, OF_TEST}
NAMES = {"offline": "finished", "plain": "finished", "failed": "failed", "killed": "running"}
NUM_ROWS = 12


def write_run(directory: Path, status: str, num_rows: int = NUM_ROWS, attempt: int = 1) -> dict[str, Any]:
    """A run's directory as it is when the run has ended, or was killed."""
    directory.mkdir(parents=True, exist_ok=True)
    name = directory.parent.name
    accuracies = [1 - 1 / (row + 2) - 0.5 * (row > 5) for row in range(num_rows)]  # the best is the sixth
    lines = [f"{row},{10 * row + 10},{1 / (row + 1)},{value}" for row, value in enumerate(accuracies)]
    (directory / "metrics.csv").write_text("\n".join(["epoch,step,train/loss,val/accuracy", *lines]) + "\n")
    logger = {"_target_": "leyden.loggers.WandbLogger", "directory": "${runs_dir}", "tags": ["few"]}
    config = {"name": name, "runs_dir": "runs", "monitor": "val/accuracy", "optimizer": {"lr": 0.1}}
    config["logger"] = None if name == "plain" else logger
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    is_done = status != "running"
    record: dict[str, Any] = {
        "status": status, "reason": "it broke" if status == "failed" else None, "run_id": f"{name}0",
        "attempt": attempt, "overrides": [], "choices": {"optimizer": "adam"}, "started": "2026-11-26T00:00:00+00:00",
        "ended": f"2026-11-26T00:0{attempt}:00+00:00" if is_done else None,
        "heartbeat": {"time": "2026-11-26T00:00:30+00:00"}, "working_directory": str(directory.parents[2]),
        "metrics": {"test/accuracy": 0.75, "best/epoch": 5, "best/val/accuracy": max(accuracies)} if is_done else {},
    }  # fmt: skip
    (directory / "run.json").write_text(json.dumps(record))
    if status == "finished":
        found = Predictions(np.arange(20) % 2, np.zeros(20, int), np.linspace(0.5, 1, 20))
        write_predictions(directory, found)
        Image.new("RGB", (8, 8)).save(directory / "learning_curves.png")
    return record


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/: one that W&B has in its files, one without W&B, one that failed, one that was killed."""
    place = tmp_path_factory.mktemp("written")
    for name, status in NAMES.items():
        record = write_run(place / "runs" / name / "one", status)
        if name == "offline":
            follower = WandbLogger(place / "runs" / name / "one", mode="offline", directory=str(place / "runs"))
            follower.config = {"monitor": "val/accuracy"}
            assert follower.hand_over(record) == NUM_ROWS
    wandb.teardown()
    return place


@pytest.fixture
def place(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that was moved since."""
    shutil.copytree(written / "runs", tmp_path / "runs", symlinks=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wandb]:
    monkeypatch.delenv(WANDB_SERVICE, raising=False)
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.delenv("WANDB_ENTITY", raising=False)
        yield server
        wandb.teardown()


def assert_whole(server: Wandb, place: Path, name: str) -> None:
    lines = [{key: value for key, value in line.items() if key not in OF_WANDB} for line in server.lines(f"{name}0")]
    assert [line for line in lines if "epoch" in line] == read_numbers(place / "runs" / name / "one" / "metrics.csv")
    steps = [line["_step"] for line in server.lines(f"{name}0")]
    assert steps == list(range(len(steps)))


def test_all_that_wandb_lacks_is_sent_once_and_told(
    server: Wandb, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = "import sys, time, pathlib; from leyden.lock import Lock; Lock(pathlib.Path(sys.argv[1])).__enter__(); "
    worker += "print(1, flush=True); time.sleep(600)"
    command = [sys.executable, "-c", worker, "runs/failed/one"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as working:
        assert working.stdout is not None
        working.stdout.readline()
        exit_code = command_line.sync([])
        working.kill()
    out, err = capfd.readouterr()
    assert exit_code == 0, err
    assert "runs/failed/one  left alone: another process is at work" in out
    assert f"runs/plain/one  sent, {NUM_ROWS} rows, finished: {server.address}/me/leyden/runs/plain0" in out
    assert f"runs/killed/one  sent, {NUM_ROWS} rows, interrupted: " in out
    assert out.splitlines()[-1] == "1 left alone, 3 sent"
    assert server.exit_codes == {"offline0": 0, "plain0": 0, "killed0": 1}
    for name in ("offline", "plain", "killed"):
        assert_whole(server, place, name)
        summary = server.summaries[f"{name}0"]
        assert (summary["best/epoch"], summary["best/step"]) == (5, 60)
    assert server.summaries["plain0"]["test/accuracy"] == 0.75
    assert server.runs["plain0"]["displayName"] == "plain"
    config = json.loads(server.runs["killed0"]["config"])
    assert config["choices"]["value"] == {"optimizer": "adam"}
    assert server.runs["killed0"]["tags"] == ["few"]
    assert any(file.startswith("media/images/pictures/learning_curves") for file in server.files)
    record = json.loads((place / "runs" / "plain" / "one" / "run.json").read_text())
    assert record["wandb"]["address"] == f"{server.address}/me/leyden/runs/plain0"

    assert command_line.sync(["runs/plain", "runs/killed/one", "runs"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] in ("3 there already, 1 sent", "1 sent, 3 there already")
    for name in NAMES:
        assert_whole(server, place, name)
        assert len(server.lines(f"{name}0")) == NUM_ROWS + (NAMES[name] == "finished")  # and one with pictures
    assert server.state("failed0") == server.summaries["failed0"]["status"] == "failed"
    assert KEY not in out + err
    for path in (path for path in place.rglob("*") if path.is_file()):
        assert KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("name", ["offline", "plain"])
def test_connection_that_drops_in_the_middle_loses_nothing_and_doubles_nothing(
    name: str, server: Wandb, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.num_taken = 5
    command = [sys.executable, "-m", "leyden", "sync", f"runs/{name}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        while server.num_taken:
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)  # W&B's own sync and service end with it
        process.communicate()
    assert len(server.lines(f"{name}0")) == 5
    assert server.state(f"{name}0") == "running"
    server.num_taken = None
    assert command_line.sync([f"runs/{name}"]) == 0
    assert re.search(rf"one  sent, {NUM_ROWS - 5} of {NUM_ROWS} rows, finished", capfd.readouterr().out)
    assert_whole(server, place, name)
    assert server.exit_codes == {f"{name}0": 0}
    assert server.summaries[f"{name}0"]["best/epoch"] == 5


def test_run_that_goes_on_after_it_was_sent_is_sent_whole(
    server: Wandb, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command_line.sync(["runs/plain", "runs/killed"]) == 0
    for name in ("plain", "killed"):
        write_run(place / "runs" / name / "one", "finished", NUM_ROWS + 3, attempt=2)
    assert command_line.sync(["runs/plain", "runs/killed"]) == 0
    assert capfd.readouterr().out.count(f"sent, 3 of {NUM_ROWS + 3} rows, finished") == 2
    for name in ("plain", "killed"):
        assert_whole(server, place, name)
    assert server.exit_codes == {"plain0": 0, "killed0": 0}


def test_what_wandb_refuses_is_not_taken_for_sent(
    server: Wandb, place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leyden.sync.SECONDS_TO_SETTLE", 1.0)
    server.refuses_history = True
    assert command_line.sync(["runs/offline"]) == 1
    out, err = capfd.readouterr()
    assert "not sent: W&B has not taken all of it" in out
    assert err == "error: W&B has not taken all of 1 runs: give the same line again\n"
    assert not list((place / "runs" / "wandb").glob("*/*.sent"))
    server.refuses_history = False
    assert command_line.sync(["runs/offline"]) == 0
    assert_whole(server, place, "offline")


def test_without_key_or_answer_one_sentence_says_so(
    server: Wandb, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    server.status = 401
    assert command_line.sync([]) == 1
    assert re.fullmatch(r"error: W&B at http\S+ refused, or did not answer .*\n", capfd.readouterr().err)
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("HOME", str(place))
    assert command_line.sync([]) == 1
    said = capfd.readouterr().err
    assert re.fullmatch(r"error: there is no key for http\S+: run `wandb login` or set WANDB_API_KEY\n", said)
    assert command_line.sync(["--help"]) == 0
    assert "usage: leyden sync" in capfd.readouterr().out


def test_a_damaged_run_hides_no_other(server: Wandb, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    damaged, torn = place / "runs" / "plain" / "one", place / "runs" / "failed" / "one"
    (damaged / "config.yaml").write_text("a: [1")
    (torn / "metrics.csv").write_text("epoch,step,train/loss\n0,10,1e-\n")
    command_line.sync(["runs"])
    out = capfd.readouterr().out
    assert "runs/plain/one  left alone: " in out
    assert re.search(r"runs/failed/one  left alone: \S+/metrics.csv is damaged", out)
    assert_whole(server, place, "offline")
    assert_whole(server, place, "killed")


def test_a_mark_of_wandbs_own_is_not_trusted(
    server: Wandb, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("leyden.sync._settled", interrupted)
        server.refuses_history = True
        with pytest.raises(KeyboardInterrupt):
            command_line.sync(["runs/offline"])
    server.refuses_history = False
    assert list((place / "runs" / "wandb").glob("*/*.synced"))
    assert command_line.sync(["runs/offline"]) == 0
    assert_whole(server, place, "offline")
