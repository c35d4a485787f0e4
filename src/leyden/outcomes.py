"""Metrics > **outcomes** > summary, evaluate: what a network's outputs say beside the metrics, and its tables.

Shapes: N images, K classes. Outputs are logits [N, K], or numbers [N] where those are learnt.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from leyden.draw import CLASSES_FILE, CURVES_FILE, MATRIX_FILE, write_classes, write_curves, write_matrix
from leyden.intervals import Interval, intervals, multi_label_intervals, regression_intervals, wilson
from leyden.metric_names import TOP_5_FROM, average_precision_names
from leyden.metrics import MultiLabelMetrics, RegressionMetrics, binary_cross_entropy
from leyden.predictions import Predictions
from leyden.scores import precision_recall

Curves = dict[str, tuple[NDArray[Any], NDArray[Any]]]  # precision and recall by class


class Outcome(NamedTuple):
    """What outputs say beside the metrics; what a task does not have is None."""

    intervals: dict[str, Interval]
    predictions: Predictions
    losses: NDArray[Any]  # [N], of numbers how far each is off
    matrix: NDArray[np.int64] | None = None  # [K, K] of one class per image, rows are true classes
    classes: list[tuple[str, int, float, float, float, float]] | None = None  # of several labels, for `write_classes`
    curves: Curves | None = None

    def write_tables(self, class_names: Sequence[str], directory: Path) -> None:
        """Writes the confusion matrix, the classes of several labels and the curves, as far as there are any."""
        if self.matrix is not None:
            write_matrix(self.matrix, class_names, directory / MATRIX_FILE)
        if self.classes is not None:
            write_classes(self.classes, directory / CLASSES_FILE)
        if self.curves is not None:
            write_curves(self.curves, directory / CURVES_FILE)


def single_label_outcome(metrics: Metric, logits: Tensor, labels: Tensor, class_names: Sequence[str]) -> Outcome:
    """Of one class per image."""
    probabilities = logits.softmax(1)
    confidences, predictions = probabilities.max(1)
    own = probabilities.gather(1, labels[:, None]).squeeze(1).numpy()
    losses = F.cross_entropy(logits, labels, reduction="none")
    arrays = labels.numpy(), predictions.numpy(), confidences.double().numpy(), losses.double().numpy()
    num_classes = len(class_names)
    bounds = intervals(*arrays, class_names)
    if num_classes > TOP_5_FROM:
        is_among = (logits.topk(5, 1).indices == labels[:, None]).any(1)
        bounds["top5_accuracy"] = wilson(int(is_among.sum()), len(labels))
    cells = np.bincount(arrays[0] * num_classes + arrays[1], minlength=num_classes**2)
    own_class = F.one_hot(labels, num_classes).numpy()
    return Outcome(
        bounds,
        Predictions(*arrays[:3], own),
        arrays[3],
        matrix=cells.reshape(num_classes, num_classes),
        curves=curves(probabilities.numpy(), own_class, class_names),
    )


def curves(probabilities: NDArray[Any], labels: NDArray[Any], class_names: Sequence[str]) -> Curves:
    """Precision and recall of each class that occurs, by scores and labels of 0 and 1, [N, K]."""
    columns = zip(class_names, probabilities.T, labels.T, strict=True)
    return {name: precision_recall(scores, truth) for name, scores, truth in columns if truth.any()}


def multi_label_outcome(metrics: Metric, logits: Tensor, labels: Tensor, class_names: Sequence[str]) -> Outcome:
    """Of any number of labels per image, by the thresholds of the metrics."""
    assert isinstance(metrics, MultiLabelMetrics)
    thresholds = metrics.thresholds.logits.cpu()
    answers, truth = (logits >= thresholds).numpy(), labels.numpy()
    losses = binary_cross_entropy(logits.numpy(), truth)
    bounds = multi_label_intervals(logits.numpy(), truth, answers, losses, class_names)
    found, names = metrics.compute(), average_precision_names(class_names)
    columns = class_names, truth.sum(0), names, thresholds.double().sigmoid().tolist()
    rows = [
        (name, int(count), found[key], *bounds[key], threshold)
        for name, count, key, threshold in zip(*columns, strict=True)
    ]
    probabilities = logits.sigmoid().numpy()
    predictions = Predictions(truth.astype(np.int64), answers.astype(np.int64), probabilities)
    return Outcome(bounds, predictions, losses, classes=rows, curves=curves(probabilities, truth, class_names))


def regression_outcome(metrics: Metric, values: Tensor, labels: Tensor, class_names: Sequence[str]) -> Outcome:
    """Of numbers; the stored predictions are their table."""
    assert isinstance(metrics, RegressionMetrics)
    answers, truth = values.double().numpy(), labels.double().numpy()
    bounds = regression_intervals(answers, truth, float(metrics.deviation))
    return Outcome(bounds, Predictions(truth, answers), np.abs(answers - truth))


OUTCOMES = {
    "single_label": single_label_outcome,
    "multi_label": multi_label_outcome,
    "regression": regression_outcome,
}
