"""Intervals against SciPy's, against brute force, and by how often they cover the truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score, r2_score

from leyden.intervals import (
    intervals,
    multi_label_intervals,
    paired_precision_difference,
    percentiles,
    regression_intervals,
    resamples,
    spearman_interval,
    wilson,
)


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


def test_calibration_interval_is_as_wide_as_resampling_moves_the_bins() -> None:
    generator = np.random.default_rng(0)
    labels, predictions, confidences, losses = draw(generator, 400)
    surplus, bins = confidences - (labels == predictions), np.digitize(confidences, np.linspace(0, 1, 16))
    moves = []
    for _ in range(2000):
        chosen = generator.integers(400, size=400)
        of_bins = [surplus[chosen][bins[chosen] == each].sum() - surplus[bins == each].sum() for each in range(17)]
        moves.append(np.abs(of_bins).sum() / 400)
    error = sum(abs(surplus[bins == each].sum()) for each in range(17)) / 400
    expected = error - np.percentile(moves, 95), error + np.percentile(moves, 95)
    low, high = intervals(labels, predictions, confidences, losses, "abcd")["ece"]
    assert (low, high) == pytest.approx((max(0, expected[0]), expected[1]), abs=0.004)


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


def draw_several(generator: np.random.Generator, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of three classes."""
    labels = (generator.random((num_images, 3)) < [0.5, 0.3, 0.1]).astype(np.float32)
    return generator.normal(size=(num_images, 3)) + 1.5 * labels, labels


def test_bootstrap_of_several_labels_equals_resampling_by_hand() -> None:
    generator = np.random.default_rng(0)
    scores, labels = draw_several(generator, 300)
    losses = generator.random(300)
    found = multi_label_intervals(scores, labels, scores > 0.8, losses, "abc")
    precisions, f1s = [], []
    for _ in range(2000):
        chosen = generator.integers(300, size=300)
        precisions.append(average_precision_score(labels[chosen], scores[chosen], average=None))
        f1s.append(f1_score(labels[chosen], scores[chosen] > 0.8, average="macro"))
    bounds = np.percentile(precisions, [2.5, 97.5], axis=0)
    for place, name in enumerate("abc"):
        assert found[f"average_precision/{name}"] == pytest.approx(bounds[:, place], abs=0.02)
    expected = np.percentile(np.mean(precisions, axis=1), [2.5, 97.5])
    assert found["mean_average_precision"] == pytest.approx(expected, abs=0.01)
    assert found["macro_f1"] == pytest.approx(np.percentile(f1s, [2.5, 97.5]), abs=0.01)


def test_class_that_never_occurs_has_an_interval_that_says_nothing() -> None:
    scores, labels = draw_several(np.random.default_rng(0), 100)
    labels[:, 1] = 0
    found = multi_label_intervals(scores, labels, scores > 0, np.ones(100), "abc")
    assert found["average_precision/b"] == (0, 1)


def test_bootstrap_of_numbers_equals_resampling_by_hand() -> None:
    generator = np.random.default_rng(0)
    labels = generator.normal(50, 4, size=300)
    values = labels + generator.standard_t(4, size=300)
    found = regression_intervals(values, labels, deviation=4.0)
    maes, r2s = [], []
    for _ in range(4000):
        chosen = generator.integers(300, size=300)
        maes.append(np.abs(values[chosen] - labels[chosen]).mean())
        r2s.append(r2_score(labels[chosen], values[chosen]))
    assert found["mae"] == pytest.approx(np.percentile(maes, [2.5, 97.5]), abs=0.02)
    assert found["r2"] == pytest.approx(np.percentile(r2s, [2.5, 97.5]), abs=0.01)
    assert found["loss"] == pytest.approx([bound**2 / 16 for bound in found["rmse"]])


def test_rank_correlation_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator, covered, truth = np.random.default_rng(0), 0, 0.8
    rho = 6 / np.pi * np.arcsin(truth / 2)  # of a normal distribution with that correlation
    for _ in range(1000):
        first, noise = generator.normal(size=(2, 200))
        found = stats.spearmanr(first, truth * first + (1 - truth**2) ** 0.5 * noise).statistic
        low, high = spearman_interval(found, 200)
        covered += low <= rho <= high
    assert 0.93 < covered / 1000 < 0.97
    assert spearman_interval(0.5, 3) == (-1, 1)
    assert spearman_interval(1.0, 30) == (1, 1)


def test_paired_difference_is_surer_than_two_intervals() -> None:
    generator = np.random.default_rng(0)
    scores, labels = draw_several(generator, 400)
    worse = scores + 0.8 * generator.normal(size=scores.shape)
    mean, (low, high), p_value = paired_precision_difference(labels, scores, worse)
    expected = average_precision_score(labels, scores) - average_precision_score(labels, worse)
    assert mean == pytest.approx(expected)
    assert low < mean < high
    single = multi_label_intervals(scores, labels, scores > 0, np.ones(400), "abc")["mean_average_precision"]
    assert high - low < single[1] - single[0]
    assert p_value < 0.05
    assert paired_precision_difference(labels, scores, scores)[::2] == (0, 1)


def test_few_resamples_are_enough_of_very_many_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = draw_several(np.random.default_rng(0), 500)
    arguments = scores, labels, scores > 0, np.ones(500), "abc"
    many = multi_label_intervals(*arguments)["mean_average_precision"]
    monkeypatch.setattr("leyden.intervals.MOST_SUMMED_SCORES", 1)
    assert multi_label_intervals(*arguments)["mean_average_precision"] == pytest.approx(many, abs=0.02)


def test_percentiles_hold_the_middle_95_of_100() -> None:
    assert percentiles(np.arange(1001.0)) == (25, 975)


def test_p_of_a_paired_difference_is_twice_its_tail_among_the_resamples() -> None:
    generator = np.random.default_rng(1)
    scores, labels = draw_several(generator, 300)
    other = scores + 0.3 * generator.normal(size=scores.shape)
    _, _, p_value = paired_precision_difference(labels, scores, other)
    differences = [
        average_precision_score(labels, scores, sample_weight=weights)
        - average_precision_score(labels, other, sample_weight=weights)
        for part in resamples(300)
        for weights in part
    ]
    tail = min(sum(np.array(differences) <= 0), sum(np.array(differences) >= 0))
    assert 0 < tail < 400
    assert p_value == pytest.approx(2 * (tail + 1) / 1001)


@pytest.mark.parametrize("num_images", [1, 7, 3001, 70_001])
@pytest.mark.parametrize("num_resamples", [1, 200, 999])
def test_resamples_are_as_many_as_asked_for_and_draw_as_many_images_as_there_are(
    num_images: int, num_resamples: int
) -> None:
    parts = list(resamples(num_images, num_resamples))
    assert sum(map(len, parts)) == num_resamples
    assert all((part.sum(1) == num_images).all() for part in parts)
