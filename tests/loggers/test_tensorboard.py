"""TensorBoard's own reader finds in the event files what metrics.csv says, also of a run that goes on."""

from pathlib import Path

import pytest

from leyden.loggers import MetricsCsv, TensorBoardLogger, finish
from leyden.metric_names import read_numbers


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what TensorBoard itself imports
def test_event_files_hold_each_number_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for attempt in range(2):  # the second goes on where the first has left off
        logger = MetricsCsv(tmp_path / "metrics.csv", [TensorBoardLogger(tmp_path)])
        for row in range(3 * attempt, 3 * attempt + 3):
            logger.log_metrics({"epoch": row, "train/loss": 1 / (row + 1)}, step=10 * row)
        logger.finalize("success")
        finish([logger], {"run_id": "abc", "status": "finished"})
    reader = EventAccumulator(str(tmp_path / "tensorboard"))
    reader.Reload()
    found = [(event.step, round(event.value, 6)) for event in reader.Scalars("train/loss")]
    rows = read_numbers(tmp_path / "metrics.csv")
    assert found == [(row["step"], round(row["train/loss"], 6)) for row in rows]
    assert len(found) == 6
