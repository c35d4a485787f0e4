"""Names of metrics and which way each is better."""

from typing import Any

import pytest

from leyden.metric_names import direction, is_of_one_class, is_percentage, metric_names


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
