"""Head > **loss** > metrics: what training makes small, from labels or soft targets alike.

A loss says by `task` what labels it is for; one that does not, as PyTorch's own, is for whatever it is given.

Shapes: B images of a batch, K classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leyden.config import require
from leyden.data.sources import Task
from leyden.gather import num_ranks
from leyden.heads import deviation


def share_of_ranks(weight: Tensor) -> Tensor | float:
    """A batch's weight beside the mean of all ranks: by it, losses averaged over ranks are that of the whole batch."""
    if num_ranks() == 1:
        return 1.0
    mean = weight.detach().clone()
    torch.distributed.all_reduce(mean)
    return weight / (mean / num_ranks())


class ClassificationLoss(nn.Module):
    """What the losses of classes share: label smoothing and class weights.

    `class_weights` is None, K numbers above 0, or "balanced": N / (K · images of the class) in training.
    """

    task: Task = "single_label"
    class_weights: Tensor | None

    def __init__(
        self, num_classes: int, label_smoothing: float = 0.0, class_weights: str | Sequence[float] | None = None
    ) -> None:
        super().__init__()
        require("loss.label_smoothing", label_smoothing, 0 <= label_smoothing < 1, "a number from 0 to below 1")
        self.num_classes, self.label_smoothing = num_classes, label_smoothing
        self.is_balanced = class_weights == "balanced"
        if isinstance(class_weights, str) and not self.is_balanced:
            raise ValueError(
                f"loss.class_weights={class_weights}: expected null, balanced or a list of {num_classes} numbers"
            )
        weights = None
        if self.is_balanced:
            weights = torch.ones(num_classes)
        elif class_weights is not None:
            given: list[Any] = list(class_weights) if isinstance(class_weights, Sequence) else [class_weights]
            weights = torch.tensor([float(weight) for weight in given])
            if len(weights) != num_classes or not ((weights > 0) & weights.isfinite()).all():
                raise ValueError(f"loss.class_weights={given}: expected {num_classes} numbers above 0")
        self.register_buffer("class_weights", weights)

    def fit_labels(self, labels: Tensor) -> None:
        """Sets balanced weights from the training labels; else does nothing."""
        if self.is_balanced:
            assert self.class_weights is not None
            self.class_weights.copy_(self.balanced(labels))

    def balanced(self, labels: Tensor) -> Tensor:
        """The weights under which all classes count the same, [K], for labels int64 [N]."""
        counts = torch.bincount(labels, minlength=self.num_classes)
        self._refuse(counts == 0, "has no training image")
        return counts.sum() / (self.num_classes * counts)

    def _refuse(self, is_wrong: Tensor, why: str) -> None:
        if is_wrong.any():
            label = is_wrong.tolist().index(True)
            raise ValueError(f"loss.class_weights=balanced, but class {label} {why}: give weights by hand")

    def weight_of(self, targets: Tensor) -> Tensor:
        """The sum of the class weights of a batch, Σ w: of labels int64 [B], or expected under targets [B, K]."""
        assert self.class_weights is not None
        return self.class_weights[targets].sum() if targets.ndim == 1 else (targets * self.class_weights).sum()

    def soft(self, targets: Tensor) -> Tensor:
        """Targets as probabilities [B, K], smoothed: (1 − ε) · target + ε / K (Szegedy et al. 2016)."""
        if targets.ndim == 1:
            targets = F.one_hot(targets, self.num_classes).float()
        return targets * (1 - self.label_smoothing) + self.label_smoothing / self.num_classes


class CrossEntropy(ClassificationLoss):
    """Softmax cross-entropy of logits [B, K] with targets, labels int64 [B] or probabilities [B, K].

    With class weights w it is the weighted mean Σ w·ℓ / Σ w, w that of an image's label, or the expected one under its
    soft target, so that a label and its one-hot vector give the same loss.
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.class_weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        weight = self.weight_of(targets)
        if targets.ndim == 1:
            loss = F.cross_entropy(logits, targets, self.class_weights, label_smoothing=self.label_smoothing)
        else:
            loss = -(self.soft(targets) * self.class_weights * logits.log_softmax(1)).sum() / weight
        return loss * share_of_ranks(weight)


class Focal(ClassificationLoss):
    """Focal loss Σ −t · (1 − p)^γ · log p (Lin et al. 2017): easy images weigh less; γ = 0 is cross-entropy."""

    def __init__(
        self,
        num_classes: int,
        gamma: float = 2.0,
        label_smoothing: float = 0.0,
        class_weights: str | Sequence[float] | None = None,
    ) -> None:
        super().__init__(num_classes, label_smoothing, class_weights)
        require("loss.gamma", gamma, 0 <= gamma < math.inf, "0 or more")
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_probabilities = logits.log_softmax(1)  # [B, K]
        # The bound is above 0, where a power below 1 has no finite slope and older versions of torch pass it on.
        hardness = (1 - log_probabilities.exp()).clamp_min(1e-30) ** self.gamma
        soft = self.soft(targets)
        if self.class_weights is None:
            return -(soft * hardness * log_probabilities).sum(1).mean()
        weight = self.weight_of(targets)
        weighted = -(soft * self.class_weights * hardness * log_probabilities).sum()
        return weighted / weight * share_of_ranks(weight)


class EarthMover(ClassificationLoss):
    """Squared earth mover's distance of classes in an order, Σ (P − T)² over the cumulated probabilities P of the
    answer and T of the target (Hou et al. 2016): the further off an answer is, the more it costs.
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        distances = (logits.softmax(1).cumsum(1) - self.soft(targets).cumsum(1)).square().sum(1)
        if self.class_weights is None:
            return distances.mean()
        weights = self.class_weights[targets] if targets.ndim == 1 else (targets * self.class_weights).sum(1)
        return (weights * distances).sum() / weights.sum() * share_of_ranks(weights.sum())


class BinaryCrossEntropy(ClassificationLoss):
    """Sigmoid cross-entropy of logits [B, K] with any number of labels each, [B, K] from 0 to 1; mean over all.

    Class weights are those of a yes beside a no; balanced: images without the class / images with it. Smoothed targets
    are (1 − ε) · target + ε / 2.
    """

    task: Task = "multi_label"

    def balanced(self, labels: Tensor) -> Tensor:
        """The weights under which yes and no count the same in every class, [K], for labels [N, K]."""
        counts = labels.sum(0)
        self._refuse(counts == 0, "has no training image")
        self._refuse(counts == len(labels), "is on every training image")
        return (len(labels) - counts) / counts

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits.float(), smooth, pos_weight=self.class_weights)


class RegressionLoss(nn.Module):
    """What the losses of numbers share: errors in standard deviations of the training labels.

    So one learning rate suits ages and prices alike.
    """

    task: Task = "regression"
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("deviation", torch.ones(()))

    def fit_labels(self, labels: Tensor) -> None:
        """Takes its unit from the training labels [N]."""
        self.deviation.fill_(deviation(labels))


class MeanSquaredError(RegressionLoss):
    """The mean of squared errors of numbers [B]."""

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(values / self.deviation, targets / self.deviation)


class Huber(RegressionLoss):
    """Half the squared error, from `delta` standard deviations on a line (Huber 1964), so that outliers pull less."""

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        require("loss.delta", delta, 0 < delta < math.inf, "a number above 0")
        self.delta = delta

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        return F.huber_loss(values / self.deviation, targets / self.deviation, delta=self.delta)
