"""MLflow's own client finds what metrics.csv says, also of a run that goes on."""

from pathlib import Path
from typing import Any

import pytest

from followed import follow_a_run_that_goes_on, follow_a_run_trained_longer
from leyden.loggers import MetricsCsv, MlflowLogger, finish
from leyden.loggers.mlflow import name_at_mlflow
from leyden.metric_names import read_numbers, recall_names

mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what MLflow itself imports
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def run_at(address: str) -> tuple[Any, Any, Any]:
    """MLflow's client there, its experiment and the one run of it."""
    client = mlflow.MlflowClient(address)
    experiment = client.get_experiment_by_name("leyden")
    (found,) = client.search_runs([experiment.experiment_id])
    return client, experiment, found


def test_run_that_goes_on_is_one_with_each_number_once(tmp_path: Path) -> None:
    run = tmp_path / "mine"
    run.mkdir()
    (run / "config.yaml").write_text("epochs: 2\n")
    follow_a_run_that_goes_on(run, lambda: MlflowLogger(run, directory=str(tmp_path), name="mine"))
    client, experiment, found = run_at(f"sqlite:///{tmp_path / 'mlflow.db'}")
    history = client.get_metric_history(found.info.run_id, "train/loss")
    rows = read_numbers(run / "metrics.csv")
    assert [(one.step, one.value) for one in history] == [(row["step"], row["train/loss"]) for row in rows]
    assert found.data.params == {"epochs": "2", "optimizer.lr": "0.1"}
    assert (found.info.status, found.info.run_name) == ("FINISHED", "mine")
    assert {"config.yaml", "metrics.csv"} <= {file.path for file in client.list_artifacts(found.info.run_id)}
    assert experiment.artifact_location == (tmp_path / "mlflow").as_uri()


def test_server_named_in_the_environment_keeps_files_where_it_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow itself keeps files of a database that says nothing else
    address = f"sqlite:///{tmp_path / 'server.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    run = tmp_path / "mine"
    run.mkdir()
    follow_a_run_that_goes_on(run, lambda: MlflowLogger(run, directory=str(tmp_path / "runs")))
    _, experiment, _ = run_at(address)
    assert str(tmp_path / "runs") not in experiment.artifact_location


def test_classes_may_be_called_anything_and_be_many(tmp_path: Path) -> None:
    signs = ["children's toys", "a&b", "c++", "c##", "dogs, cats", "é", ".", "..", "long " * 60]
    names = [f"val/{name}" for name in recall_names([*signs, *map(str, range(1100))])]
    run = tmp_path / "mine"
    run.mkdir()
    logger = MetricsCsv(run / "metrics.csv", [MlflowLogger(run, directory=str(tmp_path))])
    for epoch in range(2):
        values = {name: (number + epoch) / 2000 for number, name in enumerate(names)}
        logger.log_metrics({"epoch": epoch, **values}, step=epoch)
    logger.finalize("success")
    finish([logger], {"run_id": "abc", "status": "finished"})
    _, _, found = run_at(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert [found.data.metrics[name_at_mlflow(name)] for name in names] == list(values.values())
    assert found.data.metrics["row"] == 1
    assert found.info.status == "FINISHED"


def test_plain_names_are_left_as_they_are() -> None:
    for name in ("val/recall/3", "layers/blocks_0/weight_norm", "val/recall/red-eyed_frog", "val/recall/no._5"):
        assert name_at_mlflow(name) == name


def test_run_that_is_trained_longer_has_each_row_of_it_and_both_tests(tmp_path: Path) -> None:
    run = tmp_path / "mine"
    run.mkdir()
    follow_a_run_trained_longer(run, lambda: MlflowLogger(run, directory=str(tmp_path)))
    client, _, found = run_at(f"sqlite:///{tmp_path / 'mlflow.db'}")
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert [one.step for one in history] == [0, 10, 20, 30, 40, 50]
    assert [one.value for one in client.get_metric_history(found.info.run_id, "test/loss")] == [0.5, 1.5]
