"""Metrics > **loggers** > run directory: `metrics.csv` always, Weights & Biases beside it."""

import csv
import functools
import hashlib
import io
import logging
import netrc
import os
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from leyden.config import REPEATS
from leyden.metric_names import read_metrics
from leyden.run import membership, rank, write_atomically
from leyden.wandb_names import FACTORS, plain_factors

log = logging.getLogger(__name__)

MOST_LETTERS = 64  # of a tag or a job type in W&B
FIRST_COLUMNS = ["epoch", "step"]


class MetricsCsv(Logger):
    """Writes one row per logged step or epoch to `metrics.csv`; metrics logged at the same step share a row.

    Rows are appended and flushed as they come; only a metric never seen before rewrites the file, with a new column.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.columns = list(FIRST_COLUMNS)
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
        if not self.path.is_file() or set(row) - set(self.columns):
            self._rewrite(new_columns=[name for name in row if name not in self.columns])
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)

    def _rewrite(self, new_columns: list[str]) -> None:
        rows = read_metrics(self.path) if self.path.is_file() else []
        known = list(rows[0]) if rows else self.columns
        self.columns = known + [name for name in new_columns if name not in known]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, text.getvalue())

    def finalize(self, status: str) -> None:
        self._write_row()


class WandbLogger(Logger):
    """Logs to one W&B run, which begins at the first metric and ends with the run's own exit code.

    `mode="auto"` is online when a key is present and offline otherwise; nothing ever prompts. The run's id derives
    from the run directory, so that a resumed run goes on in its own. Files go to `<directory>/wandb`.
    """

    def __init__(
        self,
        run_directory: Path,
        project: str = "leyden",
        mode: str = "auto",
        directory: str = "runs",
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        super().__init__()
        if mode not in ("auto", "online", "offline"):
            raise ValueError(f"logger.mode={mode}: expected auto, online or offline")
        self.mode = _mode_for_this_machine() if mode == "auto" else mode
        self.study = membership(run_directory)
        self.settings: dict[str, Any] = {"project": project, "name": name, "group": group, "tags": list(tags or [])}
        if self.study:
            self.settings |= self._place_in_study(group)
        self.directory = Path(directory).resolve()  # W&B writes from a process of its own
        self.run_id = hashlib.sha256(str(run_directory.resolve()).encode()).hexdigest()[:12]
        self.config: dict[str, Any] = {}
        self.run: Any = None
        self.beginning: Future[Any] | None = None  # while W&B begins the run, which takes half a second
        self.pending: list[dict[str, Any]] = []  # metrics that it has not been given yet

    @property
    def name(self) -> str:
        return "wandb"

    @property
    def version(self) -> str:
        return self.run_id

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        self.config = dict(params) if isinstance(params, dict) else vars(params)
        if self.study:
            self.config |= {"study": self.study, FACTORS: plain_factors(self.study["factors"])}

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.pending.append(metrics | {"step": step})
        if self.begin().done():
            self._hand_over()

    @rank_zero_only
    def finish(self, summary: dict[str, Any], exit_code: int) -> None:
        """Ends the W&B run; a nonzero exit code makes it read as failed."""
        self.begin()
        self._hand_over()
        self.run.summary.update(summary)
        self.run.finish(exit_code=exit_code)
        self.run = self.beginning = None

    def describe(self) -> dict[str, Any]:
        """The run's id at W&B, its address there if online, and where its files are."""
        run = self.begin().result()
        return {"id": self.run_id, "address": run.url or None, "directory": str(self.directory / "wandb")}

    def begin(self) -> Future[Any]:
        """Lets W&B begin the run beside training, which need not wait for it."""
        if self.beginning is None:
            import wandb

            self.directory.mkdir(parents=True, exist_ok=True)
            begin = functools.partial(
                wandb.init,
                **self.settings,
                id=self.run_id,
                dir=str(self.directory),
                mode=self.mode,  # type: ignore[arg-type]
                resume="allow",
                config=self.config,
                settings=wandb.Settings(silent=True, console="off", quiet=True),
            )
            executor = ThreadPoolExecutor(1, thread_name_prefix="wandb")
            self.beginning = executor.submit(begin)
            executor.shutdown(wait=False)
        return self.beginning

    def _hand_over(self) -> None:
        assert self.beginning is not None
        if self.run is None:
            self.run = self.beginning.result()
            self.run.define_metric("*", step_metric="step")
        pending, self.pending = self.pending, []
        for metrics in pending:
            self.run.log(metrics)

    def _place_in_study(self, group: str | None) -> dict[str, Any]:
        """Groups the run with its study; `job_type` is its setting, alike for runs that differ by their seed alone."""
        words = {key: f"{key}={value}" for key, value in self.study["factors"].items()}
        setting = " ".join(word for key, word in words.items() if key not in REPEATS)
        return {
            "group": group or self.study["name"],
            "job_type": setting[:MOST_LETTERS] or "seeds",
            "name": " ".join(words.values())[: 2 * MOST_LETTERS],
            "tags": [*self.settings["tags"], *(word[:MOST_LETTERS] for word in words.values())],
        }


def begin(loggers: Sequence[Logger]) -> None:
    """Begins what takes its time to begin, beside what follows; on the first rank."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and rank() == 0:
            logger.begin()


def finish(loggers: Sequence[Logger], summary: dict[str, Any], exit_code: int) -> None:
    """Ends what has an end of its own, with the run's exit code; an error there does not hide how the run went."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            try:
                logger.finish(summary, exit_code)
            except Exception as error:
                log.warning("the W&B run %s could not be ended (%s)", logger.run_id, error)


def _mode_for_this_machine() -> str:
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return "online" if netrc.netrc().authenticators(host) else "offline"
    except (FileNotFoundError, netrc.NetrcParseError):
        return "offline"
