"""Head > **loss** > metrics: what training makes small, from class labels or soft targets alike.

Shapes: B images of a batch, K classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ClassificationLoss(nn.Module):
    """What the losses share: label smoothing and class weights.

    `class_weights` is None, K numbers above 0, or "balanced": N / (K · images of the class) in training.
    """

    class_weights: Tensor | None

    def __init__(
        self, num_classes: int, label_smoothing: float = 0.0, class_weights: str | Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"loss.label_smoothing={label_smoothing} is out of range: give a number from 0 to below 1")
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

    def balance(self, class_counts: Tensor) -> None:
        """Sets balanced weights from the training images of each class (int64 [K]); else does nothing."""
        if not self.is_balanced:
            return
        if (class_counts == 0).any():
            empty = class_counts.tolist().index(0)
            raise ValueError(
                f"loss.class_weights=balanced, but class {empty} has no training image: give weights by hand"
            )
        assert self.class_weights is not None
        self.class_weights.copy_(class_counts.sum() / (self.num_classes * class_counts))

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
        if targets.ndim == 1:
            return F.cross_entropy(logits, targets, self.class_weights, label_smoothing=self.label_smoothing)
        if self.class_weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        weighted = -(self.soft(targets) * self.class_weights * logits.log_softmax(1)).sum()
        return weighted / (targets * self.class_weights).sum()


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
        if not 0 <= gamma < math.inf:
            raise ValueError(f"loss.gamma={gamma} is out of range: give 0 or more")
        self.gamma = gamma

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_probabilities = logits.log_softmax(1)  # [B, K]
        # The bound is above 0, where a power below 1 has no finite slope and older versions of torch pass it on.
        hardness = (1 - log_probabilities.exp()).clamp_min(1e-30) ** self.gamma
        soft = self.soft(targets)
        if self.class_weights is None:
            return -(soft * hardness * log_probabilities).sum(1).mean()
        plain = F.one_hot(targets, self.num_classes) if targets.ndim == 1 else targets
        weighted = -(soft * self.class_weights * hardness * log_probabilities).sum()
        return weighted / (plain * self.class_weights).sum()
