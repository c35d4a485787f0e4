"""Claims > **what was measured** > page: effects and pictures as they are kept, of studies and measurements alike."""

from collections.abc import Sequence
from typing import Literal, TypedDict

from leyden.report.model import Estimate
from leyden.report.statistics import estimate

Verdict = Literal["supported", "not supported here", "mixed"]


class Line(TypedDict):
    """A line of a picture; of no intervals, `lows` and `highs` are all None."""

    name: str
    xs: list[float] | list[str]  # numbers, or names of columns
    means: list[float | None]
    lows: list[float | None]
    highs: list[float | None]


class Picture(TypedDict):
    """Lines over numbers, or points over names."""

    title: str
    x: str
    y: str
    is_share: bool  # shown in per cent
    is_log_x: bool
    is_log_y: bool
    is_curve: bool  # lines with bands, as of epochs; else points with bars
    lines: list[Line]


class Measured(TypedDict):
    """What a measurement has found: of each quantity a value per repeat, figures to be told, and pictures."""

    values: dict[str, list[float]]
    figures: dict[str, str]
    pictures: list[Picture]


class Effect(TypedDict):
    """One contrast of a claim with what became of it."""

    name: str
    estimate: Estimate
    is_share: bool  # a difference of shares, told in points
    unit: str
    predicted: str  # "above 0"
    verdict: Verdict | None  # None: fewer than two repeats tell no interval


def picture_of_lines(
    title: str,
    x: str,
    y: str,
    lines: Sequence[Line],
    is_share: bool = False,
    is_log_x: bool = False,
    is_log_y: bool = False,
    is_curve: bool = False,
) -> Picture:
    """Lines with what stands above and beside them."""
    return {
        "title": title, "x": x, "y": y, "is_share": is_share, "is_log_x": is_log_x, "is_log_y": is_log_y,
        "is_curve": is_curve, "lines": list(lines),
    }  # fmt: skip


def line(
    name: str,
    xs: list[float] | list[str],
    means: list[float | None] | list[float],
    lows: list[float | None] | list[float] | None = None,
    highs: list[float | None] | list[float] | None = None,
) -> Line:
    """A line of a picture, with intervals or without."""
    nothing: list[float | None] = [None] * len(means)
    return {
        "name": name, "xs": xs, "means": list(means), "lows": list(lows or nothing), "highs": list(highs or nothing),
    }  # fmt: skip


def line_of_estimates(name: str, xs: list[float] | list[str], estimates: Sequence[Estimate]) -> Line:
    """The same of means with their intervals."""
    return line(
        name, xs, [of["mean"] for of in estimates], [of["low"] for of in estimates], [of["high"] for of in estimates]
    )  # fmt: skip


def line_of_repeats(name: str, xs: list[float] | list[str], columns: Sequence[Sequence[float]]) -> Line:
    """The same of the values that repeats have at each x."""
    return line_of_estimates(name, xs, [estimate(column) for column in columns])
