"""Metrics.csv > followers > **MLflow**: one MLflow run per run, on a server or in a database of the machine's own."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leyden.lock import Lock
from leyden.loggers.follower import Follower, flattened

TAG = "leyden.run_id"  # by which a run that goes on finds its own
ROW = "row"  # a metric: the number of the last row that was sent
MOST_PARAMETERS = 100  # in one request
SECONDS_TO_BEGIN = 120.0  # while other runs make the same tables
STATUSES = {"finished": "FINISHED", "pruned": "FINISHED", "interrupted": "KILLED"}  # others have failed


class MlflowLogger(Follower):
    """Follows a run at `tracking_uri`; null: as MLFLOW_TRACKING_URI says, else in `<directory>/mlflow.db`."""

    tool = "MLflow"

    def __init__(
        self,
        run_directory: Path,
        experiment: str = "leyden",
        tracking_uri: str | None = None,
        directory: str = "runs",
        name: str | None = None,
    ) -> None:
        super().__init__(run_directory)
        self.experiment, self.tracking_uri, self.name = experiment, tracking_uri, name
        self.directory = Path(directory).resolve()

    def open(self) -> int:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise ValueError("logger=mlflow needs the extra of that name: pip install 'leyden[mlflow]'") from error
        self.directory.mkdir(parents=True, exist_ok=True)
        own = f"sqlite:///{self.directory / 'mlflow.db'}"
        with Lock(self.directory / "mlflow", patience=SECONDS_TO_BEGIN):  # runs that begin together make it once
            self.client = MlflowClient(self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or own)
            number = self._experiment_id()
        found = self.client.search_runs([number], f"tags.`{TAG}` = '{self.run_id}'")
        if found:
            self.run = found[0].info.run_id
            self.client.update_run(self.run, status="RUNNING")
            return int(found[0].data.metrics.get(ROW, -1)) + 1
        self.run = self.client.create_run(number, tags={TAG: self.run_id}, run_name=self.name).info.run_id
        self._log_config()
        return 0

    def _experiment_id(self) -> str:
        if experiment := self.client.get_experiment_by_name(self.experiment):
            return str(experiment.experiment_id)
        place = None if self.tracking_uri else (self.directory / "mlflow").as_uri()
        return str(self.client.create_experiment(self.experiment, artifact_location=place))

    def _log_config(self) -> None:
        from mlflow.entities import Param

        flat = [Param(key, str(value)[:500]) for key, value in flattened(self.config)]
        for begin in range(0, len(flat), MOST_PARAMETERS):
            self.client.log_batch(self.run, params=flat[begin : begin + MOST_PARAMETERS])

    def send(self, index: int, row: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now, step = int(1000 * time.time()), int(row["step"])
        metrics = [Metric(name, float(value), now, step) for name, value in (row | {ROW: index}).items()]
        self.client.log_batch(self.run, metrics=metrics)

    def close(self, record: Mapping[str, Any]) -> None:
        self.client.set_tag(self.run, "leyden.status", record["status"])
        if record.get("reason"):
            self.client.set_tag(self.run, "leyden.reason", record["reason"])
        for path in [*self.records(), *sorted(self.run_directory.glob("*.png"))]:
            self.client.log_artifact(self.run, str(path))
        self.client.set_terminated(self.run, STATUSES.get(record["status"], "FAILED"))
