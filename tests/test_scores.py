"""Scores against scikit-learn, SciPy and trying everything, with and without ties."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score, r2_score

from leyden.scores import average_precision, average_precisions, best_threshold, f1, mean_of_known, r2, spearman

ONCE = np.ones((1, 300))


def draw(num_values: int, num_images: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Scores of so many different values, and labels that they say something of."""
    generator = np.random.default_rng(num_values)
    scores = generator.integers(num_values, size=num_images) / num_values
    return scores, (generator.random(num_images) < 0.1 + 0.6 * scores).astype(np.float32)


@pytest.mark.parametrize("num_values", [1, 4, 10_000])
def test_average_precision_equals_scikit_learns(num_values: int) -> None:
    scores, labels = draw(num_values)
    weights = np.random.default_rng(0).integers(3, size=(4, 300)).astype(np.float64)
    expected = [average_precision_score(labels, scores, sample_weight=row) for row in weights]
    assert average_precision(scores, labels, weights) == pytest.approx(expected)


def test_average_precision_of_a_class_without_images_is_not_known() -> None:
    scores, labels = draw(50)
    found = average_precisions(np.stack([scores, scores], 1), np.stack([labels, 0 * labels], 1), ONCE)
    assert np.isnan(found).tolist() == [[False, True]]
    assert mean_of_known(found) == pytest.approx(found[:, 0])
    assert mean_of_known(np.full((2, 3), np.nan)).tolist() == [0, 0]


def test_f1_equals_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    labels, answers = (generator.random((300, 4)) < 0.3, generator.random((300, 4)) < 0.4)
    weights = generator.integers(3, size=(2, 300)).astype(np.float64)
    expected = [f1_score(labels, answers, average=None, sample_weight=row) for row in weights]
    assert f1(answers, labels.astype(np.float32), weights) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("num_values", [1, 4, 40, 10_000])
def test_no_threshold_is_better_than_the_best(num_values: int) -> None:
    scores, labels = draw(num_values)
    tried = {float(score): f1_score(labels, scores >= score) for score in scores}
    chosen = best_threshold(scores, labels)
    assert tried[chosen] == pytest.approx(max(tried.values()))
    assert chosen == max(score for score, worth in tried.items() if worth > max(tried.values()) - 1e-12)


def test_threshold_of_a_class_without_images_is_that_of_even_odds() -> None:
    assert best_threshold(np.array([1.0, 2.0]), np.zeros(2)) == 0


def test_r2_equals_scikit_learns_far_from_zero() -> None:
    generator = np.random.default_rng(0)
    labels = 1e6 + generator.normal(size=300)
    values = labels + generator.normal(size=300) / 2
    weights = generator.integers(3, size=(5, 300)).astype(np.float64)
    expected = [r2_score(labels, values, sample_weight=row) for row in weights]
    assert r2(values, labels, weights) == pytest.approx(expected, abs=1e-6)
    assert r2(values, np.full(300, 7.0), ONCE).tolist() == [0]


def test_spearman_equals_scipys_with_ties() -> None:
    values, labels = draw(20)[0], draw(7)[0]
    assert spearman(values, labels) == pytest.approx(stats.spearmanr(values, labels).statistic)
    assert spearman(values, 3 * values + 1) == pytest.approx(1)
    assert spearman(values, np.ones(300)) == 0
