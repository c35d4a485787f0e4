"""Metrics against scikit-learn and torchmetrics, in one batch, in many, and over ranks."""

from pathlib import Path

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    recall_score,
    root_mean_squared_error,
    top_k_accuracy_score,
)
from torch import Tensor
from torchmetrics.classification import MulticlassCalibrationError

from leyden.metric_names import metric_names
from leyden.metrics import ClassificationMetrics, MultiLabelMetrics, RegressionMetrics, Thresholds, metrics_for


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


def test_counts_are_the_diagonal_and_the_margins_of_the_confusion_matrix() -> None:
    logits, labels = answers(500, 5)
    metrics = ClassificationMetrics("abcde")
    metrics.update(logits, labels)
    matrix = confusion_matrix(labels, logits.argmax(1))
    assert metrics.counts.tolist() == [matrix.diagonal().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()]


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


def several_labels(num_images: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and labels of four classes, which occur unequally often."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(num_images, 4, generator=generator) < torch.tensor([0.5, 0.2, 0.1, 0.05])).float()
    return torch.randn(num_images, 4, generator=generator) + 2 * labels - 1.5, labels


@pytest.mark.parametrize("batch_size", [7, 5000])
def test_metrics_of_several_labels_equal_scikit_learns(batch_size: int) -> None:
    logits, labels = several_labels(1500)
    metrics = MultiLabelMetrics("abcd", Thresholds(4), is_choosing=False)
    metrics.thresholds.logits.copy_(torch.tensor([0.1, 0.0, -0.3, -0.4]))
    for begin in range(0, 1500, batch_size):
        metrics.update(logits[begin : begin + batch_size], labels[begin : begin + batch_size])
    found = metrics.compute()
    precisions = average_precision_score(labels, logits, average=None)
    assert [found[f"average_precision/{name}"] for name in "abcd"] == pytest.approx(precisions.tolist())
    assert found["mean_average_precision"] == pytest.approx(precisions.mean())
    answers = logits >= metrics.thresholds.logits
    assert found["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"))
    expected = [log_loss(labels[:, place], logits[:, place].double().sigmoid()) for place in range(4)]
    assert found["loss"] == pytest.approx(sum(expected) / 4)
    assert list(found) == metric_names("abcd", "multi_label")


def test_thresholds_are_chosen_on_validation_and_applied_to_the_test() -> None:
    val, test = metrics_for("multi_label", "abcd")
    val.update(*several_labels(800, seed=1))
    logits, labels = several_labels(800, seed=2)
    test.update(logits, labels)
    even_odds = test.compute()["macro_f1"]
    val.compute()
    chosen = val.state_dict()["thresholds.logits"]
    assert chosen.abs().min() > 0
    test._computed = None
    found = test.compute()["macro_f1"]
    assert found == pytest.approx(f1_score(labels, logits >= chosen, average="macro"))
    assert found > even_odds
    assert torch.equal(test.state_dict()["thresholds.logits"], chosen)


def test_class_on_no_image_does_not_count_towards_mean_average_precision() -> None:
    logits, labels = several_labels(500)
    labels[:, 2] = 0
    metrics = metrics_for("multi_label", "abcd")[0]
    metrics.update(logits, labels)
    found = metrics.compute()
    expected = average_precision_score(labels[:, [0, 1, 3]], logits[:, [0, 1, 3]])
    assert found["mean_average_precision"] == pytest.approx(expected)
    assert found["average_precision/c"] == 0


@pytest.mark.parametrize("batch_size", [7, 5000])
def test_metrics_of_numbers_equal_scikit_learns_and_scipys(batch_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(20, (1000,), generator=generator).float() * 100 + 5000
    values = labels + 300 * torch.randn(1000, generator=generator)
    metrics = RegressionMetrics()
    metrics.fit_labels(labels)
    for begin in range(0, 1000, batch_size):
        metrics.update(values[begin : begin + batch_size], labels[begin : begin + batch_size])
    assert metrics.compute() == pytest.approx(
        {
            "loss": 1 - r2_score(labels, values),
            "mae": mean_absolute_error(labels, values),
            "rmse": root_mean_squared_error(labels, values),
            "r2": r2_score(labels, values),
            "spearman": spearmanr(labels, values).statistic,
        },
        rel=1e-6,
    )
    assert list(metrics.compute()) == metric_names((), "regression")


def test_rank_without_images_may_add_an_empty_batch() -> None:
    metrics = RegressionMetrics()
    metrics.update(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0]))
    metrics.update(torch.zeros(0), torch.zeros(0))
    assert metrics.compute()["mae"] == pytest.approx(0.25)


def compute_on_rank(rank: int, directory: Path) -> None:
    """One of two processes, which has images of its own and one batch without any."""
    torch.distributed.init_process_group("gloo", f"file://{directory}/meeting", rank=rank, world_size=2)
    val, test = metrics_for("multi_label", "abcd")
    numbers = metrics_for("regression", ())[0]
    logits, labels = several_labels(301)
    for begin, end in [(0, 100), (100, 200)] if rank == 0 else [(200, 301), (301, 301)]:
        for metrics in (val, test):
            metrics.update(logits[begin:end], labels[begin:end])
        numbers.update(logits[begin:end, 0], labels[begin:end].sum(1))
    torch.save([metrics.compute() for metrics in (val, test, numbers)], directory / f"rank{rank}")
    torch.distributed.destroy_process_group()


def test_two_ranks_compute_what_one_does(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(compute_on_rank, (tmp_path,), nprocs=2)
    val, test = metrics_for("multi_label", "abcd")
    numbers = metrics_for("regression", ())[0]
    logits, labels = several_labels(301)
    val.update(logits, labels)
    test.update(logits, labels)
    numbers.update(logits[:, 0], labels.sum(1))
    expected = [metrics.compute() for metrics in (val, test, numbers)]
    for rank in range(2):
        assert torch.load(tmp_path / f"rank{rank}") == expected
