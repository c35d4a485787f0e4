"""Risk and coverage, against closed forms and brute force."""

import numpy as np
import pytest

from leyden.evaluate.selective import points, risk_coverage, selective


def test_area_of_a_perfect_and_of_the_worst_order_is_the_closed_form() -> None:
    is_wrong = np.array([False] * 7 + [True] * 3)
    confidences = np.linspace(1, 0.1, 10)
    perfect = risk_coverage(confidences, is_wrong)
    assert perfect.area == pytest.approx((1 / 8 + 2 / 9 + 3 / 10) / 10)
    assert perfect.excess_area == pytest.approx(0)
    worst = risk_coverage(confidences[::-1], is_wrong)
    expected = (3 + sum(3 / count for count in range(4, 11))) / 10
    assert worst.area == pytest.approx(expected)
    assert worst.excess_area == pytest.approx(expected - perfect.area)


def test_answers_of_one_confidence_count_as_in_any_order() -> None:
    is_wrong = np.array([True, False, False, True, False])
    curve = risk_coverage(np.full(5, 0.9), is_wrong)
    assert curve.risks == pytest.approx(np.full(5, 0.4))
    assert curve.coverage_at(0.6) == 1.0
    assert curve.coverage_at(0.7) == 0.0  # no confidence divides them


def test_coverage_is_the_largest_share_that_is_right_often_enough() -> None:
    generator = np.random.default_rng(0)
    confidences, is_wrong = generator.random(200).round(2), generator.random(200) < 0.2
    curve = risk_coverage(confidences, is_wrong)
    for accuracy in (0.75, 0.8, 0.85, 0.9):
        kept = [confidences >= threshold for threshold in np.unique(confidences)]
        fits = [chosen.mean() for chosen in kept if 1 - is_wrong[chosen].mean() >= accuracy]
        assert curve.coverage_at(accuracy) == pytest.approx(max(fits, default=0.0))


def test_a_resample_is_what_repeated_images_would_be() -> None:
    generator = np.random.default_rng(1)
    confidences, is_wrong = generator.random(40).round(1), generator.random(40) < 0.3
    counts = np.bincount(generator.integers(40, size=40), minlength=40).astype(float)
    repeated = np.repeat(np.arange(40), counts.astype(int))
    one, other = risk_coverage(confidences, is_wrong, counts), risk_coverage(confidences[repeated], is_wrong[repeated])
    np.testing.assert_allclose(one.risks, other.risks)
    assert one.coverage_at(0.8) == other.coverage_at(0.8)


def test_values_lie_within_their_intervals_and_the_curve_ends_with_the_error() -> None:
    generator = np.random.default_rng(2)
    confidences = generator.random(300)
    is_wrong = generator.random(300) > confidences
    found, curve = selective(confidences, is_wrong)
    assert all(low <= one["value"] <= high for one in found.values() for low, high in [one["interval"]])
    assert points(curve)[-1] == [1.0, pytest.approx(is_wrong.mean(), abs=1e-6)]
