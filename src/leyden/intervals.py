"""Metrics > **intervals** > summary: how sure the test figures are, given so many test images.

Shapes: N test images, K classes, R resamples.
"""

import math
from collections.abc import Iterator, Sequence

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

    Accuracy and recalls: Wilson. Loss and macro F1: percentiles of bootstrap resamples of the images (Efron 1979), the
    same ones in every call. The calibration error is a sum of absolute values, which noise makes larger, and resampling
    larger still, so that percentiles miss the truth; its interval is the estimate ± the 95 % quantile of what
    resampling moves the bins by, which by the triangle inequality bounds the error.
    """
    num_classes, correct = len(class_names), labels == predictions
    found = {"accuracy": wilson(int(correct.sum()), len(labels))}
    for label, name in enumerate(recall_names(class_names)):
        found[name] = wilson(int(correct[labels == label].sum()), int((labels == label).sum()))
    bins = np.ceil(confidences * NUM_CALIBRATION_BINS).astype(np.int64).clip(1, NUM_CALIBRATION_BINS) - 1
    surplus = confidences - correct
    f1s, means, moves = [], [], []
    for weights in _resamples(len(labels)):
        f1s.append(_macro_f1(labels, predictions, weights, num_classes))
        means.append(float(weights @ losses) / len(labels))
        moves.append(_calibration_error(bins, (weights - 1) * surplus))
    error, move = _calibration_error(bins, surplus), float(np.percentile(moves, 95))
    return found | {
        "macro_f1": _percentiles(f1s),
        "loss": _percentiles(means),
        "ece": (max(0.0, error - move), error + move),
    }


def _resamples(num_images: int) -> Iterator[Array]:
    """How often each of N images is drawn in each of R resamples."""
    generator = np.random.default_rng(0)
    for _ in range(NUM_RESAMPLES):
        drawn = generator.integers(num_images, size=num_images)
        yield np.bincount(drawn, minlength=num_images).astype(np.float64)


def _macro_f1(labels: Labels, predictions: Labels, weights: Array, num_classes: int) -> float:
    """Mean over the classes that occur among labels or predictions."""
    right = np.bincount(labels, weights * (labels == predictions), num_classes)
    total = np.bincount(labels, weights, num_classes) + np.bincount(predictions, weights, num_classes)
    occurs = total > 0
    return float((2 * right[occurs] / total[occurs]).mean())


def _calibration_error(bins: Labels, surplus: Array) -> float:
    """Sum over the bins of how far confidence and accuracy differ; `surplus` [N] is their difference per image."""
    return float(np.abs(np.bincount(bins, surplus, NUM_CALIBRATION_BINS)).sum() / len(surplus))


def _percentiles(values: Sequence[float]) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
