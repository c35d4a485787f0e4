"""Loss > **metrics** > checkpoint: how good the answers are, summed up on the device over a whole split.

Shapes: B images of a batch, K classes.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

NUM_CALIBRATION_BINS = 15
TOP_5_FROM = 10  # top-5 accuracy says something only for more classes than this


class ClassificationMetrics(Metric):
    """Loss, accuracy, macro F1, recall of each class and calibration error of logits against labels.

    Everything is a sum over images, so ranks add up and a batch may be empty; `compute` crosses to the host once.
    Macro F1 is the mean over the classes that occur among labels or predictions.
    """

    full_state_update = False
    confusion_matrix: Tensor  # int64 [K, K], rows are true classes
    calibration: Tensor  # float32 [3, bins]: images, sum of confidences, correct answers
    sums: Tensor  # float32 [2]: cross-entropy, answers right among the first five

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names, num_classes = tuple(class_names), len(class_names)
        counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion_matrix", counts, dist_reduce_fx="sum")
        self.add_state("calibration", torch.zeros(3, NUM_CALIBRATION_BINS, dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(2, dtype=torch.float32), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Adds logits [B, K] and labels int64 [B]."""
        logits = logits.detach().float()
        num_classes = len(self.class_names)
        confidences, predictions = logits.softmax(1).max(1)
        cells = torch.bincount(labels * num_classes + predictions, minlength=num_classes**2)
        self.confusion_matrix += cells.view(num_classes, num_classes)
        correct = (predictions == labels).float()
        # bins are (low, high], as in Guo et al. 2017
        bins = (confidences * NUM_CALIBRATION_BINS).ceil().long().sub(1).clamp(0, NUM_CALIBRATION_BINS - 1)
        self.calibration.index_add_(1, bins, torch.stack([torch.ones_like(correct), confidences, correct]))
        self.sums[0] += F.cross_entropy(logits, labels, reduction="sum")
        if num_classes > TOP_5_FROM:
            self.sums[1] += (logits.topk(5, 1).indices == labels[:, None]).sum()

    def compute(self) -> dict[str, float]:
        """The metrics by name, as plain numbers."""
        matrix, calibration, sums = _to_host(self.confusion_matrix, self.calibration, self.sums)
        num_images = matrix.sum().item()
        assert num_images, "no image was evaluated"
        right, true, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        found = {"loss": sums[0].item() / num_images, "accuracy": right.sum().item() / num_images}
        if len(self.class_names) > TOP_5_FROM:
            found["top5_accuracy"] = sums[1].item() / num_images
        occurs = true + predicted > 0
        found["macro_f1"] = (2 * right[occurs] / (true + predicted)[occurs]).mean().item()
        found["ece"] = ((calibration[1] - calibration[2]).abs().sum() / num_images).item()
        recalls = (right / true).nan_to_num(0.0).tolist()
        return found | dict(zip(recall_names(self.class_names), recalls, strict=True))


def _to_host(*tensors: Tensor) -> list[Tensor]:
    """Copies tensors to the host in one transfer, as float64 (float32 where the device has no more)."""
    dtype = torch.float32 if tensors[0].device.type == "mps" else torch.float64
    flat = torch.cat([tensor.flatten().to(dtype) for tensor in tensors]).cpu().double()
    pieces = flat.split([tensor.numel() for tensor in tensors])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]


def recall_names(class_names: Sequence[str]) -> list[str]:
    """`recall/<class>` for every class, in lower case, with underscores for spaces and slashes.

    Classes whose names are the same then have their number behind them.
    """
    plain = [name.lower().replace(" ", "_").replace("/", "_") for name in class_names]
    counts = Counter(plain)
    return [f"recall/{name}" if counts[name] == 1 else f"recall/{name}_{label}" for label, name in enumerate(plain)]


def metric_names(class_names: Sequence[str]) -> list[str]:
    """What `ClassificationMetrics` computes for these classes."""
    top_5 = ["top5_accuracy"] if len(class_names) > TOP_5_FROM else []
    return ["loss", "accuracy", *top_5, "macro_f1", "ece", *recall_names(class_names)]


def direction(name: str) -> Literal["max", "min"]:
    """Whether more (`max`) or less (`min`) of a metric is better."""
    return "min" if "/recall/" not in name and name.endswith(("loss", "ece", "gap")) else "max"
