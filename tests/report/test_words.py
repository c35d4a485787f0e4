"""How numbers read."""

import pytest

from leyden.report.model import Estimate
from leyden.report.words import (
    MARKS_IN_WORDS,
    date_in_words,
    difference_in_words,
    in_words,
    level_in_words,
    p_in_words,
    seconds_in_words,
    value_in_words,
)


def estimate(mean: float, half: float | None = None) -> Estimate:
    if half is None:
        return {"n": 1, "mean": mean, "low": None, "high": None}
    return {"n": 3, "mean": mean, "low": mean - half, "high": mean + half}


@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [
        (0.989, 0.0034, "98.9 % ± 0.3"),
        (0.98912, 0.00043, "98.91 % ± 0.04"),
        (0.98912, 0.00096, "98.9 % ± 0.1"),
        (0.9, 0.123, "90.0 % ± 12.3"),
        (0.989, 0.0, "98.9 % ± 0.0"),
        (0.989, 1e-17, "98.9 % ± 0.0"),
        (1.0, 0.0000021, "100.0000 % ± 0.0002"),
        (-0.012, 0.003, "−1.2 % ± 0.3"),
    ],
)
def test_half_intervals_of_shares_have_a_digit_that_says_something(mean: float, half: float, expected: str) -> None:
    assert in_words(estimate(mean, half), is_share=True) == expected


def test_interval_that_ends_where_shares_do_has_two_ends_in_place_of_a_half() -> None:
    assert in_words({"n": 2, "mean": 0.95, "low": 0.662, "high": 1.0}, is_share=True) == "95.0 % (66.2 to 100.0)"
    assert in_words({"n": 2, "mean": 0.5, "low": 0.0, "high": 1.0}, is_share=True) == "50.0 % ± 50.0"
    assert in_words({"n": 2, "mean": 0.95, "low": 0.662, "high": 1.0}, is_share=False) == "0.95 ± 0.17"


@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [
        (0.34567, 0.0123, "0.346 ± 0.012"),
        (12.34, 2.5, "12.3 ± 2.5"),
        (1234.5, 130.0, "1,234 ± 130"),
        (0.5, 0.0, "0.50 ± 0.00"),
        (0.00123, 0.0000456, "0.001230 ± 0.000046"),
    ],
)
def test_other_means_have_the_decimals_of_their_half(mean: float, half: float, expected: str) -> None:
    assert in_words(estimate(mean, half), is_share=False) == expected


def test_one_run_has_no_interval() -> None:
    assert in_words(estimate(0.98912), is_share=True) == "98.9 %"
    assert in_words(estimate(0.34567), is_share=False) == "0.346"


@pytest.mark.parametrize(
    ("value", "is_share", "expected"),
    [
        (0.9, True, "90.0 %"), (0.0004, True, "0.04 %"), (0.0, True, "0.0 %"), (-0.004, True, "−0.4 %"),
        (1.0, True, "100.0 %"), (-1e-12, True, "0.0 %"),
        (0.0, False, "0.000"), (0.1, False, "0.100"), (9.996, False, "10.0"),
        (1234.0, False, "1,234"), (-0.05, False, "−0.0500"), (3e12, False, "3.00e+12"),
        (-2e-8, False, "−2.00e−08"),
    ],
)  # fmt: skip
def test_values_read_like_their_means(value: float, is_share: bool, expected: str) -> None:
    assert value_in_words(value, is_share) == expected


@pytest.mark.parametrize(
    ("p_value", "expected"),
    [(0.0001, "p < 0.001"), (0.001, "p = 0.001"), (0.0042, "p = 0.004"), (0.04, "p = 0.04"), (1.0, "p = 1.00")],
)
def test_p_values_say_no_more_than_they_know(p_value: float, expected: str) -> None:
    assert p_in_words(p_value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min"), (200.0, "3 min 20 s"),
        (3599.7, "1 h"), (7500.0, "2 h 5 min"), (36_000_000.0, "10,000 h"),
    ],
)  # fmt: skip
def test_durations_carry_over(seconds: float, expected: str) -> None:
    assert seconds_in_words(seconds) == expected


def test_levels_read_as_typed() -> None:
    assert [level_in_words(level) for level in (None, True, 3, 0.1 + 0.2, "adam")] == [
        "null", "true", "3", "0.3", "adam",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "is_share", "words"),
    [
        ((0.021, 0.004, 0.038), True, "2.1 points, 95 % interval 0.4 to 3.8"),
        ((-0.021, -0.043, 0.001), True, "−2.1 points, 95 % interval −4.3 to 0.1"),
        ((0.0003, -0.0002, 0.0008), True, "0.03 points, 95 % interval −0.02 to 0.08"),
        ((0.021, None, None), True, "2.1 points"),
        ((0.0213, 0.004, 0.0386), False, "0.0213, 95 % interval 0.00400 to 0.0386"),
    ],
)
def test_difference_of_shares_is_told_in_points(
    difference: tuple[float, float | None, float | None], is_share: bool, words: str
) -> None:
    assert difference_in_words(*difference, is_share) == words


def test_dates_have_their_month_in_full() -> None:
    assert date_in_words("2026-11-04T09:05+00:00") == "4 November 2026, 09:05"


def test_p_is_explained_as_the_chance_of_a_difference_and_not_of_a_setting_being_as_good() -> None:
    worse = MARKS_IN_WORDS.partition("▽")[2].partition("≈")[0]
    assert "the chance of so large a difference if all settings were alike" in worse
    assert "as good" not in worse
