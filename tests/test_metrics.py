"""Metrics against scikit-learn and torchmetrics, in one batch, in many, and over ranks."""

from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss, recall_score, top_k_accuracy_score
from torch import Tensor
from torchmetrics.classification import MulticlassCalibrationError

from leyden.metrics import ClassificationMetrics, direction, metric_names


def answers(num_images: int, num_classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_classes)
    labels = torch.randint(num_classes, (num_images,), generator=generator)
    logits = torch.randn(num_images, num_classes, generator=generator)
    logits[torch.arange(num_images), labels] += 1.5
    return logits, labels


def computed(logits: Tensor, labels: Tensor, batch_size: int) -> dict[str, float]:
    metrics = ClassificationMetrics([f"class {number}" for number in range(logits.shape[1])])
    for begin in range(0, len(labels), batch_size):
        metrics.update(logits[begin : begin + batch_size], labels[begin : begin + batch_size])
    return metrics.compute()


@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("batch_size", [7, 5000])
def test_metrics_equal_scikit_learns(num_classes: int, batch_size: int) -> None:
    logits, labels = answers(2000, num_classes)
    found, predictions = computed(logits, labels, batch_size), logits.argmax(1)
    probabilities = logits.double().softmax(1).numpy()
    expected = {
        "loss": log_loss(labels, probabilities),
        "accuracy": accuracy_score(labels, predictions),
        "macro_f1": f1_score(labels, predictions, average="macro"),
    }
    if num_classes > 10:
        expected["top5_accuracy"] = top_k_accuracy_score(labels, probabilities, k=5)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-5), name
    recalls = [value for name, value in found.items() if name.startswith("recall/")]
    assert recalls == pytest.approx(recall_score(labels, predictions, average=None).tolist())
    assert list(found) == metric_names([f"class {number}" for number in range(num_classes)])


@pytest.mark.parametrize("num_classes", [2, 10, 100])
def test_calibration_error_equals_torchmetrics(num_classes: int) -> None:
    logits, labels = answers(3000, num_classes)
    reference = MulticlassCalibrationError(num_classes, n_bins=15, norm="l1")
    expected = float(reference(logits, labels))
    assert computed(logits, labels, 100)["ece"] == pytest.approx(expected, abs=1e-5)


def test_confusion_matrix_has_true_classes_in_rows() -> None:
    logits, labels = answers(500, 5)
    metrics = ClassificationMetrics("abcde")
    metrics.update(logits, labels)
    assert metrics.confusion_matrix.tolist() == confusion_matrix(labels, logits.argmax(1)).tolist()


def test_class_that_does_not_occur_does_not_count_towards_macro_f1() -> None:
    logits, labels = answers(500, 5)
    logits[:, 3], labels[labels == 3] = -100.0, 0
    expected = f1_score(labels, logits.argmax(1), average="macro")  # scikit-learn leaves it out too
    found = computed(logits, labels, 50)
    assert found["macro_f1"] == pytest.approx(expected)
    assert found["recall/class_3"] == 0


def test_empty_batch_changes_nothing() -> None:
    metrics = ClassificationMetrics("abc")
    logits, labels = answers(30, 3)
    metrics.update(logits, labels)
    before = metrics.compute()
    metrics.update(logits[:0], labels[:0])
    metrics._computed = None
    assert metrics.compute() == before


def test_reduced_precision_logits_are_summed_in_full() -> None:
    logits, labels = answers(4000, 10)
    half = logits.bfloat16()
    assert computed(half, labels, 64) == pytest.approx(computed(half.float(), labels, 4000), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("val/accuracy", "max"), ("val/loss", "min"), ("val/ece", "min"), ("val/macro_f1", "max"), ("val/ema_loss", "min"),
     ("val/accuracy_gap", "min"), ("val/recall/bag", "max"), ("val/recall/fleece", "max")],
)  # fmt: skip
def test_direction_says_what_is_better(name: str, expected: Any) -> None:
    assert direction(name) == expected


def test_class_names_become_metric_names() -> None:
    assert metric_names(["Ankle boot", "T-shirt/top"])[-2:] == ["recall/ankle_boot", "recall/t-shirt_top"]
    assert metric_names(["A", "a", "b"])[-3:] == ["recall/a_0", "recall/a_1", "recall/b"]
