"""Loss > **metrics** > checkpoint: how good the answers are, summed up or gathered on the device over a whole split.

Shapes: B images of a batch, N of a split, K classes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from leyden.data.sources import Task
from leyden.heads import deviation
from leyden.metric_names import (
    HEADLINES,
    NUM_CALIBRATION_BINS,
    TOP_5_FROM,
    average_precision_names,
    recall_names,
)
from leyden.scores import average_precisions, best_threshold, f1, mean_of_known, r2, spearman


def metrics_for(task: Task, class_names: Sequence[str]) -> tuple[Metric, Metric]:
    """The metrics of validation and those of the test, which go by what validation has chosen."""
    if task == "regression":
        return RegressionMetrics(), RegressionMetrics()
    if task == "multi_label":
        thresholds = Thresholds(len(class_names))
        chosen = MultiLabelMetrics(class_names, thresholds, is_choosing=True)
        return chosen, MultiLabelMetrics(class_names, thresholds, is_choosing=False)
    return ClassificationMetrics(class_names), ClassificationMetrics(class_names)


def check_numbers(figures: Mapping[str, float]) -> None:
    """Refuses figures that are no numbers, which no record takes.

    Raises:
        ValueError: names them, and what may help.
    """
    if strange := [name for name, value in figures.items() if not math.isfinite(value)]:
        raise ValueError(
            f"{', '.join(strange)}: no number, as answers to these images are none: give trainer.precision=32, or look "
            "at the data with `leyden doctor`; the weights are saved"
        )


class ClassificationMetrics(Metric):
    """Loss, accuracy, macro F1, recall of each class and calibration error of logits against labels.

    Everything is a sum over images, so ranks add up and a batch may be empty; `compute` crosses to the host once.
    Macro F1 is the mean over the classes that occur among labels or predictions.
    """

    full_state_update = False
    headline = HEADLINES["single_label"]
    counts: Tensor  # int64 [3, K]: of each class its right answers, its images, and the answers that name it
    calibration: Tensor  # float32 [3, bins]: images, sum of confidences, correct answers
    sums: Tensor  # float32 [2]: cross-entropy, answers right among the first five

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names, num_classes = tuple(class_names), len(class_names)
        self.add_state("counts", torch.zeros(3, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("calibration", torch.zeros(3, NUM_CALIBRATION_BINS, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(2, dtype=torch.float32), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Adds logits [B, K] and labels int64 [B]."""
        logits = logits.detach().float()
        confidences, predictions = logits.softmax(1).max(1)
        correct, ones = (predictions == labels).float(), torch.ones_like(labels)
        for row, classes, added in ((0, labels, correct.long()), (1, labels, ones), (2, predictions, ones)):
            self.counts[row].index_add_(0, classes, added)
        # bins are (low, high], as in Guo et al. 2017
        bins = (confidences * NUM_CALIBRATION_BINS).ceil().long().sub(1).clamp(0, NUM_CALIBRATION_BINS - 1)
        self.calibration.index_add_(1, bins, torch.stack([torch.ones_like(correct), confidences, correct]))
        self.sums[0] += F.cross_entropy(logits, labels, reduction="sum")
        if len(self.class_names) > TOP_5_FROM:
            self.sums[1] += (logits.topk(5, 1).indices == labels[:, None]).sum()

    def compute(self) -> dict[str, float]:
        """The metrics by name, as plain numbers."""
        (right, true, predicted), calibration, sums = _to_host(self.counts, self.calibration, self.sums)
        num_images = true.sum().item()
        assert num_images, "no image was evaluated"
        found = {"loss": sums[0].item() / num_images, "accuracy": right.sum().item() / num_images}
        if len(self.class_names) > TOP_5_FROM:
            found["top5_accuracy"] = sums[1].item() / num_images
        occurs = true + predicted > 0
        found["macro_f1"] = (2 * right[occurs] / (true + predicted)[occurs]).mean().item()
        found["ece"] = ((calibration[1] - calibration[2]).abs().sum() / num_images).item()
        recalls = (right / true).nan_to_num(0.0).tolist()
        return found | dict(zip(recall_names(self.class_names), recalls, strict=True))


