"""Metrics.csv > followers > **trackio**: Hugging Face's local dashboard, `trackio show`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leyden.loggers.follower import Follower
from leyden.loggers.mlflow import flattened


class TrackioLogger(Follower):
    """Follows a run in trackio's database; `space_id` names a Space of Hugging Face's to keep it in, null: this machine."""

    tool = "trackio"

    def __init__(self, run_directory: Path, project: str = "leyden", space_id: str | None = None) -> None:
        super().__init__(run_directory)
        self.project, self.space_id = project, space_id

    def open(self) -> int:
        try:
            import trackio
        except ImportError as error:
            raise ValueError("logger=trackio needs the package of that name: pip install trackio") from error
        name = f"{self.run_directory.parent.name}/{self.run_directory.name} {self.run_id}"
        self.run = trackio.init(
            project=self.project, name=name, space_id=self.space_id, config=dict(flattened(self.config)),
            resume="allow", embed=False,
        )  # fmt: skip
        return self._rows_so_far(name)

    def _rows_so_far(self, name: str) -> int:
        from trackio.sqlite_storage import SQLiteStorage

        return 0 if self.space_id else len(SQLiteStorage.get_logs(self.project, name))

    def send(self, index: int, row: dict[str, float]) -> None:
        self.run.log(dict(row), step=index)

    def close(self, record: Mapping[str, Any]) -> None:
        self.run.finish()
