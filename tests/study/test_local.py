"""How many runs this machine takes at once."""

import logging
from pathlib import Path

import pytest

from leyden.study.local import LocalExecutor
from studies import ENDS, Study


@pytest.mark.parametrize(
    ("options", "at_once"),
    [({}, 2), ({"jobs": 1}, 1), ({"runs_per_device": 3}, 6), ({"jobs": 4, "runs_per_device": 3}, 4)],
)
def test_gpus_have_room_for_their_number_times_runs_per_device(
    options: dict[str, int], at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leyden.study.local.visible_gpus", lambda: ["0", "1"])
    assert LocalExecutor(tmp_path, **options).at_once == at_once


def test_more_jobs_than_the_gpus_have_room_for_are_not_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("leyden.study.local.visible_gpus", lambda: ["0"])
    with caplog.at_level(logging.WARNING):
        few, many = (LocalExecutor(tmp_path, jobs=jobs) for jobs in (1, 8))
    assert (many.at_once, many.slots, many.threads) == (few.at_once, few.slots, few.threads)
    assert [record.message for record in caplog.records] == [
        "jobs=8: the GPUs here have room for 1: raise runs_per_device to share them"
    ]


def test_attempt_that_cannot_write_its_record_has_not_ended_as_the_one_before(study: Study, tmp_path: Path) -> None:
    words = [ENDS, "callbacks.ends.how=none,term", f"+callbacks.ends.once={tmp_path}/once"]
    assert study(*words) == 1
    unwritable = study.run(callbacks__ends__how="term").directory / ".writable"  # what tries it, as a file
    unwritable.mkdir()
    assert study(*words) == 1
    (row,) = (row for row in study.results if row["callbacks.ends.how"] == "term")
    assert (row["status"], row["attempt"]) == ("failed", "1")
    assert "cannot be written" in row["reason"]
    assert "1 of 2 runs are not finished (1 failed)" in study.err
    unwritable.rmdir()
    assert study(*words, "on_error=retry") == 0
    assert study.statuses("callbacks.ends.how") == {"none": "finished", "term": "finished"}
