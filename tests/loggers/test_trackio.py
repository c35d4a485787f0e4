"""Trackio finds in its files what metrics.csv says, also of a run that goes on."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from leyden.loggers import MetricsCsv, TrackioLogger, finish
from leyden.metric_names import read_numbers


@pytest.mark.skipif(find_spec("trackio") is None, reason="needs the extra trackio")
def test_run_that_goes_on_is_one_with_each_number_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # before Trackio is imported
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    project = f"of-{tmp_path.name}"
    run = tmp_path / "mine"
    run.mkdir()
    for attempt, status in enumerate(["failed", "finished"]):  # the second goes on where the first has left off
        follower = TrackioLogger(run, project=project, directory=str(tmp_path), name="digits")
        follower.config = {"epochs": 2, "optimizer": {"lr": 0.1}}
        logger = MetricsCsv(run / "metrics.csv", [follower])
        for row in range(3 * attempt, 3 * attempt + 3):
            logger.log_metrics({"epoch": row, "train/loss": 1 / (row + 1)}, step=10 * row)
        logger.finalize("success")
        finish([logger], {"run_id": "abc", "status": status, "reason": None})
    (found,) = Api().runs(project)
    rows = read_numbers(run / "metrics.csv")
    history = SQLiteStorage.get_logs(project, run=found.name, run_id=found.id)
    assert [(one["step"], one["train/loss"]) for one in history] == [(row["step"], row["train/loss"]) for row in rows]
    assert (found.name, found.id) == ("digits mine", "abc")
    assert {key: found.config[key] for key in ("epochs", "optimizer.lr", "status")} == {
        "epochs": 2, "optimizer.lr": 0.1, "status": "finished",
    }  # fmt: skip
    assert capsys.readouterr().out == ""
