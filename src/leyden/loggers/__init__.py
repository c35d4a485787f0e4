"""Metrics > **loggers** > run directory: `metrics.csv` always; what other tools show follows it, row by row."""

from collections.abc import Mapping, Sequence
from typing import Any

from pytorch_lightning.loggers import Logger

from leyden.loggers.follower import Follower
from leyden.loggers.metrics_csv import MetricsCsv
from leyden.loggers.mlflow import MlflowLogger
from leyden.loggers.tensorboard import TensorBoardLogger
from leyden.loggers.trackio import TrackioLogger
from leyden.loggers.weights_and_biases import WandbLogger
from leyden.run import rank

__all__ = [
    "Follower", "MetricsCsv", "MlflowLogger", "TensorBoardLogger", "TrackioLogger", "WandbLogger", "begin",
    "finish", "followers", "wandb_of",
]  # fmt: skip


def followers(loggers: Sequence[Logger]) -> list[Follower]:
    """What follows the metrics of a run."""
    return [follower for logger in loggers if isinstance(logger, MetricsCsv) for follower in logger.followers]


def wandb_of(loggers: Sequence[Logger]) -> WandbLogger | None:
    """What tells W&B of a run, if anything does."""
    return next((follower for follower in followers(loggers) if isinstance(follower, WandbLogger)), None)


def begin(loggers: Sequence[Logger], record: Mapping[str, Any]) -> None:
    """Lets other tools begin the run, which takes its time, beside what follows; on the first rank, which keeps it."""
    for follower in followers(loggers) if rank() == 0 else ():
        follower.begin(record["run_id"])


def finish(loggers: Sequence[Logger], record: Mapping[str, Any]) -> None:
    """Ends a run at other tools as its record says it ended; on the first rank."""
    for follower in followers(loggers) if rank() == 0 else ():
        follower.finish(record)
