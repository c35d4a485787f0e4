"""Whatever follows metrics.csv holds each row once, and never ends a run."""

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from leyden.loggers import MetricsCsv, begin, finish
from leyden.loggers.follower import Follower


class Tool(Follower):
    """Keeps what it is handed; has `num_known` rows already, and fails when it is told to."""

    tool = "the tool"

    def __init__(self, run_directory: Path, num_known: int = 0, fails_at: int | None = None) -> None:
        super().__init__(run_directory)
        self.num_known, self.fails_at = num_known, fails_at
        self.rows: list[tuple[int, float]] = []
        self.record: Mapping[str, Any] = {}
        self.may_open = threading.Event()
        self.may_open.set()

    def open(self) -> int:
        self.may_open.wait()
        return self.num_known

    def send(self, index: int, row: dict[str, float]) -> None:
        if index == self.fails_at:
            raise ConnectionError("the line is dead")
        self.rows.append((index, row["train/loss"]))

    def close(self, record: Mapping[str, Any]) -> None:
        self.record = record


class MendedTool(Tool):
    """One that goes on in another way after its first error."""

    def recover(self, error: Exception) -> int:
        if self.fails_at is None:
            raise error
        self.fails_at = None
        self.rows.clear()
        return 0


RECORD = {"run_id": "abc", "status": "finished"}


def log_rows(logger: MetricsCsv, rows: range) -> None:
    for row in rows:
        logger.log_metrics({"epoch": row, "train/loss": float(row)}, step=row)
    logger.finalize("success")


def test_rows_are_handed_over_in_order_and_the_end_with_them(tmp_path: Path) -> None:
    tool = Tool(tmp_path)
    logger = MetricsCsv(tmp_path / "metrics.csv", [tool])
    tool.begin("abc")
    log_rows(logger, range(5))
    finish([logger], RECORD)
    assert tool.rows == [(row, float(row)) for row in range(5)]
    assert tool.record == RECORD


def test_ranks_that_begin_before_the_first_has_a_record_hand_nothing_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    tool = Tool(tmp_path)
    begin([MetricsCsv(tmp_path, [tool])], {})  # as Slurm starts all of them at once
    assert tool.run_id == ""


def test_rows_that_the_tool_lacks_are_read_in_the_file(tmp_path: Path) -> None:
    log_rows(MetricsCsv(tmp_path / "metrics.csv"), range(4))  # an attempt that the tool knows two rows of
    tool = Tool(tmp_path, num_known=2)
    logger = MetricsCsv(tmp_path / "metrics.csv", [tool])
    log_rows(logger, range(4, 6))
    finish([logger], RECORD)
    assert [index for index, _ in tool.rows] == [2, 3, 4, 5]


def test_rows_that_the_tool_has_are_not_given_twice(tmp_path: Path) -> None:
    log_rows(MetricsCsv(tmp_path / "metrics.csv"), range(2))  # back at its checkpoint; the tool had seen five
    tool = Tool(tmp_path, num_known=5)
    logger = MetricsCsv(tmp_path / "metrics.csv", [tool])
    log_rows(logger, range(2, 7))
    finish([logger], RECORD)
    assert [index for index, _ in tool.rows] == [5, 6]


def test_training_does_not_wait_for_a_tool(tmp_path: Path) -> None:
    tool = Tool(tmp_path)
    tool.may_open.clear()
    logger = MetricsCsv(tmp_path / "metrics.csv", [tool])
    tool.begin("abc")
    log_rows(logger, range(100))  # returns, though the tool is not even open
    assert tool.rows == []
    tool.may_open.set()
    finish([logger], RECORD)
    assert len(tool.rows) == 100


def test_tool_that_fails_warns_once_and_the_file_has_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tool = Tool(tmp_path, fails_at=1)
    logger = MetricsCsv(tmp_path / "metrics.csv", [tool])
    with caplog.at_level(logging.WARNING):
        log_rows(logger, range(5))
        finish([logger], RECORD)
    (warning,) = caplog.messages
    assert "the tool: the line is dead" in warning
    assert str(tmp_path / "metrics.csv") in warning
    assert tool.rows == [(0, 0.0)]


def test_tool_that_recovers_is_given_every_row_again(tmp_path: Path) -> None:
    tool = MendedTool(tmp_path, fails_at=3)
    logger = MetricsCsv(tmp_path / "metrics.csv", [tool])
    tool.begin("abc")
    log_rows(logger, range(3))
    time.sleep(0.05)
    log_rows(logger, range(3, 6))
    finish([logger], RECORD)
    assert [index for index, _ in tool.rows] == [0, 1, 2, 3, 4, 5]


def test_tool_that_takes_too_long_is_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leyden.loggers.follower.SECONDS_TO_END", 0.1)
    tool = Tool(tmp_path)
    tool.may_open.clear()
    logger = MetricsCsv(tmp_path / "metrics.csv", [tool])
    log_rows(logger, range(2))
    finish([logger], RECORD)
    assert "has not taken everything" in caplog.text
    tool.may_open.set()
