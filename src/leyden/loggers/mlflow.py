"""Metrics.csv > followers > **MLflow**: one MLflow run per run, on a server or in a database of the machine's own."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leyden.config import leaves
from leyden.lock import Lock
from leyden.loggers.follower import Follower
from leyden.metric_names import OF_TEST, ROW, numbered

TAG = "leyden.run_id"  # by which a run that goes on finds its own
MOST_PARAMETERS, MOST_METRICS = 100, 1000  # in one request
LONGEST_NAME = 250  # letters, of a metric
NOT_IN_A_NAME = re.compile(r"[^\w ./-]|(?<=/)\.(?=\.?$)")  # what MLflow refuses, some of it only on Windows
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
        named = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        with Lock(self.directory / "mlflow", patience=SECONDS_TO_BEGIN):  # runs that begin together make it once
            self.client = MlflowClient(named or f"sqlite:///{self.directory / 'mlflow.db'}")
            number = self._experiment_id(is_own=not named)
        found = self.client.search_runs([number], f"tags.`{TAG}` = '{self.run_id}'")
        if found:
            self.run = found[0].info.run_id
            self.client.update_run(self.run, status="RUNNING")
            metrics = found[0].data.metrics
            self.ends_in_test = bool(metrics.get(OF_TEST))
            return int(metrics.get(ROW, -1)) + 1
        self.run = self.client.create_run(number, tags={TAG: self.run_id}, run_name=self.name).info.run_id
        self._log_config()
        return 0

    def _experiment_id(self, is_own: bool) -> str:
        """The experiment's id at MLflow; where it is new, a server puts its files where it keeps those of others."""
        if experiment := self.client.get_experiment_by_name(self.experiment):
            return str(experiment.experiment_id)
        place = (self.directory / "mlflow").as_uri() if is_own else None
        return str(self.client.create_experiment(self.experiment, artifact_location=place))

    def _log_config(self) -> None:
        from mlflow.entities import Param

        flat = [Param(key, str(value)[:500]) for key, value in leaves(self.config)]
        for begin in range(0, len(flat), MOST_PARAMETERS):
            self.client.log_batch(self.run, params=flat[begin : begin + MOST_PARAMETERS])

    def send(self, index: int, row: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now, step = int(1000 * time.time()), int(row["step"])
        values = numbered(index, row)
        metrics = [Metric(name_at_mlflow(name), float(value), now, step) for name, value in values.items()]
        for begin in range(0, len(metrics), MOST_METRICS):
            self.client.log_batch(self.run, metrics=metrics[begin : begin + MOST_METRICS])

    def close(self, record: Mapping[str, Any]) -> None:
        self.client.set_tag(self.run, "leyden.status", record["status"])
        # Always, for an earlier attempt may have had one.
        self.client.set_tag(self.run, "leyden.reason", record.get("reason") or "")
        for path in [*self.records(), *sorted(self.run_directory.glob("*.png"))]:
            self.client.log_artifact(self.run, str(path))
        self.client.set_terminated(self.run, STATUSES.get(record["status"], "FAILED"))


def name_at_mlflow(metric: str) -> str:
    """A metric's name as MLflow takes it, where a class may be called anything: `_` and its code for a sign."""
    return NOT_IN_A_NAME.sub(lambda sign: f"_{ord(sign[0]):x}", metric)[:LONGEST_NAME]
