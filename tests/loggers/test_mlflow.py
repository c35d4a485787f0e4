"""MLflow's own client finds what metrics.csv says, also of a run that goes on."""

from pathlib import Path

import pytest

from leyden.loggers import MetricsCsv, MlflowLogger, finish
from leyden.metric_names import read_numbers

mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what MLflow itself imports
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_run_that_goes_on_is_one_with_each_number_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = tmp_path / "mine"
    run.mkdir()
    (run / "config.yaml").write_text("epochs: 2\n")
    for attempt, status in enumerate(["failed", "finished"]):  # the second goes on where the first has left off
        follower = MlflowLogger(run, directory=str(tmp_path), name="mine")
        follower.config = {"epochs": 2, "optimizer": {"lr": 0.1}}
        logger = MetricsCsv(run / "metrics.csv", [follower])
        for row in range(3 * attempt, 3 * attempt + 3):
            logger.log_metrics({"epoch": row, "train/loss": 1 / (row + 1)}, step=10 * row)
        logger.finalize("success")
        finish([logger], {"run_id": "abc", "status": status, "reason": None})
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("leyden")
    (found,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(found.info.run_id, "train/loss")
    rows = read_numbers(run / "metrics.csv")
    assert [(one.step, one.value) for one in history] == [(row["step"], row["train/loss"]) for row in rows]
    assert found.data.params == {"epochs": "2", "optimizer.lr": "0.1"}
    assert (found.info.status, found.info.run_name) == ("FINISHED", "mine")
    assert {"config.yaml", "metrics.csv"} <= {file.path for file in client.list_artifacts(found.info.run_id)}
