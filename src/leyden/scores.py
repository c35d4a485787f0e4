"""Metrics > **scores** > intervals: what answers are worth beside thresholds and ranks, in NumPy, of weighted images.

Shapes: N images, K classes, R rows of weights, each of which says how often every image counts.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from leyden.metric_names import NUM_CALIBRATION_BINS

Array = NDArray[np.float64]


def average_precision(scores: NDArray[Any], labels: NDArray[Any], weights: Array) -> Array:
    """Σ (Rᵢ − Rᵢ₋₁) · Pᵢ over the distinct scores [N] as thresholds, for each row of `weights` [R, N]; NaN without any
    image of the class (`labels` [N] of 0 and 1).
    """
    order, ends = _falling(scores)
    found = np.cumsum(weights[:, order] * labels[order], axis=1)[:, ends]
    chosen = np.cumsum(weights[:, order], axis=1)[:, ends]
    precision = found / np.maximum(chosen, 1e-300)
    steps = np.diff(found, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore"):
        return (steps * precision).sum(1) / found[:, -1]


def precision_recall(scores: NDArray[Any], labels: NDArray[Any], num_points: int = 100) -> tuple[Array, Array]:
    """Precision and recall with each distinct score [N] as threshold, from the highest on, labels [N] of 0 and 1.

    Of more thresholds than `num_points` so many are kept, evenly along the recall, the first and the last among them.
    """
    order, ends = _falling(scores)
    found = np.cumsum(labels[order], dtype=np.float64)[ends]
    precision, recall = found / (ends + 1), found / max(found[-1], 1)
    if len(ends) > num_points:
        kept = np.unique(np.searchsorted(recall, np.linspace(recall[0], recall[-1], num_points)))
        precision, recall = precision[kept], recall[kept]
    return precision, recall


def average_precisions(scores: NDArray[Any], labels: NDArray[Any], weights: Array) -> Array:
    """Average precision [R, K] of each class, of scores and labels [N, K], under each row of weights."""
    return np.stack([average_precision(*columns, weights) for columns in zip(scores.T, labels.T, strict=True)], axis=1)


def f1(answers: NDArray[Any], labels: NDArray[Any], weights: Array) -> Array:
    """F1 [R, K] of answers and labels [N, K] of 0 and 1; NaN for a class that occurs in neither."""
    found, total = weights @ (answers * labels), weights @ (answers + labels)
    with np.errstate(invalid="ignore"):
        return 2 * found / total


def mean_of_known(values: Array) -> Array:
    """The mean over the last axis of what is not NaN; 0 where nothing is known."""
    known = ~np.isnan(values)
    return np.where(known, values, 0.0).sum(-1) / np.maximum(known.sum(-1), 1)


def best_threshold(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """The score [N] from which on a yes has the best F1 with labels [N] of 0 and 1; of equal ones the highest.

    Without any image of the class it is 0, at which a logit is as much for as against.
    """
    if not labels.any():
        return 0.0
    order, ends = _falling(scores)
    found = np.cumsum(labels[order], dtype=np.float64)[ends]
    return float(scores[order][ends][np.argmax(2 * found / (ends + 1 + found[-1]))])


def calibration_bins(confidences: NDArray[Any]) -> NDArray[np.int64]:
    """The bin (low, high] of equal width that each confidence [N] lies in, as in Guo et al. 2017."""
    return np.ceil(confidences * NUM_CALIBRATION_BINS).astype(np.int64).clip(1, NUM_CALIBRATION_BINS) - 1


def _falling(scores: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order of falling scores [N], and where in it each distinct one ends: images of one are found together."""
    order = np.argsort(-scores, kind="stable")
    return order, np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))


def r2(values: Array, labels: Array, weights: Array) -> Array:
    """The share of the labels' variance that the values [N] explain, for each row of weights; 0 where they are equal.

    Labels are taken about their mean first, for the variance of what lies far from zero is a small difference.
    """
    centred = labels - labels.mean()
    count, mean = weights.sum(1), weights @ centred
    spread = weights @ centred**2 - mean**2 / count
    errors = weights @ (values - labels) ** 2
    is_spread = spread > 1e-12 * np.maximum(weights @ centred**2, 1e-300)
    return np.where(is_spread, 1 - errors / np.where(is_spread, spread, 1.0), 0.0)


def spearman(values: NDArray[Any], labels: NDArray[Any]) -> float:
    """The correlation of ranks, equal numbers sharing theirs (Spearman 1904); 0 where one side does not vary."""
    from scipy.stats import rankdata

    ranks = [rankdata(side) - (len(side) + 1) / 2 for side in (values, labels)]
    length = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float(ranks[0] @ ranks[1] / length) if length else 0.0
