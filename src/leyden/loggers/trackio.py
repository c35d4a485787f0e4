"""Metrics.csv > followers > **Trackio**: a run's rows in Trackio's own files, `trackio show --project leyden`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leyden.config import leaves
from leyden.loggers.follower import Follower
from leyden.metric_names import is_of_the_test

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
        are_of_tests = [is_of_the_test(row) for row in SQLiteStorage.get_logs(self.project, run_id=self.run_id)]
        self.ends_in_test = are_of_tests[-1:] == [True]
        return len(are_of_tests) - sum(are_of_tests[:-1])  # in whose place others have come

    def send(self, index: int, row: dict[str, float]) -> None:
        values = {name: value for name, value in row.items() if name != "step"}
        self._write(self._log_id(index, is_of_the_test(row)), values, int(row["step"]), self.config)

    def close(self, record: Mapping[str, Any]) -> None:
        if self.num_sent:  # a row that is there already changes what is told of the run, and nothing else
            ended = {"status": record["status"], "reason": record.get("reason")}
            last = self._log_id(self.num_sent - 1, self.ends_in_test)
            self._write(last, {}, 0, self.config | ended)

    def _log_id(self, index: int, is_of_a_test: bool) -> str:
        return f"{self.run_id}-{index}{'-test' if is_of_a_test else ''}"

    def _write(self, log_id: str, values: dict[str, float], step: int, config: Mapping[str, Any]) -> None:
        self.storage.bulk_log(
            self.project,
            " ".join(filter(None, [self.name, self.run_directory.name])),
            [values],
            [step],
            config=dict(leaves(config)),
            log_ids=[log_id],  # of which it keeps one
            run_id=self.run_id,
        )
