"""Statistics against textbooks, scipy, statsmodels and simulated studies whose truth is known."""

import math

import numpy as np
import pytest
from pandas import DataFrame
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.power import TTestIndPower, TTestPower

from leyden.report.statistics import _seeds_matter, difference, estimate, not_distinguishable, seeds_needed

# Student 1908, "The probable error of a mean": additional hours of sleep by two drugs.
SLEEP = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def by_seed(values: object) -> dict[int, float]:
    return dict(enumerate(np.asarray(values, float).tolist()))


def test_paired_difference_equals_students() -> None:
    found = difference(*SLEEP, is_paired=True)
    assert (found.mean, found.n) == (pytest.approx(-1.58), 10)
    assert found.p_value == pytest.approx(0.002833, abs=5e-7)
    assert (found.low, found.high) == pytest.approx((-2.4599, -0.7001), abs=5e-5)


def test_welchs_difference_equals_r_documentation() -> None:
    found = difference(*SLEEP, is_paired=False)  # t.test(extra ~ group, data = sleep)
    assert found.p_value == pytest.approx(0.07939, abs=5e-6)
    assert (found.low, found.high) == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)


def test_interval_of_a_share_ends_at_0_and_1_and_misses_the_truth_no_more_often() -> None:
    found = estimate([0.9, 1.0], is_share=True)
    whole = stats.t.interval(0.95, 1, 0.95, stats.sem([0.9, 1.0]))
    assert whole[1] > 1 > found["mean"]
    assert (found["low"], found["high"]) == (pytest.approx(max(0.0, whole[0])), 1.0)
    generator = np.random.default_rng(0)
    for shares in generator.binomial(20, 0.9, size=(300, 3)) / 20:
        open_ended, closed = estimate(shares, 1 / 20), estimate(shares, 1 / 20, is_share=True)
        for one in (open_ended, closed):
            assert one["low"] is not None
            assert one["high"] is not None
        inside = [one["low"] <= 0.9 <= one["high"] for one in (open_ended, closed)]  # type: ignore[operator]
        assert inside[0] == inside[1]
        assert 0 <= closed["low"] <= closed["high"] <= 1  # type: ignore[operator]


@pytest.mark.parametrize(
    ("n", "m", "is_paired"),
    [(2, 2, True), (3, 3, True), (10, 10, True), (2, 2, False), (3, 3, False), (3, 7, False)],
)
def test_difference_above_the_resolution_is_scipys(n: int, m: int, is_paired: bool) -> None:
    generator = np.random.default_rng(n)
    first, second = 0.9 + 0.01 * generator.normal(size=n), 0.89 + 0.02 * generator.normal(size=m)
    expected = stats.ttest_rel(first, second) if is_paired else stats.ttest_ind(first, second, equal_var=False)
    found, interval = difference(first, second, is_paired, resolution=1e-4), expected.confidence_interval()
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_differences_alike_by_rounding_are_not_certain() -> None:
    exact = difference([0.91, 0.92, 0.93], [0.90, 0.91, 0.92], is_paired=True)
    assert exact.p_value is not None
    assert exact.p_value < 1e-9
    rounded = difference([0.91, 0.92, 0.93], [0.90, 0.91, 0.92], is_paired=True, resolution=0.01)
    assert rounded.p_value is not None
    assert rounded.low is not None
    assert rounded.p_value > 0.05
    assert rounded.low < 0 < rounded.mean


@pytest.mark.parametrize("resolution", [0.0, 0.01])
@pytest.mark.parametrize("is_paired", [True, False])
def test_equal_values_are_no_difference(is_paired: bool, resolution: float) -> None:
    assert difference([0.9] * 3, [0.9] * 3, is_paired, resolution).p_value == 1
    assert seeds_needed([0.9] * 3, [0.9] * 3, is_paired, resolution) is None


def test_one_value_has_a_difference_without_interval() -> None:
    assert difference([0.9], [0.8], is_paired=True) == (pytest.approx(0.1), None, None, None, 1)
    assert seeds_needed([0.9], [0.8], is_paired=True) is None


