"""Report > **words** > tables, findings: how numbers read, the same in the answer, on the page and in Markdown."""

import math
from collections.abc import Iterator
from datetime import datetime

from leyden.report.model import Estimate, Level, Metric, Response, Standing
from leyden.study.job import short

NOTHING = "–"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ROUNDING = 1e-9  # shares closer than this are the same
STANDINGS: dict[Standing, tuple[str, str]] = {
    "best": ("★", "best"),
    "tied": ("≈", "not told apart"),
    "worse": ("▽", "worse"),
    "unknown": ("?", "unknown: one run"),
}

MARKS_IN_WORDS = (
    "★ is the best. ▽ is worse: p is below 0.05, the chance of so large a difference if all settings were alike and "
    "the best merely the luckiest. ≈ is not told apart from the best, which does not say that it is as good: few "
    "seeds, or seeds that differ much, hide large differences."
)

EFFECTS_IN_WORDS = (
    "Intervals are of the noise between seeds, pooled over all settings as if it were the same in each: the same runs "
    "have others under Settings, where each setting has that of its own runs alone, which is wide of few."
)

LABELS_IN_WORDS = (
    "Each way to train on ever more labelled images, whatever varies besides at its best by validation; bands are 95 % "
    "t-intervals over seeds. Differences are by shared seeds, where there are some."
)


def count(number: int, noun: str) -> str:
    """`one run`, `three seeds`, `12 runs`."""
    word = NUMBERS[number] if number < len(NUMBERS) else f"{number:,}"
    return f"{word} {noun}" + ("" if number == 1 else "s")


def in_words(estimate: Estimate, is_share: bool) -> str:
    """`98.9 % ± 0.3`: the mean and half its 95 % interval, in per cent where it is a share; no half without interval.

    `95.0 % (86.2 to 100.0)` where the interval ends at 0 or 100 %, and has no half. A mean has as many decimals as its
    half, which has one digit that says something where it is below 0.1 %.
    """
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None:
        return value_in_words(estimate["mean"], is_share)
    half = (high - low) / 2
    decimals = _decimals_of_share(half) if is_share else _decimals(half, 2)
    scale, unit = (100, " %") if is_share else (1, "")
    if is_share and half > ROUNDING and abs(high + low - 2 * estimate["mean"]) > ROUNDING:
        ends = " to ".join(_number(scale * end, decimals) for end in (low, high))
        return f"{_number(scale * estimate['mean'], decimals)}{unit} ({ends})"
    return f"{_number(scale * estimate['mean'], decimals)}{unit} ± {_number(scale * half, decimals)}"


def difference_in_words(mean: float, low: float | None, high: float | None, is_share: bool) -> str:
    """`2.1 points, 95 % interval 0.4 to 3.8`, of two shares in points; no interval of one value a side."""

    def told(value: float) -> str:
        return _number(100 * value, _decimals_of_share(abs(mean))) if is_share else value_in_words(value, False)

    words = f"{told(mean)} points" if is_share else told(mean)
    if low is None or high is None:
        return words
    return f"{words}, 95 % interval {told(low)} to {told(high)}"


def value_in_words(value: float, is_share: bool) -> str:
    """`98.9 %`, `0.03 %` or, for what is not a share, three significant digits."""
    if is_share:
        return f"{_number(100 * value, _decimals_of_share(abs(value)))} %"
    if value and not 1e-6 <= abs(value) < 1e9:
        return f"{value:.2e}".replace("-", "−")
    return _number(value, _decimals(abs(value), 3))


def once_more_in_words(threads: int | None) -> str:
    """What stands above the best setting's command."""
    same = f", with OMP_NUM_THREADS={threads} before it to the same bits on this machine" if threads else ""
    return f"The best setting once more{same}:"


def choice_in_words(metric: Metric) -> str:
    """Which figure chooses and which reports, in a sentence."""
    order = "highest" if metric["direction"] == "max" else "lowest"
    intervals = "± is half the 95 % t-interval over seeds, whose two ends are given where one is 0 or 100 %"
    if metric["reported"] == metric["selection"]:
        return f"Settings are ordered by {metric['selection']}, {order} first; {intervals}."
    return (
        f"Validation chooses, test reports: settings are ordered by {metric['selection']}, {order} first, and "
        f"{metric['reported']} says what the chosen one is worth; {intervals}."
    )


def bests_in_words(response: Response, is_share: bool) -> Iterator[str]:
    """A line for each curve: where it is best, how good it is there, and whether that is the edge."""
    curves = (response[key] for key in ("levels", "values", "estimates", "best", "at_edge"))
    for level, values, estimates, best, at_edge in zip(*curves, strict=True):
        condition = f"{response['by']}={level_in_words(level)}: " if response["by"] else ""
        edge = ", the edge of what was tried" if at_edge else ""
        where = f"{response['factor']} is best at {level_in_words(values[best])}"
        yield f"{condition}{where}, {in_words(estimates[best], is_share)}{edge}."


def p_in_words(p_value: float) -> str:
    """`p < 0.001`, `p = 0.04`, `p = 0.004`."""
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.3f}" if p_value < 0.01 else f"p = {p_value:.2f}"


def seconds_in_words(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def date_in_words(created: str) -> str:
    """`24 November 2026, 19:35`, of what `datetime.isoformat` wrote."""
    moment = datetime.fromisoformat(created)
    return f"{moment.day} {moment:%B %Y, %H:%M}"


def level_in_words(level: Level) -> str:
    """A factor's value as one would type it."""
    return "null" if level is None else str(level).lower() if isinstance(level, bool) else short(level)


def many(number: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _decimals_of_share(size: float) -> int:
    """One decimal of a per cent, or as many as show the first digit of what is smaller; less than 1e-6 is rounding."""
    return 1 if size >= 0.0005 or size < 1e-6 else _decimals(100 * size, 1)


def _decimals(size: float, significant: int) -> int:
    """How many decimals show so many significant digits."""
    if size == 0:
        return significant
    return max(0, significant - 1 - math.floor(math.log10(float(f"{size:.{significant - 1}e}"))))


def _number(value: float, decimals: int) -> str:
    """With a minus sign that is as wide as a plus, and never `−0.0`."""
    text = f"{abs(value):,.{decimals}f}"
    return f"−{text}" if value < 0 and float(text.replace(",", "")) else text
