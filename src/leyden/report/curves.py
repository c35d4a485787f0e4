"""Collect > **curves** > page: what the epochs say, as mean over seeds; where a run overfits; how far to trust it.

Shapes: R runs (the seeds of one setting), E epochs, N test images.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from leyden.metric_names import NUM_CALIBRATION_BINS, is_percentage
from leyden.report.model import Band, Calibration

Array = NDArray[np.float64]

FEWEST_EPOCHS = 8  # fewer do not tell noise from a rise
SMOOTHED_EPOCHS = 3
# In standard deviations of the noise: flat curves of up to 200 epochs with normal noise pass it in at most 1 % of runs,
# with noise of heavy tails (Student's t, 4 degrees of freedom) in at most 4 %.
RISE = 4.0
RELATIVE_RISE = 0.01  # curves whose learning rate has run out have next to no noise, and wander by less than this
SECOND_DIFFERENCE_SCALE = np.sqrt(6.0)  # standard deviation of the second differences of white noise of unit variance
OVERFITTING_RULE = (
    f"A run overfits if, with both losses averaged over {SMOOTHED_EPOCHS} epochs, its last validation loss stands "
    f"above the lowest one by more than {RISE:g} standard deviations of the noise between epochs, and by more than "
    f"{RELATIVE_RISE:.0%}, while its training loss has fallen since; the epoch of the lowest one is where it begins. "
    f"Runs of fewer than {FEWEST_EPOCHS} epochs are not judged."
)


def bands(curves: Sequence[Mapping[str, Array]]) -> tuple[list[int], dict[str, Band]]:
    """The epochs, and by metric the mean over runs with its 95 % t-interval in each of them.

    `curves` holds each run's metrics [E] by epoch, NaN where a run recorded nothing; a run that ended early counts as
    long as it lasted. Bands end where a loss or a share does. Six significant digits are kept: more cannot be seen, and
    make the page large.
    """
    names = list(dict.fromkeys(name for metrics in curves for name in metrics))
    num_epochs = max((len(values) for metrics in curves for values in metrics.values()), default=0)
    found = {}
    for name in names:
        table = np.full((len(curves), num_epochs), np.nan)  # [R, E]
        for row, metrics in zip(table, curves, strict=True):
            row[: len(metrics.get(name, ()))] = metrics.get(name, ())
        found[name] = _band(table, most=1.0 if is_percentage(name) else np.inf)
    return list(range(num_epochs)), found


def _band(table: Array, most: float) -> Band:
    known = ~np.isnan(table)
    counts = known.sum(0)
    # a loss that became infinite has no mean: such epochs end as NaN, thus as None
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.where(known, table, 0.0).sum(0) / counts
        squares = (np.where(known, table - mean, 0.0) ** 2).sum(0)
        half = stats.t.ppf(0.975, np.maximum(counts - 1, 1)) * np.sqrt(squares / (counts - 1) / counts)
        half[counts < 2] = np.nan
        low, high = np.maximum(mean - half, 0.0), np.minimum(mean + half, most)
        return {"mean": _plain(mean), "low": _plain(low), "high": _plain(high)}


def _plain(values: Array) -> list[float | None]:
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]


def start_of_overfitting(training_loss: Array, validation_loss: Array) -> int | None:
    """The epoch in which a run begins to overfit by `OVERFITTING_RULE`; None if it does not, or is too short to say.

    Losses are [E] by epoch; epochs that lack either do not count. The noise is told from what second differences of
    the validation loss leave, where a smooth curve all but vanishes; their median absolute value is not moved by a few
    leaps.
    """
    epochs = epochs_of_both(training_loss, validation_loss)
    if len(epochs) < FEWEST_EPOCHS:
        return None
    training, validation = training_loss[epochs], validation_loss[epochs]
    noise = np.median(np.abs(np.diff(validation, 2))) / stats.norm.ppf(0.75) / SECOND_DIFFERENCE_SCALE
    training, validation = _running_mean(training), _running_mean(validation)
    lowest = int(validation.argmin())
    rise = validation[-1] - validation[lowest]
    if not (rise > max(RISE * noise, RELATIVE_RISE * abs(validation[lowest])) and training[-1] < training[lowest]):
        return None
    return int(epochs[lowest + SMOOTHED_EPOCHS // 2])


def epochs_of_both(training_loss: Array, validation_loss: Array) -> NDArray[np.int64]:
    """The epochs that both losses [E] are known of."""
    return np.flatnonzero(np.isfinite(training_loss) & np.isfinite(validation_loss))


def _running_mean(values: Array) -> Array:
    return np.convolve(values, np.full(SMOOTHED_EPOCHS, 1 / SMOOTHED_EPOCHS), mode="valid")


def calibration(
    setting: int, confidences: Array, predictions: NDArray[np.int64], labels: NDArray[np.int64]
) -> Calibration:
    """Mean confidence and accuracy in bins of equal width, and the expected calibration error, of test images [N]."""
    assert len(labels), "no image was tested"
    confidences = np.asarray(confidences, dtype=np.float64)
    # bins are (low, high], as in Guo et al. 2017 and in training
    bins = np.ceil(confidences * NUM_CALIBRATION_BINS).astype(np.int64).clip(1, NUM_CALIBRATION_BINS) - 1
    counts = np.bincount(bins, minlength=NUM_CALIBRATION_BINS)
    confident = np.bincount(bins, confidences, NUM_CALIBRATION_BINS)
    correct = np.bincount(bins, predictions == labels, NUM_CALIBRATION_BINS)
    return {
        "setting": setting,
        "counts": counts.tolist(),
        "confidences": [
            float(total / count) if count else None for total, count in zip(confident, counts, strict=True)
        ],
        "accuracies": [float(total / count) if count else None for total, count in zip(correct, counts, strict=True)],
        "ece": float(np.abs(confident - correct).sum() / len(labels)),
    }
