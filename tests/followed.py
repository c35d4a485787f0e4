"""A run that fails and goes on, as what follows its metrics.csv sees it."""

from collections.abc import Callable
from pathlib import Path

from leyden.loggers import Follower, MetricsCsv, finish


def follow_a_run_that_goes_on(run: Path, make: Callable[[], Follower]) -> None:
    """Two attempts of three rows each, followed by one follower each; the second goes on where the first left off."""
    for attempt, status in enumerate(["failed", "finished"]):
        follower = make()
        follower.config = {"epochs": 2, "optimizer": {"lr": 0.1}}
        logger = MetricsCsv(run / "metrics.csv", [follower])
        for row in range(3 * attempt, 3 * attempt + 3):
            logger.log_metrics({"epoch": row, "train/loss": 1 / (row + 1)}, step=10 * row)
        logger.finalize("success")
        finish([logger], {"run_id": "abc", "status": status, "reason": None})


def follow_a_run_trained_longer(run: Path, make: Callable[[], Follower]) -> None:
    """Three rows and a test; then, from where training had ended, three rows more and another test."""
    text = ""
    for attempt in range(2):
        follower = make()
        logger = MetricsCsv(run / "metrics.csv", [follower])
        if attempt:
            logger.load_state_dict({"text": text, "pending": {}})
        for row in range(3 * attempt, 3 * attempt + 3):
            logger.log_metrics({"epoch": row, "train/loss": 1 / (row + 1)}, step=10 * row)
        logger.finalize("success")
        text = (run / "metrics.csv").read_text()
        logger.log_metrics({"epoch": row, "test/loss": 0.5 + attempt}, step=10 * row)
        logger.finalize("success")
        finish([logger], {"run_id": "abc", "status": "finished", "reason": None})