class GatheredMetrics(Metric):
    """Keeps outputs and labels on the device, for what no sum over images gives; ranks put theirs together."""

    full_state_update = False
    outputs: Any  # list of float32 [B, ...], or one tensor once ranks have put theirs together
    labels: Any

    def __init__(self) -> None:
        super().__init__()
        self.add_state("outputs", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Adds outputs and labels, float [B, K] or [B]."""
        self.outputs.append(outputs.detach().float())
        self.labels.append(labels)

    def gathered(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Outputs and labels of the whole split, on the host."""
        outputs, labels = (dim_zero_cat(kept).cpu().numpy() for kept in (self.outputs, self.labels))
        assert len(outputs), "no image was evaluated"
        return outputs, labels


class Thresholds(nn.Module):
    """The logit of each class from which on the answer is yes; kept in checkpoints, beside the weights they go with."""

    logits: Tensor  # float32 [K]

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("logits", torch.zeros(num_classes))


class MultiLabelMetrics(GatheredMetrics):
    """Loss, average precision of each class and their mean, macro F1 of logits [N, K] against labels of 0 and 1.

    Where it `is_choosing`, `compute` sets each class's threshold to that of the best F1, which flatters this F1;
    another that shares the thresholds takes them as they are. Means are over the classes that occur.
    """

    headline = HEADLINES["multi_label"]

    def __init__(self, class_names: Sequence[str], thresholds: Thresholds, is_choosing: bool) -> None:
        super().__init__()
        self.class_names, self.thresholds, self.is_choosing = tuple(class_names), thresholds, is_choosing

    def compute(self) -> dict[str, float]:
        """The metrics by name, as plain numbers."""
        logits, labels = self.gathered()
        if self.is_choosing:
            best = [best_threshold(*columns) for columns in zip(logits.T, labels.T, strict=True)]
            self.thresholds.logits.copy_(torch.tensor(best))
        answers = logits >= self.thresholds.logits.cpu().numpy()
        once = np.ones((1, len(labels)))
        precisions = average_precisions(logits, labels, once)[0]
        found = {
            "loss": float(binary_cross_entropy(logits, labels).mean()),
            "mean_average_precision": float(mean_of_known(precisions)),
            "macro_f1": float(mean_of_known(f1(answers, labels, once))[0]),
        }
        names = average_precision_names(self.class_names)
        return found | dict(zip(names, np.nan_to_num(precisions).tolist(), strict=True))


class RegressionMetrics(GatheredMetrics):
    """Loss, mean absolute and root mean squared error, R² and Spearman's rank correlation of numbers [N].

    The loss is the squared error in units of the training labels' variance, as training sees it: 1 is what their mean
    would give. Errors are in the labels' own units.
    """

    headline = HEADLINES["regression"]
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("deviation", torch.ones(()))

    def fit_labels(self, labels: Tensor) -> None:
        """Takes its unit from the training labels [N]."""
        self.deviation.fill_(deviation(labels))

    def compute(self) -> dict[str, float]:
        """The metrics by name, as plain numbers."""
        values, labels = (array.astype(np.float64) for array in self.gathered())
        errors = values - labels
        return {
            "loss": float((errors**2).mean() / float(self.deviation) ** 2),
            "mae": float(np.abs(errors).mean()),
            "rmse": float(np.sqrt((errors**2).mean())),
            "r2": float(r2(values, labels, np.ones((1, len(labels))))[0]),
            "spearman": spearman(values, labels),
        }


def binary_cross_entropy(logits: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    """The mean over classes for each image [N], of logits and labels [N, K]."""
    logits = logits.astype(np.float64)
    found: NDArray[np.float64] = (np.logaddexp(0.0, logits) - logits * labels).mean(1)
    return found


def _to_host(*tensors: Tensor) -> list[Tensor]:
    """Copies tensors to the host in one transfer, as float64 (float32 where the device has no more)."""
    dtype = torch.float32 if tensors[0].device.type == "mps" else torch.float64
    flat = torch.cat([tensor.flatten().to(dtype) for tensor in tensors]).cpu().double()
    pieces = flat.split([tensor.numel() for tensor in tensors])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]
