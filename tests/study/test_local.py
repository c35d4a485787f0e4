"""How many runs this machine takes at once."""

import logging
from pathlib import Path

import pytest

from leyden.study.local import LocalExecutor


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
