"""What a study's display says of a run is what stands in the run's metrics.csv."""

import csv
from pathlib import Path

import pytest

from leyden.study.display import last_metrics


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """The metrics.csv of a run with a class whose name has a comma, after its first epoch."""
    path = tmp_path / "metrics.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "val/recall/dogs,_cats", "train/loss", "val/accuracy"])
        writer.writerow([0, 0.5, 1.25, 0.75])
    return path


def test_newest_row_is_shown_by_its_columns(metrics: Path) -> None:
    assert last_metrics(metrics.parent) == "epoch 0  train/loss 1.2500  val/accuracy 0.7500"


@pytest.mark.parametrize("begun", ["1,0.5,0.98", "1,0.5,0.9,0.", "1,0.5,1e-"])
def test_row_that_is_being_written_is_not_shown_yet(begun: str, metrics: Path) -> None:
    with metrics.open("a", encoding="utf-8") as file:
        file.write(begun)
    assert last_metrics(metrics.parent) == "epoch 0  train/loss 1.2500  val/accuracy 0.7500"


def test_rows_of_many_classes_are_read_from_their_beginning(metrics: Path) -> None:
    names = [f"val/recall/{number}" for number in range(1000)]
    lines = [["epoch", *names, "train/loss"], [3, *["0.1234567890"] * 1000, 0.5]]
    metrics.write_text("".join(f"{','.join(map(str, line))}\r\n" for line in lines), encoding="utf-8")
    assert last_metrics(metrics.parent) == "epoch 3  train/loss 0.5000"


@pytest.mark.parametrize("text", ["", "epoch,train", "epoch,train/loss\r\n", "epoch,train/loss\r\n0,0.5"])
def test_file_without_a_row_says_nothing(text: str, metrics: Path) -> None:
    metrics.write_text(text, encoding="utf-8")
    assert last_metrics(metrics.parent) == ""
    assert last_metrics(metrics.parent / "nowhere") == ""
