"""TensorBoard's own reader finds in the event files what metrics.csv says, also of a run that goes on."""

from pathlib import Path

import pytest
import torch

from leyden.histograms import write_histograms
from leyden.loggers import MetricsCsv, TensorBoardLogger, finish
from leyden.metric_names import read_numbers


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what TensorBoard itself imports
def test_event_files_hold_each_number_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for attempt in range(2):  # the second goes on where the first has left off
        logger = MetricsCsv(tmp_path / "metrics.csv", [TensorBoardLogger(tmp_path)])
        for row in range(3 * attempt, 3 * attempt + 3):
            metrics = {"epoch": row, "train/loss": 1 / (row + 1), "layers/head/weight_norm": 2.0}
            write_histograms(tmp_path, 10 * row, {"head/weights": [torch.arange(64.0) + row]})
            logger.log_metrics(metrics, step=10 * row)
        logger.finalize("success")
        finish([logger], {"run_id": "abc", "status": "finished"})
    reader = EventAccumulator(str(tmp_path / "tensorboard"), {"scalars": 0, "histograms": 0})  # all of them
    reader.Reload()
    found = [(event.step, round(event.value, 6)) for event in reader.Scalars("train/loss")]
    rows = read_numbers(tmp_path / "metrics.csv")
    assert found == [(row["step"], round(row["train/loss"], 6)) for row in rows]
    assert len(found) == 6
    spread = reader.Histograms("histograms/head/weights")
    assert [(event.step, event.histogram_value.min) for event in spread] == [(10 * row, row) for row in range(6)]
    assert sum(spread[0].histogram_value.bucket) == 64
