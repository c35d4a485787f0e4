"""metrics.csv holds every metric in its row."""

from pathlib import Path

from leyden.loggers import MetricsCsv
from leyden.metric_names import read_metrics, read_numbers


def test_metrics_of_a_step_share_a_row_and_new_ones_get_a_column(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path / "metrics.csv")
    logger.log_metrics({"epoch": 0, "train/loss": 1.5}, step=10)
    logger.log_metrics({"epoch": 0, "val/loss": 1.25}, step=10)
    logger.log_metrics({"epoch": 1, "train/loss": 1.0}, step=20)
    logger.log_metrics({"epoch": 1, "lr": 0.1}, step=30)
    logger.finalize("success")
    assert read_metrics(tmp_path / "metrics.csv") == [
        {"epoch": "0", "step": "10", "train/loss": "1.5", "val/loss": "1.25", "lr": ""},
        {"epoch": "1", "step": "20", "train/loss": "1.0", "val/loss": "", "lr": ""},
        {"epoch": "1", "step": "30", "train/loss": "", "val/loss": "", "lr": "0.1"},
    ]


def test_second_logger_appends_to_the_first_ones_file(tmp_path: Path) -> None:
    for epoch, name in enumerate(["a", "b"]):
        logger = MetricsCsv(tmp_path / "metrics.csv")
        logger.log_metrics({"epoch": epoch, name: 1.0}, step=epoch)
        logger.finalize("success")
    assert [row["b"] for row in read_metrics(tmp_path / "metrics.csv")] == ["", "1.0"]


def test_numbers_are_read_back_as_they_were(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path / "metrics.csv")
    values = {"a": 0.1 + 0.2, "b": -1e-300, "c": float("inf"), "d": 123456789.0}
    logger.log_metrics({"epoch": 3, **values}, step=7)
    logger.finalize("success")
    assert read_numbers(tmp_path / "metrics.csv") == [{"epoch": 3, "step": 7, **values}]
    assert read_numbers(tmp_path / "none.csv") == []


def test_row_that_is_left_out_is_written_whole_by_a_logger_that_has_its_state(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path / "metrics.csv")
    logger.log_metrics({"epoch": 0, "train/loss": 1.5}, step=10)
    logger.log_metrics({"epoch": 1, "train/loss_step": 1.0}, step=20)
    state = logger.state_dict()
    logger.leave_out(epoch=1)
    logger.finalize("failed")
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.csv")] == ["10"]
    second = MetricsCsv(tmp_path / "metrics.csv")
    second.load_state_dict(state)
    second.log_metrics({"epoch": 1, "val/loss": 1.25}, step=20)
    second.leave_out(epoch=2)
    second.finalize("failed")
    assert read_metrics(tmp_path / "metrics.csv")[1] == {
        "epoch": "1", "step": "20", "train/loss": "", "train/loss_step": "1.0", "val/loss": "1.25",
    }  # fmt: skip
