"""Metrics.csv > followers > **Trackio**: a run's rows in Trackio's own files, `trackio show --project leyden`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leyden.config import leaves
from leyden.loggers.follower import Follower

PLACE = "TRACKIO_DIR"  # where Trackio looks, unless it is told


class TrackioLogger(Follower):
    """Follows a run in a project of Trackio's, in TRACKIO_DIR, else in `<directory>/trackio`.

    Rows are written to its storage itself, not through its client, which writes them later and prints.
    """

    tool = "Trackio"

    def __init__(
        self, run_directory: Path, project: str = "leyden", directory: str = "runs", name: str | None = None
    ) -> None:
        super().__init__(run_directory)
        self.project, self.name = project, name
        self.directory = Path(directory).resolve()

    def open(self) -> int:
        os.environ.setdefault(PLACE, str(self.directory / "trackio"))  # Trackio reads it as it is imported
        try:
            from trackio.sqlite_storage import SQLiteStorage
        except ImportError as error:
            raise ValueError("logger=trackio needs the extra of that name: pip install 'leyden[trackio]'") from error
        self.storage = SQLiteStorage
        return int(SQLiteStorage.get_log_count(self.project, run_id=self.run_id))

    def send(self, index: int, row: dict[str, float]) -> None:
        values = {name: value for name, value in row.items() if name != "step"}
        self._write(index, values, int(row["step"]), self.config)

    def close(self, record: Mapping[str, Any]) -> None:
        if self.num_sent:  # a row that is there already changes what is told of the run, and nothing else
            ended = {"status": record["status"], "reason": record.get("reason")}
            self._write(self.num_sent - 1, {}, 0, self.config | ended)

    def _write(self, index: int, values: dict[str, float], step: int, config: Mapping[str, Any]) -> None:
        self.storage.bulk_log(
            self.project,
            " ".join(filter(None, [self.name, self.run_directory.name])),
            [values],
            [step],
            config=dict(leaves(config)),
            log_ids=[f"{self.run_id}-{index}"],  # of which it keeps one
            run_id=self.run_id,
        )
