"""Intervals against SciPy's, against brute force, and by how often they cover the truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from leyden.intervals import intervals, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (3, 10), (354, 359), (9364, 10_000)])
def test_wilson_equals_scipys(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_of_nothing_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def draw(generator: np.random.Generator, num_images: int) -> tuple[np.ndarray, ...]:
    """Labels, predictions, confidences and losses of a classifier that knows how sure it is."""
    labels = generator.integers(4, size=num_images)
    confidences = generator.uniform(0.3, 1.0, num_images)
    correct = generator.random(num_images) < confidences
    wrong = (labels + generator.integers(1, 4, num_images)) % 4
    losses = -np.log(np.where(correct, confidences, 1 - confidences))
    return labels, np.where(correct, labels, wrong), confidences, losses


def test_bootstrap_equals_resampling_images_by_hand() -> None:
    generator = np.random.default_rng(0)
    labels, predictions, confidences, losses = draw(generator, 400)
    found = intervals(labels, predictions, confidences, losses, "abcd")
    f1s, means = [], []
    for _ in range(4000):
        chosen = generator.integers(400, size=400)
        f1s.append(f1_score(labels[chosen], predictions[chosen], average="macro"))
        means.append(losses[chosen].mean())
    assert found["macro_f1"] == pytest.approx(np.percentile(f1s, [2.5, 97.5]), abs=0.006)
    assert found["loss"] == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.02)


def test_accuracy_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        low, high = wilson(int(generator.binomial(359, 0.97)), 359)
        covered += low <= 0.97 <= high
    assert 0.93 < covered / 2000 < 0.97


@pytest.mark.parametrize(("num_images", "shift"), [(360, 0.0), (360, 0.02), (360, 0.1), (5000, 0.01)])
def test_calibration_interval_covers_the_truth(num_images: int, shift: float) -> None:
    """Confidences above the accuracy by `shift` in every bin: their calibration error is `shift`."""
    generator = np.random.default_rng(3)
    covered, ones = 0, np.ones(num_images, np.int64)
    for _ in range(20):
        confidences = generator.uniform(0.5, 1.0, num_images)
        correct = (generator.random(num_images) < confidences - shift).astype(np.int64)
        low, high = intervals(ones, correct, confidences, confidences, "ab")["ece"]
        covered += low <= shift <= high
    assert covered >= 18


def test_intervals_hold_their_estimates_and_repeat() -> None:
    arrays = draw(np.random.default_rng(2), 500)
    labels, predictions, _, losses = arrays
    found = intervals(*arrays, "abcd")
    assert found == intervals(*arrays, "abcd")
    truths = {
        "accuracy": (labels == predictions).mean(),
        "loss": losses.mean(),
        "macro_f1": f1_score(labels, predictions, average="macro"),
        "recall/a": (predictions[labels == 0] == 0).mean(),
    }
    for name, value in truths.items():
        low, high = found[name]
        assert low < value < high
