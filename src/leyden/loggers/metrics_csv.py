"""Metrics > **metrics.csv** > followers: a row per logged step or epoch, which every run has."""

import csv
import io
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from leyden.loggers.follower import Follower
from leyden.metric_names import read_metrics
from leyden.run import write_atomically

FIRST_COLUMNS = ["epoch", "step"]


class MetricsCsv(Logger):
    """Writes one row per logged step or epoch to `metrics.csv`; metrics logged at the same step share a row.

    Rows are appended and flushed as they come; only a metric never seen before rewrites the file, with a new column.
    Followers are handed each row once it stands in the file.
    """

    def __init__(self, path: Path, followers: Sequence[Follower] = ()) -> None:
        super().__init__()
        self.path, self.followers = path, list(followers)
        self.columns = list(FIRST_COLUMNS)
        self.num_rows: int | None = None  # of the file; None: not counted yet
        self.pending: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        position = {"epoch": int(metrics["epoch"]), "step": step}
        if self.pending and any(self.pending[key] != value for key, value in position.items()):
            self._write_row()
        self.pending |= metrics | position

    def state_dict(self) -> dict[str, Any]:
        """All rows so far, those on the disk as its text: few, beside a network's weights."""
        text = self.path.read_bytes().decode(errors="replace") if self.path.is_file() else ""
        return {"text": text, "pending": dict(self.pending)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Puts the file back to what it was, whatever has become of it since."""
        text, self.pending = state_dict["text"], dict(state_dict["pending"])
        self.num_rows = None
        if text:
            self.columns = next(csv.reader(io.StringIO(text)))
            write_atomically(self.path, text)
        else:
            self.path.unlink(missing_ok=True)

    def save(self) -> None:
        """Nothing: Lightning asks for it at its own times, when a row may have half of its metrics."""

    @rank_zero_only
    def _write_row(self) -> None:
        if not self.pending:
            return
        row, self.pending = self.pending, {}
        if self.num_rows is None:
            self.num_rows = len(read_metrics(self.path)) if self.path.is_file() else 0
        if not self.path.is_file() or set(row) - set(self.columns):
            self._rewrite(new_columns=[name for name in row if name not in self.columns])
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)
        for follower in self.followers:
            follower.follow(self.num_rows, row)
        self.num_rows += 1

    def _rewrite(self, new_columns: list[str]) -> None:
        rows = read_metrics(self.path) if self.path.is_file() else []
        known = list(rows[0]) if rows else self.columns
        self.columns = known + [name for name in new_columns if name not in known]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, text.getvalue())

    def leave_out(self, epoch: int) -> None:
        """Forgets the row that is not written yet, if it is of this epoch: a follower takes each row once."""
        if self.pending.get("epoch") == epoch:
            self.pending = {}

    def finalize(self, status: str) -> None:
        self._write_row()
