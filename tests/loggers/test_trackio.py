"""Trackio finds in its files what metrics.csv says, also of a run that goes on."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from followed import follow_a_run_that_goes_on, follow_a_run_trained_longer
from leyden.loggers import TrackioLogger
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
    follow_a_run_that_goes_on(run, lambda: TrackioLogger(run, project=project, directory=str(tmp_path), name="digits"))
    (found,) = Api().runs(project)
    rows = read_numbers(run / "metrics.csv")
    history = SQLiteStorage.get_logs(project, run=found.name, run_id=found.id)
    assert [(one["step"], one["train/loss"]) for one in history] == [(row["step"], row["train/loss"]) for row in rows]
    assert (found.name, found.id) == ("digits mine", "abc")
    assert {key: found.config[key] for key in ("epochs", "optimizer.lr", "status")} == {
        "epochs": 2, "optimizer.lr": 0.1, "status": "finished",
    }  # fmt: skip
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(find_spec("trackio") is None, reason="needs the extra trackio")
def test_run_that_is_trained_longer_has_each_row_of_it_and_both_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    from trackio.sqlite_storage import SQLiteStorage

    project = f"of-{tmp_path.name}"
    run = tmp_path / "mine"
    run.mkdir()
    follow_a_run_trained_longer(run, lambda: TrackioLogger(run, project=project, directory=str(tmp_path)))
    history = SQLiteStorage.get_logs(project, run_id="abc")
    assert [one["step"] for one in history if "train/loss" in one] == [0, 10, 20, 30, 40, 50]
    assert [one["test/loss"] for one in history if "test/loss" in one] == [0.5, 1.5]
