"""Metrics > **intervals** > summary: how sure the test figures are, given so many test images.

Shapes: N test images, K classes, R resamples.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leyden.metrics import NUM_CALIBRATION_BINS, recall_names

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Interval = tuple[float, float]

NORMAL_975 = 1.959963984540054  # quantile of the standard normal distribution
NUM_RESAMPLES = 1000


def wilson(successes: int, trials: int) -> Interval:
    """The 95 % score interval of a proportion (Wilson 1927)."""
    assert 0 <= successes <= trials
    if not trials:
        return 0.0, 1.0
    share, z2 = successes / trials, NORMAL_975**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = NORMAL_975 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def intervals(
    labels: Labels, predictions: Labels, confidences: Array, losses: Array, class_names: Sequence[str]
) -> dict[str, Interval]:
    """95 % intervals by metric name, of per-image results [N].

    Accuracy and recalls: Wilson. Loss, macro F1 and calibration error: percentiles of bootstrap resamples of the
    images (Efron 1979), the same ones in every call.
    """
    num_classes, correct = len(class_names), labels == predictions
    found = {"accuracy": wilson(int(correct.sum()), len(labels))}
    for label, name in enumerate(recall_names(class_names)):
        found[name] = wilson(int(correct[labels == label].sum()), int((labels == label).sum()))
    generator = np.random.default_rng(0)
    found["macro_f1"] = _percentiles(_resampled_f1(labels, predictions, num_classes, generator))
    mean_losses, errors = _resampled_means(losses, confidences, correct, generator)
    return found | {"loss": _percentiles(mean_losses), "ece": _percentiles(errors)}


def _resampled_f1(labels: Labels, predictions: Labels, num_classes: int, generator: np.random.Generator) -> Array:
    """Macro F1 of R resamples: drawing N images is drawing N cells of the confusion matrix."""
    cells = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    drawn = generator.multinomial(len(labels), cells / cells.sum(), size=NUM_RESAMPLES)
    matrices = drawn.reshape(NUM_RESAMPLES, num_classes, num_classes)
    right = np.einsum("rii->ri", matrices)
    total = matrices.sum(1) + matrices.sum(2)  # [R, K]: labels and predictions of each class
    occurs = total > 0
    return (2 * right / np.where(occurs, total, 1)).sum(1) / occurs.sum(1)


def _resampled_means(
    losses: Array, confidences: Array, correct: NDArray[np.bool_], generator: np.random.Generator
) -> tuple[Array, Array]:
    """Mean loss and calibration error of R resamples, one resample at a time to keep memory small."""
    num_images, bins = len(losses), np.ceil(confidences * NUM_CALIBRATION_BINS).astype(np.int64) - 1
    bins = bins.clip(0, NUM_CALIBRATION_BINS - 1)
    surplus = confidences - correct
    means, errors = np.empty(NUM_RESAMPLES), np.empty(NUM_RESAMPLES)
    for resample in range(NUM_RESAMPLES):
        weights = np.bincount(generator.integers(num_images, size=num_images), minlength=num_images)
        means[resample] = weights @ losses / num_images
        errors[resample] = np.abs(np.bincount(bins, weights * surplus, NUM_CALIBRATION_BINS)).sum() / num_images
    return means, errors


def _percentiles(values: Array) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
