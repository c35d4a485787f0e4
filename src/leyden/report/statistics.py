"""Collect > **statistics** > settings: how sure a mean, a difference or a tie is; scipy and statsmodels do the sums.

Shapes: K settings, of which the first is the best; S simulated studies. tests/report/simulation.py tries all of this.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from leyden.report.model import Estimate, Standing

Array = NDArray[np.float64]
Mark = tuple[Standing, float | None]

SIGNIFICANCE, POWER = 0.05, 0.8
MOST_SEEDS = 1000
LARGEST_EFFECT = 5.0  # in standard deviations: three seeds show it; of larger ones scipy's noncentral t says NaN
ROUNDING = 1e-12  # numbers closer than this are the same
FEWEST_STUDIES, MOST_STUDIES = 4_000, 20_000  # the standard error of 5 % is 0.3 % and 0.15 % so
MOST_DRAWS = 6_000_000
MOST_DRAWS_AT_ONCE = 100_000  # a few dozen arrays of 1 MB each


class Difference(NamedTuple):
    """The first mean minus the second, with its 95 % interval and two-sided p-value, which take two values a side."""

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    n: int  # pairs, or values on the side that has fewer


def estimate(values: Sequence[float] | Array, resolution: float = 0.0, is_share: bool = False) -> Estimate:
    """The mean of values [n] with its 95 % t-interval, which takes two values at least (Student 1908).

    A share of N images is a multiple of 1/N, the `resolution`: few values may be all alike by that alone, and would
    seem to have no noise. Rounding to it has a variance of resolution² / 12; what is reckoned with is never below that.
    The interval of a share ends at 0 and 1, beyond which no mean of one lies: it covers as often.
    """
    array = np.asarray(values, dtype=np.float64)
    assert array.size, "a mean of nothing"
    mean = float(array.mean())
    if len(array) < 2:
        return {"n": 1, "mean": mean, "low": None, "high": None}
    deviation = np.sqrt(max(array.var(ddof=1), resolution**2 / 12))
    half = float(stats.t.ppf(0.975, len(array) - 1) * deviation / np.sqrt(len(array)))
    low, high = within(mean - half, mean + half, is_share)
    return {"n": len(array), "mean": mean, "low": low, "high": high}


def within(low: float, high: float, is_share: bool) -> tuple[float, float]:
    """An interval without what no share can be."""
    return (max(0.0, low), min(1.0, high)) if is_share else (low, high)


def difference(
    first: Sequence[float] | Array, second: Sequence[float] | Array, is_paired: bool, resolution: float = 0.0
) -> Difference:
    """The paired t-test of two samples (Student 1908), or Welch's (1947) where they are not paired.

    The variance that is reckoned with is never below that of rounding, as in `estimate`; twice that between pairs.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    assert min(len(one), len(other)) > 0
    assert len(one) == len(other) or not is_paired
    mean, n = float(one.mean() - other.mean()), min(len(one), len(other))
    if n < 2:
        return Difference(mean, None, None, None, n)
    if is_paired:
        error, freedom = np.sqrt(_moments(one - other, resolution**2 / 6)[2] / n), n - 1
    else:
        error, freedom = _welch(_variances(one, other, resolution), (len(one), len(other)))
    low, high = stats.t.interval(1 - SIGNIFICANCE, freedom, mean, error)
    return Difference(mean, float(low), float(high), float(_p_value(mean, error, freedom)), n)


def not_distinguishable(
    best: Mapping[Any, float],
    others: Sequence[Mapping[Any, float]],
    resolution: float,
    direction: Literal["max", "min"] = "max",
) -> list[Mark]:
    """Whether each other setting is worse than the best or tied with it, and the p-value of the difference.

    Settings are values by seed. A setting is worse where its own difference from the best says so, over the seeds that
    both have if these are two or more, else by Welch's test; and where, of more than two settings, it would say so too
    had the best merely been the luckiest of settings that are all alike: its p-value must be below the smallest between
    the best and the others in 95 % of such studies (Westfall & Young 1993, single step; their noise normal, equally
    large and of its own in each run). That one is of the paired test where seeds matter to all settings alike, else of
    Welch's, which has more degrees of freedom. A setting with one run is unknown.
    """
    if not others:
        return []
    values = _table([best, *others])  # [K, seeds]
    sign = 1.0 if direction == "max" else -1.0
    found = _against_first(values, resolution)
    is_known = (found.n[0] >= 2) & (found.n[1:] >= 2)
    p_values = found.p_values(by_pairs=True)
    if len(others) > 1 and is_known.any():
        told = values[[0, *(is_known.nonzero()[0] + 1)]]
        by_pairs = _seeds_matter(told)
        luckiest = _smallest_by_luck(np.isfinite(told).tobytes(), len(told), by_pairs)
        by_luck = (1 + np.searchsorted(luckiest, found.p_values(by_pairs), side="right")) / (1 + len(luckiest))
        p_values = np.maximum(p_values, by_luck)
    p_values = np.where(sign * found.apart > 0, np.minimum(p_values, 1.0), 1.0)
    return [
        ("unknown", None) if not known else ("worse" if p_value < SIGNIFICANCE else "tied", float(p_value))
        for known, p_value in zip(is_known, p_values, strict=True)
    ]


