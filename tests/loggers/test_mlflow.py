"""MLflow's own client finds what metrics.csv says, also of a run that goes on."""

from pathlib import Path

import pytest

from followed import follow_a_run_that_goes_on
from leyden.loggers import MlflowLogger
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
    follow_a_run_that_goes_on(run, lambda: MlflowLogger(run, directory=str(tmp_path), name="mine"))
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("leyden")
    (found,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(found.info.run_id, "train/loss")
    rows = read_numbers(run / "metrics.csv")
    assert [(one.step, one.value) for one in history] == [(row["step"], row["train/loss"]) for row in rows]
    assert found.data.params == {"epochs": "2", "optimizer.lr": "0.1"}
    assert (found.info.status, found.info.run_name) == ("FINISHED", "mine")
    assert {"config.yaml", "metrics.csv"} <= {file.path for file in client.list_artifacts(found.info.run_id)}
