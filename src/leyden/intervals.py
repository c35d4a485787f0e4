"""Metrics > **intervals** > summary: how sure the test figures are, given so many test images.

Shapes: N test images, K classes, R resamples.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leyden.metric_names import NUM_CALIBRATION_BINS, average_precision_names, recall_names
from leyden.scores import average_precisions, calibration_bins, f1, mean_of_known, r2, spearman

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Interval = tuple[float, float]

NORMAL_975 = 1.959963984540054  # quantile of the standard normal distribution
NUM_RESAMPLES = 1000
FEWEST_RESAMPLES = 200  # where the scores of all classes have to be summed in order in each
MOST_SUMMED_SCORES = 400_000_000  # about ten to twenty seconds of a core
MOST_DRAWS_AT_ONCE = 1_000_000  # a few arrays of 8 MB each


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
    """95 % intervals by metric name, of per-image results [N] of a classifier with one class per image.

    Accuracy and recalls: Wilson. Loss and macro F1: percentiles of bootstrap resamples of the images (Efron 1979), the
    same ones in every call. The calibration error is a sum of absolute values, which noise makes larger, and resampling
    larger still, so that percentiles miss the truth; its interval is the estimate ± the 95 % quantile of what
    resampling moves the bins by, which by the triangle inequality bounds the error.
    """
    num_classes, correct = len(class_names), labels == predictions
    found = {"accuracy": wilson(int(correct.sum()), len(labels))}
    for label, name in enumerate(recall_names(class_names)):
        found[name] = wilson(int(correct[labels == label].sum()), int((labels == label).sum()))
    bins = calibration_bins(confidences)
    surplus = confidences - correct
    f1s, means, moves = [], [], []
    for weights in resamples(len(labels)):
        f1s.append(_macro_f1(labels, predictions, weights, num_classes))
        means.append(weights @ losses / len(labels))
        moves.append(_calibration_error(bins, (weights - 1) * surplus))
    error, move = float(_calibration_error(bins, surplus[None])[0]), float(np.percentile(np.concatenate(moves), 95))
    return found | {
        "macro_f1": percentiles(np.concatenate(f1s)),
        "loss": percentiles(np.concatenate(means)),
        "ece": (max(0.0, error - move), error + move),
    }


def multi_label_intervals(
    logits: NDArray[Any], labels: NDArray[Any], answers: NDArray[Any], losses: Array, class_names: Sequence[str]
) -> dict[str, Interval]:
    """95 % intervals by metric name: percentiles of bootstrap resamples of the images, with thresholds as they are.

    Of logits, labels and answers [N, K] and losses [N]. A resample without any image of a class says nothing of that
    class; a class that never occurs has an interval that says nothing.
    """
    precisions, f1s, means = [], [], []
    for weights in resamples(len(labels), _num_resamples(labels.size)):
        precisions.append(average_precisions(logits, labels, weights))
        f1s.append(mean_of_known(f1(answers, labels, weights)))
        means.append(weights @ losses / len(labels))
    of_classes = np.concatenate(precisions)  # [R, K]
    found = {
        "mean_average_precision": percentiles(mean_of_known(of_classes)),
        "macro_f1": percentiles(np.concatenate(f1s)),
        "loss": percentiles(np.concatenate(means)),
    }
    for name, values in zip(average_precision_names(class_names), of_classes.T, strict=True):
        known = values[~np.isnan(values)]
        found[name] = percentiles(known) if len(known) else (0.0, 1.0)
    return found


def regression_intervals(values: Array, labels: Array, deviation: float) -> dict[str, Interval]:
    """95 % intervals by metric name, of numbers [N] and labels: percentiles of bootstrap resamples of the images.

    That of Spearman's correlation lies about its Fisher transform, with the variance of Bonett and Wright (2000).
    """
    errors = values - labels
    found: dict[str, list[Array]] = {"mae": [], "rmse": [], "loss": [], "r2": []}
    for weights in resamples(len(labels)):
        squares = weights @ errors**2 / len(labels)
        found["mae"].append(weights @ np.abs(errors) / len(labels))
        found["rmse"].append(np.sqrt(squares))
        found["loss"].append(squares / deviation**2)
        found["r2"].append(r2(values, labels, weights))
    bounds = {name: percentiles(np.concatenate(values)) for name, values in found.items()}
    return bounds | {"spearman": spearman_interval(spearman(values, labels), len(labels))}


def spearman_interval(correlation: float, num_images: int) -> Interval:
    """The 95 % interval of a rank correlation: all there is of fewer than four images, none of a perfect one."""
    if num_images < 4:
        return -1.0, 1.0
    if abs(correlation) >= 1:
        return correlation, correlation
    half = NORMAL_975 * math.sqrt((1 + correlation**2 / 2) / (num_images - 3))
    return math.tanh(math.atanh(correlation) - half), math.tanh(math.atanh(correlation) + half)


def paired_precision_difference(
    labels: NDArray[Any], first: NDArray[Any], second: NDArray[Any]
) -> tuple[float, Interval, float]:
    """First minus second mean average precision of scores [N, K] for the same images, its 95 % interval, and p.

    The same bootstrap resamples judge both; p is twice the share of them on the other side of zero, and one more.
    """

    def scores(weights: Array) -> Array:
        one, other = (mean_of_known(average_precisions(each, labels, weights)) for each in (first, second))
        difference: Array = one - other
        return difference

    differences = np.concatenate([scores(weights) for weights in resamples(len(labels), _num_resamples(labels.size))])
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    estimate = float(scores(np.ones((1, len(labels))))[0])
    return estimate, percentiles(differences), float(min(1.0, 2 * (tail + 1) / (len(differences) + 1)))


def mean_interval(values: Array) -> Interval:
    """The 95 % interval of the mean of values [N]: percentiles of bootstrap resamples of the images."""
    return percentiles(np.concatenate([weights @ values / len(values) for weights in resamples(len(values))]))


def _num_resamples(num_scores: int) -> int:
    return int(np.clip(MOST_SUMMED_SCORES // num_scores, FEWEST_RESAMPLES, NUM_RESAMPLES))


def resamples(num_images: int, num_resamples: int = NUM_RESAMPLES) -> Iterator[Array]:
    """How often each of N images is drawn in each of R resamples, some resamples [r, N] at a time."""
    generator = np.random.default_rng(0)
    at_once = max(1, MOST_DRAWS_AT_ONCE // num_images)
    for first in range(0, num_resamples, at_once):
        drawn = generator.integers(num_images, size=(min(at_once, num_resamples - first), num_images))
        yield _sums(drawn, np.ones(drawn.shape), num_images)


def _sums(groups: Labels, values: Array, num_groups: int) -> Array:
    """In each row of `values` [r, N], the sum over each group's images; `groups` is [N] or [r, N]."""
    num_rows = len(values)
    cells = groups + num_groups * np.arange(num_rows)[:, None]
    sums = np.bincount(cells.ravel(), values.ravel(), num_rows * num_groups).astype(np.float64)
    return sums.reshape(num_rows, num_groups)


def class_f1s(labels: Labels, predictions: Labels, weights: Array, num_classes: int) -> tuple[Array, NDArray[np.bool_]]:
    """F1 of each class in each row of `weights` [r, N], [r, K]; and whether it occurs among labels or predictions."""
    right = _sums(labels, weights * (labels == predictions), num_classes)
    total = _sums(labels, weights, num_classes) + _sums(predictions, weights, num_classes)
    return 2 * right / np.maximum(total, 1), total > 0


def _macro_f1(labels: Labels, predictions: Labels, weights: Array, num_classes: int) -> Array:
    """In each row of `weights` [r, N], the mean over the classes that occur among labels or predictions."""
    scores, occurs = class_f1s(labels, predictions, weights, num_classes)
    return scores.sum(1) / occurs.sum(1)


def _calibration_error(bins: Labels, surplus: Array) -> Array:
    """Sum over the bins of how far confidence and accuracy differ; `surplus` [r, N] is their difference per image."""
    return np.abs(_sums(bins, surplus, NUM_CALIBRATION_BINS)).sum(1) / surplus.shape[1]


def percentiles(values: Array) -> Interval:
    """The middle 95 % of the values of resamples [R]."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
