"""The run's record: truthful while it runs, when it ends, when it fails; readable at every instant."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from leyden import __version__
from leyden.errors import Interrupted
from leyden.run import (
    RunRecord,
    in_place_of,
    num_cores,
    rank,
    read_record,
    run_directories,
    show_warnings,
    write_atomically,
)
from leyden.signals import Signals


def test_record_says_running_then_finished(tmp_path: Path) -> None:
    with RunRecord(tmp_path / "run", ["epochs=3"]) as run:
        inside = read_record(run.directory)
        run.update(metrics={"test/accuracy": 0.9})
    assert inside["status"] == "running"
    assert inside["overrides"] == ["epochs=3"]
    record = read_record(tmp_path / "run")
    assert (record["status"], record["attempt"], record["metrics"]) == ("finished", 1, {"test/accuracy": 0.9})
    assert record["versions"]["leyden"] == __version__
    assert {"torch", "pytorch-lightning", "python"} <= set(record["versions"])
    assert record["seconds"] >= 0


@pytest.mark.parametrize(
    ("error", "status", "has_traceback"),
    [
        (ValueError("head.dropout=2 is out of range"), "failed", True),
        (ValueError("photos/f\udcfcr.jpg cannot be read"), "failed", True),
        (Interrupted(15, Path("runs/x"), is_saved=True), "interrupted", False),
    ],
)
def test_record_says_how_a_run_ended(error: BaseException, status: str, has_traceback: bool, tmp_path: Path) -> None:
    with pytest.raises(type(error)), RunRecord(tmp_path, []):
        raise error
    record = read_record(tmp_path)
    assert record["status"] == status
    assert record["reason"]
    assert (tmp_path / "error.txt").exists() == has_traceback


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1), ({"cpu.max": "200000 100000\n"}, 2), ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "50000 100000\n"}, 1), ({}, 8), ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
    ],
)  # fmt: skip
def test_a_container_has_as_many_cores_as_it_has_time_of(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leyden.run.CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8))
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert num_cores() == expected


def test_run_that_begins_where_one_had_saved_nothing_keeps_no_error_of_it(tmp_path: Path) -> None:
    with contextlib.suppress(RuntimeError), RunRecord(tmp_path, []):
        raise RuntimeError("no such directory")
    assert (tmp_path / "error.txt").is_file()
    with RunRecord(tmp_path, []):
        pass
    assert not list(tmp_path.glob("error*"))


def test_second_attempt_counts_and_keeps_facts(tmp_path: Path) -> None:
    with RunRecord(tmp_path, []) as run:
        run.update(parameters=7, calibration={"temperature": 2})
    with RunRecord(tmp_path, [], read_record(tmp_path)):
        pass
    record = read_record(tmp_path)
    assert "calibration" not in record  # of weights that the new attempt may better
    assert (record["attempt"], record["parameters"], record["status"], record["reason"]) == (2, 7, "finished", None)


def test_end_is_recorded_though_a_second_sigint_comes_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, text: str) -> None:
        if '"status": "interrupted"' in text and signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
            signal.raise_signal(signal.SIGINT)
        write_atomically(path, text)

    def run(signals: Signals) -> None:
        with RunRecord(tmp_path, []):
            monkeypatch.setattr("leyden.run.write_atomically", write)
            signal.raise_signal(signal.SIGINT)
            signals.check()

    with Signals() as signals, pytest.raises(Interrupted):
        run(signals)
    record = read_record(tmp_path)
    assert record["status"] == "interrupted"
    assert record["reason"].startswith("stopped by SIGINT")


def test_command_quotes_what_a_shell_would_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["leyden", "train", "name=two words"])
    with RunRecord(tmp_path, []):
        pass
    assert read_record(tmp_path)["command"] == "leyden train 'name=two words'"


WRITE_WITHOUT_END = """
import json, pathlib, sys
from leyden.run import write_atomically
while True:
    write_atomically(pathlib.Path(sys.argv[1]), json.dumps({"status": "running", "padding": "x" * 5000}))
"""


def test_reader_and_kill_meet_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", WRITE_WITHOUT_END, str(path)])
        deadline = time.monotonic() + 30
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for _ in range(50):
            read_record(tmp_path)
        process.kill()
        process.wait()
        assert len(read_record(tmp_path)["padding"]) == 5000


def test_file_that_cannot_be_written_to_its_end_leaves_the_old_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old", encoding="utf-8")

    def write() -> None:
        with in_place_of(path) as beside:
            beside.write_text("ne", encoding="utf-8")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write()
    assert [found.name for found in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text(encoding="utf-8") == "old"


def test_a_process_that_lightning_starts_in_a_shell_of_slurm_s_has_its_own_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert rank() == 3  # of srun
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert rank() == 1


def test_other_ranks_record_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    tmp_path.mkdir(exist_ok=True)
    with RunRecord(tmp_path, []) as run:
        run.update(metrics={})
    assert not (tmp_path / "run.json").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "is no run directory"),
        ("{", "is damaged"),
        ('{"status": "odd"}', "its status should be"),
        ("[]", "damaged"),
    ],
)
def test_absent_or_damaged_record_is_named(text: str | None, expected: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=expected):
        read_record(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_log_that_a_full_disk_does_not_take_is_silent(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    show_warnings()
    log = logging.getLogger("of_a_library")
    handler = logging.FileHandler("/dev/full")
    log.addHandler(handler)
    log.error("no room")
    log.removeHandler(handler)
    assert capfd.readouterr().err == ""
    with contextlib.suppress(OSError):
        handler.close()


def test_directory_that_is_not_there_is_named_beside_others(tmp_path: Path) -> None:
    with RunRecord(tmp_path / "run", []):
        pass
    assert run_directories([tmp_path], depth=1) == [tmp_path / "run"]
    with pytest.raises(ValueError, match=r"rnu holds neither a study nor runs: there is no such directory"):
        run_directories([tmp_path / "run", tmp_path / "rnu"], depth=1)
