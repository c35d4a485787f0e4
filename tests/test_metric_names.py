"""Names of metrics and which way each is better."""

from pathlib import Path
from typing import Any

import pytest

from leyden.metric_names import direction, is_of_one_class, is_percentage, metric_names, read_metrics, read_numbers


@pytest.mark.parametrize(
    ("name", "expected"),
    [("val/accuracy", "max"), ("val/loss", "min"), ("val/ece", "min"), ("val/macro_f1", "max"), ("val/ema_loss", "min"),
     ("val/accuracy_gap", "min"), ("val/recall/bag", "max"), ("val/recall/fleece", "max"), ("val/mae", "min"),
     ("val/ema_rmse", "min"), ("val/r2", "max"), ("val/spearman", "max"), ("val/mean_average_precision", "max"),
     ("val/average_precision/loss", "max")],
)  # fmt: skip
def test_direction_says_what_is_better(name: str, expected: Any) -> None:
    assert direction(name) == expected


def test_class_names_become_metric_names() -> None:
    assert metric_names(["Ankle boot", "T-shirt/top"])[-2:] == ["recall/ankle_boot", "recall/t-shirt_top"]
    assert metric_names(["A", "a", "b"])[-3:] == ["recall/a_0", "recall/a_1", "recall/b"]


def test_shares_are_told_in_per_cent_and_numbers_are_not() -> None:
    assert all(map(is_percentage, ("accuracy", "ema_macro_f1", "mean_average_precision", "val/recall/mae")))
    assert not any(map(is_percentage, ("loss", "mae", "test/rmse", "r2", "spearman")))


def test_metrics_of_one_class_are_told_from_those_of_all() -> None:
    assert all(map(is_of_one_class, ("recall/bag", "val/recall/bag", "test/average_precision/bag")))
    assert not any(map(is_of_one_class, ("val/accuracy", "val/mean_average_precision", "val/ema_recall")))


@pytest.mark.parametrize("rest", ["1,20,0.2", "1,20,0.25", "1,", "1,20,1e-", "1"])  # a full disk, or a kill
def test_a_row_that_was_cut_off_is_none(rest: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(f"epoch,step,train/loss\r\n0,10,0.5\r\n{rest}".encode())
    assert read_numbers(path) == [{"epoch": 0, "step": 10, "train/loss": 0.5}]
    assert len(read_metrics(path)) == 1


@pytest.mark.parametrize("row", [b"1,20,1e-", b"1,20,\xff", b"1,20,0.5,7", b"1,20," + b"7" * 200_000])
def test_a_damaged_row_names_its_file(row: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"epoch,step,train/loss\r\n" + row + b"\r\n")
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        read_numbers(path)