def seeds_needed(
    first: Sequence[float] | Array, second: Sequence[float] | Array, is_paired: bool, resolution: float = 0.0
) -> int | None:
    """How many seeds show a difference like this one with 80 % power at 5 %; None where `MOST_SEEDS` do not."""
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if min(len(one), len(other)) < 2:
        return None
    if is_paired:
        variance = _moments(one - other, resolution**2 / 6)[2]
    else:
        variance = np.mean(_variances(one, other, resolution))
    effect = min(abs(float(one.mean() - other.mean())) / float(np.sqrt(variance)), LARGEST_EFFECT)
    seeds = np.arange(2, MOST_SEEDS + 1)
    power = (TTestPower if is_paired else TTestIndPower)().power(effect, seeds, SIGNIFICANCE)
    return int(seeds[np.argmax(power >= POWER)]) if (power >= POWER).any() else None


def _table(settings: Sequence[Mapping[Any, float]]) -> Array:
    """Values [K, seeds], NaN where a setting has no run of a seed."""
    columns = {seed: place for place, seed in enumerate(dict.fromkeys(seed for each in settings for seed in each))}
    table = np.full((len(settings), len(columns)), np.nan)
    for row, setting in zip(table, settings, strict=True):
        row[[columns[seed] for seed in setting]] = list(setting.values())
    return table


def _moments(values: Array, least_variance: float) -> tuple[Any, Any, Any]:
    """How many values there are along the last axis, NaN aside, their mean and their variance."""
    n = np.isfinite(values).sum(-1)
    means = np.nansum(values, -1) / np.maximum(n, 1)
    variances = np.nansum((values - means[..., None]) ** 2, -1) / np.maximum(n - 1, 1)
    return n, means, np.maximum(variances, max(least_variance, ROUNDING**2))


def _variances(one: Array, other: Array, resolution: float) -> tuple[Any, Any]:
    return _moments(one, resolution**2 / 12)[2], _moments(other, resolution**2 / 12)[2]


def _welch(variances: tuple[Any, Any], n: tuple[Any, Any]) -> tuple[Any, Any]:
    """The standard error of the difference of two means and its degrees of freedom (Satterthwaite 1946)."""
    one, other = variances[0] / n[0], variances[1] / n[1]
    freedom = (one + other) ** 2 / (one**2 / np.maximum(n[0] - 1, 1) + other**2 / np.maximum(n[1] - 1, 1))
    return np.sqrt(one + other), freedom


def _p_value(mean: Any, error: Any, freedom: Any) -> Any:
    return 2 * stats.t.sf(np.abs(mean / error), freedom)


class _Against(NamedTuple):
    """How K settings compare with the first of them: two tests of each other one, [..., K - 1]."""

    n: Any  # of seeds, [..., K]
    apart: Any  # the first's mean minus the other's, over shared seeds where they are compared by those
    is_paired: Any
    paired: Any  # p-value, where two seeds or more are shared
    welch: Any

    def p_values(self, by_pairs: bool) -> Any:
        return np.where(self.is_paired, self.paired, self.welch) if by_pairs else self.welch


def _against_first(values: Array, resolution: float = 0.0) -> _Against:
    """Compares the first of settings [..., K, seeds] with the others; NaN where a setting has no run of a seed."""
    n, means, variances = _moments(values, resolution**2 / 12)
    least = np.maximum(n, 1)
    error, freedom = _welch((variances[..., :1], variances[..., 1:]), (least[..., :1], least[..., 1:]))
    apart = means[..., :1] - means[..., 1:]
    shared, differences, noise = _moments(values[..., :1, :] - values[..., 1:, :], resolution**2 / 6)
    paired = _p_value(differences, np.sqrt(noise / np.maximum(shared, 1)), np.maximum(shared - 1, 1))
    is_paired = shared >= 2
    return _Against(n, np.where(is_paired, differences, apart), is_paired, paired, _p_value(apart, error, freedom))


def _seeds_matter(values: Array) -> bool:
    """Whether seeds move settings [K, seeds] alike, by the F-test of a two-way layout without repeats (Fisher 1925)."""
    known = values[:, np.isfinite(values).all(0)]
    num_settings, num_seeds = known.shape
    if num_settings < 2 or num_seeds < 2:
        return False
    seeds = known.mean(0) - known.mean()
    rest = known - known.mean(1, keepdims=True) - seeds
    freedom = num_seeds - 1, (num_settings - 1) * (num_seeds - 1)
    noise = max((rest**2).sum() / freedom[1], ROUNDING**2)
    return bool(stats.f.sf(num_settings * (seeds**2).sum() / freedom[0] / noise, *freedom) < SIGNIFICANCE)


@functools.lru_cache(maxsize=64)
def _smallest_by_luck(has_run: bytes, num_settings: int, by_pairs: bool) -> Array:
    """Where all settings are alike: the smallest p-value between the best and another, in S studies, sorted.

    `has_run` [K, seeds] says which seeds each setting has.
    """
    known = np.frombuffer(has_run, dtype=bool).reshape(num_settings, -1)
    generator, found = np.random.default_rng(0), []
    num_studies = min(MOST_STUDIES, max(FEWEST_STUDIES, MOST_DRAWS // known.size))
    for studies in np.array_split(np.arange(num_studies), -(-num_studies * known.size // MOST_DRAWS_AT_ONCE)):
        values = np.where(known, generator.normal(size=(len(studies), *known.shape)), np.nan)
        order = np.argsort(-(np.nansum(values, 2) / known.sum(1)), axis=1)
        found.append(_against_first(np.take_along_axis(values, order[..., None], 1)).p_values(by_pairs).min(1))
    return np.sort(np.concatenate(found))