def test_intervals_over_three_five_and_ten_seeds_hold_the_truth_in_95_of_100() -> None:
    generator = np.random.default_rng(1)
    for n in (3, 5, 10):
        first, second = generator.normal(size=(2, 4000, n))
        paired = [difference(*pair, is_paired=True) for pair in zip(first[:2000], second, strict=False)]
        welch = [difference(*pair, is_paired=False) for pair in zip(first[:2000], second, strict=False)]
        means = [estimate(values) for values in first]
        # Welch's interval is known to be wide for few values of equal variance (Ruxton 2006).
        for found, most in ((paired, 0.96), (welch, 0.975), (means, 0.96)):
            pairs = [(each["low"], each["high"]) if isinstance(each, dict) else (each.low, each.high) for each in found]
            low, high = np.array(pairs, float).T
            assert 0.94 <= np.mean((low <= 0) & (high >= 0)) <= most, (n, most)


def test_two_settings_are_told_apart_by_the_plain_test() -> None:
    first, second = SLEEP
    ((standing, p_value),) = not_distinguishable(by_seed(second), [by_seed(first)], 0.0)
    assert (standing, p_value) == ("worse", pytest.approx(0.002833, abs=5e-7))
    unpaired = {seed + 100: value for seed, value in by_seed(first).items()}
    assert not_distinguishable(by_seed(second), [unpaired], 0.0) == [("tied", pytest.approx(0.07939, abs=5e-6))]


def test_p_value_of_equally_many_seeds_is_that_of_the_studentised_range() -> None:
    # Of many seeds the noise is as good as known, and the luckiest of K is what Tukey's range is about.
    generator = np.random.default_rng(0)
    sample = generator.normal(size=400)
    best = (sample - sample.mean()) / sample.std(ddof=1)
    for apart in (0.15, 0.2, 0.25):
        others = [by_seed(generator.permutation(best) - apart) for _ in range(5)]
        found = not_distinguishable(by_seed(best), [{seed + 1000: v for seed, v in o.items()} for o in others], 0.0)
        expected = stats.studentized_range.sf(apart * np.sqrt(400), 6, 6 * 399)
        assert found[0][1] == pytest.approx(expected, abs=0.015)


def test_better_than_the_best_on_test_images_is_not_worse() -> None:
    best, other = [0.90, 0.91, 0.92, 0.91], [0.99, 0.98, 0.99, 0.98]
    assert not_distinguishable(by_seed(best), [by_seed(other)], 0.001) == [("tied", 1.0)]
    ((standing, _),) = not_distinguishable(by_seed(best), [by_seed(other)], 0.0, "min")  # of a loss
    assert standing == "worse"


def test_unequal_numbers_of_seeds_and_missing_ones() -> None:
    generator = np.random.default_rng(0)
    best = by_seed(0.9 + 0.001 * generator.normal(size=5))
    far = {3: 0.5, 4: 0.501, 17: 0.499}
    unshared = {100: 0.5, 101: 0.501, 102: 0.5}
    single, alike = {0: 0.5}, {seed: value - 1e-5 * seed for seed, value in best.items()}
    found = not_distinguishable(best, [far, unshared, single, alike], 1e-4)
    assert [standing for standing, _ in found] == ["worse", "worse", "unknown", "tied"]
    assert found[2][1] is None
    assert not_distinguishable({0: 0.9}, [best, far], 0.0) == [("unknown", None)] * 2
    assert not_distinguishable(best, [], 0.0) == []


@pytest.mark.parametrize("resolution", [0.0, 1 / 360])
def test_luckiest_of_equal_settings_is_told_apart_in_5_of_100_studies_at_most(resolution: float) -> None:
    generator = np.random.default_rng(2)
    for num_settings, n in ((6, 3), (24, 3), (24, 10)):
        alarms = 0
        for _ in range(1000):
            values = 0.95 + 0.004 * generator.normal(size=(num_settings, n))
            values = np.round(values / resolution) * resolution if resolution else values
            best, *others = (by_seed(row) for row in values[np.argsort(-values.mean(1))])
            alarms += any(standing == "worse" for standing, _ in not_distinguishable(best, others, resolution))
        assert alarms <= 64, (num_settings, n)  # 5 % and two standard errors


@pytest.mark.parametrize(("effect", "paired", "unpaired"), [(0.2, 199, 394), (0.5, 34, 64), (0.8, 15, 26)])
def test_seeds_needed_equal_cohens_table(effect: float, paired: int, unpaired: int) -> None:
    # Cohen 1988, table 2.4.1, and its counterpart for pairs: two-sided 5 %, 80 % power.
    assert seeds_needed([effect - 1, effect, effect + 1], [0, 0, 0], is_paired=True) == paired
    assert seeds_needed([effect - 1, effect, effect + 1], [-1, 0, 1], is_paired=False) == unpaired


@pytest.mark.parametrize("is_paired", [True, False])
def test_seeds_needed_fall_with_the_effect_and_have_the_power(is_paired: bool) -> None:
    second = [0, 0, 0] if is_paired else [-1, 0, 1]
    test, before = (TTestPower if is_paired else TTestIndPower)(), 1000
    for effect in np.geomspace(0.13, 1e6, 60):
        found = seeds_needed(np.array([-1, 0, 1]) + effect, second, is_paired)
        assert found is not None
        assert 2 <= found <= before
        before = found
        if effect < 3:
            assert test.power(effect, found, 0.05) >= 0.8 > test.power(effect, max(found - 1, 2), 0.05)
    assert seeds_needed(np.array([-1, 0, 1]) + 1e-9, second, is_paired) is None


def test_what_seeds_do_to_all_settings_alike_does_not_hide_a_difference() -> None:
    generator = np.random.default_rng(0)
    seeds = 3 * generator.normal(size=10)
    best, *others = seeds + generator.normal(scale=0.1, size=(6, 10)) - 0.5 * (np.arange(6) > 0)[:, None]
    found = not_distinguishable(dict(enumerate(best)), [dict(enumerate(other)) for other in others], 0.0)
    assert [standing for standing, _ in found] == ["worse"] * 5


def test_mean_of_shares_alike_by_rounding_has_the_noise_of_rounding() -> None:
    found = estimate([0.9, 0.9, 0.9], resolution=0.01)
    assert found["high"] is not None
    assert found["high"] - 0.9 == pytest.approx(stats.t.ppf(0.975, 2) * 0.01 / math.sqrt(12) / math.sqrt(3))
    assert estimate([0.8, 0.9, 1.0], resolution=0.01) == estimate([0.8, 0.9, 1.0])


@pytest.mark.parametrize("varying", [0, 1])
def test_side_alike_by_rounding_has_the_variance_of_rounding(varying: int) -> None:
    sides = [[0.91, 0.91, 0.91], [0.91, 0.91, 0.91]]
    sides[varying] = [0.88, 0.90, 0.92]
    found = difference(sides[0], sides[1], is_paired=False, resolution=0.03)
    rounding, other = 0.03**2 / 12 / 3, np.var(sides[varying], ddof=1) / 3
    freedom = (rounding + other) ** 2 / (rounding**2 / 2 + other**2 / 2)
    low, high = stats.t.interval(0.95, freedom, found.mean, math.sqrt(rounding + other))
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize("is_paired", [True, False])
@pytest.mark.parametrize("unit", [0.001, 100])
def test_seeds_needed_do_not_depend_on_the_unit(unit: float, is_paired: bool) -> None:
    first, second = np.array([1.0, 2.0, 4.0]), np.array([0.5, 2.5, 0.0])
    needed = seeds_needed(first, second, is_paired)
    assert needed is not None
    assert seeds_needed(unit * first, unit * second, is_paired) == needed


@pytest.mark.parametrize(("num_settings", "num_seeds"), [(2, 3), (4, 2), (5, 6)])
def test_seeds_matter_where_the_analysis_of_variance_says_so(num_settings: int, num_seeds: int) -> None:
    generator, found = np.random.default_rng(0), []
    for _ in range(60):
        seeds = generator.uniform(0, 2) * generator.normal(size=num_seeds)
        values = seeds + generator.normal(size=(num_settings, 1)) + generator.normal(size=(num_settings, num_seeds))
        rows, columns = np.indices(values.shape)
        table = DataFrame({"value": values.ravel(), "setting": rows.ravel(), "seed": columns.ravel()})
        expected = anova_lm(ols("value ~ C(setting) + C(seed)", table).fit())["PR(>F)"]["C(seed)"] < 0.05
        assert _seeds_matter(np.column_stack([values, [math.nan] * num_settings])) == expected
        found.append(expected)
    assert 0 < sum(found) < 60


def test_seeds_do_not_matter_of_one_setting_or_one_seed() -> None:
    assert not _seeds_matter(np.array([[1.0, 2.0, 3.0]]))
    assert not _seeds_matter(np.array([[1.0], [2.0]]))


def test_seeds_needed_of_pairs_are_those_of_their_differences() -> None:
    first, second = np.array([1.0, 2.0, 4.0, 3.0]), np.array([0.5, 1.9, 3.0, 2.4])
    needed = seeds_needed(first, second, is_paired=True)
    assert needed is not None
    assert needed == seeds_needed(first - second, np.zeros(4), is_paired=True)
    unpaired = seeds_needed(first, second, is_paired=False)
    assert unpaired is not None
    assert needed < unpaired
